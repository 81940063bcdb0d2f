"""Nodes and the coordinator die, and shards move, while batches come: what was acknowledged is stored once."""

from collections import Counter

from tests.citus.cluster import Cluster, Node
from tests.citus.sending import Sender, is_summed_up, sending, stored
from tests.citus.shards import move_shard, placement_of
from tests.process.polling import wait_until
from tests.running_server import RunningServer


def node_of(citus: Cluster, server: RunningServer, sender: Sender) -> Node:
    port = placement_of(server.database_url).shard_of(sender.project_number).node.port
    return next(node for node in citus.nodes if node.port == port)


def wait_until_all_is_stored(server: RunningServer, senders: list[Sender]) -> None:
    """Wait until nothing is in the spool, and check that each batch that was acknowledged is stored once."""

    def is_stored() -> bool:
        return all(set(sender.acknowledged) <= set(stored(server, sender)) for sender in senders)

    wait_until(is_stored, "batches are stored")
    for sender in senders:
        rows = Counter(stored(server, sender))
        assert {trace: rows[trace] for trace in sender.acknowledged if rows[trace] != 2} == {}
        assert set(rows.values()) <= {2}


def wait_for_more(senders: list[Sender], count: int) -> None:
    """Wait until each sender has had so many more batches acknowledged."""
    before = [len(sender.acknowledged) for sender in senders]
    wait_until(
        lambda: all(len(sender.acknowledged) >= had + count for sender, had in zip(senders, before, strict=True)),
        "batches are acknowledged",
    )


def test_a_shard_that_is_moved_takes_its_rows_along_and_later_ones_follow(
    distributed_server: RunningServer, senders: list[Sender]
) -> None:
    placement = placement_of(distributed_server.database_url)
    shard = placement.shard_of(senders[0].project_number)
    (target,) = [node for node in placement.nodes if node != shard.node]
    with sending(senders):
        wait_for_more(senders, 3)
        move_shard(distributed_server.database_url, shard.number, shard.node, target)
        wait_for_more(senders, 3)
    assert placement_of(distributed_server.database_url).shard_of(senders[0].project_number).node == target
    wait_until_all_is_stored(distributed_server, senders)
    move_shard(distributed_server.database_url, shard.number, target, shard.node)
    with sending(senders):
        wait_for_more(senders, 3)
    wait_until_all_is_stored(distributed_server, senders)


def test_a_node_that_is_killed_holds_up_its_own_projects_only(
    distributed_server: RunningServer, senders: list[Sender], citus: Cluster
) -> None:
    victim = node_of(citus, distributed_server, senders[0])
    elsewhere = [sender for sender in senders if node_of(citus, distributed_server, sender) is not victim]
    with sending(senders):
        wait_for_more(senders, 3)
        victim.kill()
        wait_for_more(senders, 5)  # those of the node are in the spool
        last = {sender.project_number: sender.acknowledged[-1] for sender in elsewhere}
        for sender in elsewhere:
            rows = stored(distributed_server, sender, node_of(citus, distributed_server, sender))
            assert last[sender.project_number] in rows
        victim.start()
        wait_for_more(senders, 3)
    wait_until_all_is_stored(distributed_server, senders)
    assert all(not sender.refused for sender in senders)


def test_a_coordinator_that_is_killed_holds_up_nobody(
    distributed_server: RunningServer, senders: list[Sender], citus: Cluster
) -> None:
    with sending(senders):
        wait_for_more(senders, 3)
        citus.coordinator.kill()
        wait_for_more(senders, 20)
        citus.coordinator.start()
        wait_for_more(senders, 3)
    wait_until_all_is_stored(distributed_server, senders)


def test_a_moved_shard_has_its_rollups_and_each_later_row_in_them(
    distributed_server: RunningServer, senders: list[Sender]
) -> None:
    placement = placement_of(distributed_server.database_url)
    shard = placement.shard_of(senders[0].project_number)
    (target,) = [node for node in placement.nodes if node != shard.node]
    with sending(senders[:1]):
        wait_for_more(senders[:1], 5)
    wait_until(lambda: is_summed_up(distributed_server, senders[0]), "the rollups have all rows")
    move_shard(distributed_server.database_url, shard.number, shard.node, target)
    with sending(senders[:1]):
        wait_for_more(senders[:1], 5)
    wait_until(lambda: is_summed_up(distributed_server, senders[0]), "the rollups have all rows after the move")
