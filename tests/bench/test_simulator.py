"""The simulator of `bench.scaling`: its parts against arithmetic, and all of it against what was measured."""

import pytest

from bench.scaling.costs import Costs, NodeCosts, ServerCosts, fit, read_measured
from bench.scaling.machine import Machine, Thread
from bench.scaling.simulation import Outcome, simulate_clients, simulate_node
from bench.scaling.simulator import TOLERANCE, compare
from bench.scaling.sizing import Machines, limits, size

SERVER = ServerCosts(second=0.0, flush=500.0, batch=60.0, row=2.0)
NODE = NodeCosts(second=0.0, hot_shard_second=0.0, flush=800.0, shard=100.0, row=4.0)
COSTS = Costs(SERVER, SERVER, NODE, NODE, coordinator_second=5_000.0, generator_batch=40.0, sync_s=0.002)
# docs/scaling.md says why.
KNOWN = {
    ("0 nodes x 64", "rows a flush"),
    ("1 nodes x 32", "rows a flush"),
    ("3 nodes x 32", "server us"),
}


def clients(connections: int, *, nodes: int = 0, hot_shards: int = 1, cores: float = 100.0) -> Outcome:
    return simulate_clients(
        COSTS, cores=cores, nodes=nodes, hot_shards=hot_shards, connections=connections, rows=100, sync_s=0.002
    )


def test_threads_share_processors_and_get_one_at_most() -> None:
    ended: list[tuple[str, float]] = []
    machine = Machine(cores=2)
    for name in ("first", "second", "third"):
        thread = Thread(machine)
        thread.work(1.0, lambda name=name: ended.append((name, round(machine.now, 6))))  # type: ignore[misc]
    thread.work(1.0, lambda: ended.append(("after the third", round(machine.now, 6))))
    machine.after(0.75, lambda: ended.append(("timer", machine.now)))
    machine.run(10.0)
    assert ended[0] == ("timer", 0.75)
    assert sorted(ended[1:4]) == [("first", 1.5), ("second", 1.5), ("third", 1.5)]
    assert ended[4] == ("after the third", 2.5)
    assert thread.asked == pytest.approx(2.0)


def test_a_lone_client_has_a_flush_for_each_batch_and_waits_for_all_of_it() -> None:
    outcome = clients(1)
    assert outcome.batches_per_flush == 1
    assert outcome.server_us == pytest.approx(2.0 + (60 + 500) / 100, rel=0.01)
    assert outcome.nodes_us == pytest.approx(4.0 + 800 / 100, rel=0.01)
    # What happens one after the other; the begin of a flush is under way while nothing else is.
    wait_s = (40 + 60 + 200 + 500 + 800 + 100 * 4.0 * 0.9) * 1e-6 + 0.002
    assert outcome.rows_per_second == pytest.approx(100 / wait_s, rel=0.1)


def test_more_clients_fill_flushes_and_more_nodes_share_them_out() -> None:
    sizes = [clients(connections).batches_per_flush for connections in (4, 16, 64)]
    assert 3 < sizes[0] < sizes[1] < sizes[2]
    on_nodes = clients(64, nodes=4, hot_shards=16)
    assert on_nodes.batches_per_flush < sizes[2] / 2
    assert on_nodes.nodes_us > clients(64).nodes_us
    assert on_nodes.coordinator_us == pytest.approx(5_000 / on_nodes.rows_per_second, rel=0.1)


def test_processors_bound_what_is_stored() -> None:
    bound = clients(64, cores=1.0)
    assert bound.rows_per_second * (bound.server_us + bound.nodes_us + 0.4) == pytest.approx(0.95e6, rel=0.05)


def test_many_writers_of_a_node_have_small_flushes() -> None:
    few, many = (
        simulate_node(COSTS, cores=16, writers=writers, hot_shards=8, batches_per_second=2_000, rows=100, seconds=0.5)
        for writers in (1, 100)
    )
    assert few.batches_per_flush > 3
    assert many.batches_per_flush < 1.5
    assert many.nodes_us > few.nodes_us


def test_costs_are_found_again_in_runs_that_have_them() -> None:
    shapes = [(0, 1, 64, 0.0), (0, 10, 64, 0.0), (0, 100, 1, 0.0), (0, 100, 4, 0.0), (2, 100, 8, 0.0), (2, 1, 30, 0.0)]
    runs = [
        {
            "nodes": nodes, "batch_rows": rows, "batches": 1000.0, "flushes": 1000.0 / batches, "is_cost": True,
            "rate": 0.0,
            "seconds": 1.0, "seconds_in_all": 1.0, "sync_s": 0.002, "generator_s": 0.04, "coordinator_s": 0.005,
            "server_s": (10_000 + 500 * 1000 / batches + 60 * 1000 + 2 * 1000 * rows) * 1e-6,
            "nodes_s": (3_000 + 800 * 1000 / batches + 4 * 1000 * rows) * 1e-6, "hot_shards": 1,
        }
        for nodes, rows, batches, _ in shapes
    ]  # fmt: skip
    costs = fit({"runs": runs})
    assert costs.server_of_one.row == pytest.approx(2.0, rel=0.05)
    assert costs.server_of_one.flush == pytest.approx(500, rel=0.05)
    assert costs.one.row == pytest.approx(4.0, rel=0.05)
    assert costs.one.flush == pytest.approx(800, rel=0.05)
    assert costs.generator_batch == pytest.approx(40)


def test_what_was_measured_is_told_within_the_tolerance_but_for_what_docs_name() -> None:
    measured = read_measured()
    comparisons = list(compare(measured, fit(measured)))
    assert len(comparisons) == 24
    assert {
        (each.point.partition(" conn")[0], each.figure) for each in comparisons if abs(each.error) > TOLERANCE
    } == KNOWN
    assert [each for each in comparisons if each.figure.endswith("us") and abs(each.error) > 0.25] == []


def test_ten_times_the_rows_need_more_of_everything() -> None:
    small, large = (size(COSTS, Machines(), rows) for rows in (1e9, 10e9))
    assert small.peak == pytest.approx(34_722, rel=0.001)
    assert small.disk_tb == pytest.approx(186e9 * 30 / 1e12)
    assert large.nodes == 4
    assert large.server_cores > 9 * small.server_cores
    assert large.node_cores > 5 * small.node_cores


def test_the_part_that_carries_least_is_named_first() -> None:
    found = limits(COSTS, Machines(node_disk_tb=0.1))
    assert next(iter(found)) == "a node's disk"
    assert list(found.values()) == sorted(found.values())
