"""Rows, idempotency keys and rollups of a database that Citus distributes."""

import json
from uuid import uuid4

import psycopg

from storage.distribution.catalogue import ROWS
from storage.distribution.hashing import hash_of
from tests.batches import make_item
from tests.citus.cluster import Cluster
from tests.citus.sending import Sender, is_summed_up, sending, stored
from tests.citus.shards import placement_of
from tests.process.polling import wait_until
from tests.running_server import RunningServer

SHARDS = """
SELECT hashint4(number), get_shard_id_for_distribution_column('http_request_rows', number)
  FROM unnest(%s::integer[]) AS number
"""
OF_PROJECT = """
SELECT trace, pg_xact_status((transaction - first_transaction)::text::xid8) FROM {rows}, {state} WHERE rows.project = %s
"""


def test_projects_have_the_shard_that_citus_gives_them(distributed_server: RunningServer) -> None:
    placement = placement_of(distributed_server.database_url)
    numbers = [*range(-20, 1_000), 2**31 - 1, -(2**31)]
    with psycopg.connect(distributed_server.database_url) as connection:
        for number, (hashed, shard) in zip(numbers, connection.execute(SHARDS, (numbers,)).fetchall(), strict=True):
            assert hash_of(number) == hashed
            assert placement.shard_of(number).number == shard


def test_each_batch_is_stored_on_its_node_in_a_transaction_of_that_node(
    distributed_server: RunningServer, senders: list[Sender], citus: Cluster
) -> None:
    assert {sender.send() for sender in senders for _ in range(3)} == {202}
    placement = placement_of(distributed_server.database_url)
    for sender in senders:
        shard = placement.shard_of(sender.project_number)
        (node,) = [node for node in citus.nodes if node.port == shard.node.port]
        with psycopg.connect(node.url(citus.name_of(distributed_server.database_url))) as connection:
            query = OF_PROJECT.format(rows=shard.table(ROWS) + " AS rows", state=shard.table("rollup_state"))
            rows = connection.execute(query.encode(), (sender.project_number,)).fetchall()
        assert sorted(trace.hex for trace, _ in rows) == sorted(2 * sender.acknowledged)
        assert {status for _, status in rows} == {"committed"}


def test_a_repeated_idempotency_key_is_stored_once_and_refused_with_another_body(
    distributed_server: RunningServer, senders: list[Sender]
) -> None:
    for sender in senders:
        body, other = (
            json.dumps({"projectId": sender.project_id, "requests": [make_item(traceId=uuid4().hex)]}).encode()
            for _ in range(2)
        )
        headers = {"X_SeeStack_Key": sender.api_key, "Idempotency_Key": "once"}
        assert [distributed_server.post(each, **headers).status for each in (body, body, other)] == [202, 202, 422]
        assert len(stored(distributed_server, sender)) == 1


def test_rollups_are_kept_on_the_nodes(distributed_server: RunningServer, senders: list[Sender]) -> None:
    with sending(senders):
        wait_until(lambda: all(len(sender.acknowledged) > 5 for sender in senders), "batches are stored")
    wait_until(lambda: all(is_summed_up(distributed_server, sender) for sender in senders), "the rollups have all rows")
