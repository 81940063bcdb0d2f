"""The page about the server's health: who sees it, and that it says what the metrics say."""

from prometheus_client.parser import text_string_to_metric_families

from http_bridge.pages.health import Line, describe
from server.access.tasks import DatabaseState
from server.observability.scrape import Figures
from tests.pages.visitor import Visitor

WANTED = {"http": 2, "grpc": 1, "query": 1}
DATABASE = DatabaseState("18.1", 5_100_000, 12)
WELL = """
# TYPE seestack_workers gauge
seestack_workers{kind="http"} 2
seestack_workers{kind="grpc"} 1
seestack_workers{kind="query"} 1
# TYPE seestack_spool_batches gauge
seestack_spool_batches 0
# TYPE seestack_requests counter
seestack_requests_total{protocol="http",outcome="accepted"} 7
seestack_requests_total{protocol="grpc",outcome="accepted"} 5
seestack_requests_total{protocol="http",outcome="RATE_LIMITED"} 3
# TYPE seestack_flush_duration_seconds histogram
seestack_flush_duration_seconds_bucket{le="0.005"} 90
seestack_flush_duration_seconds_bucket{le="0.01"} 96
seestack_flush_duration_seconds_bucket{le="+Inf"} 100
seestack_flush_duration_seconds_sum 0.4
seestack_flush_duration_seconds_count 100
"""
ILL = """
# TYPE seestack_workers gauge
seestack_workers{kind="http"} 1
# TYPE seestack_spool_batches gauge
seestack_spool_batches 12
# TYPE seestack_spool_stalled_seconds gauge
seestack_spool_stalled_seconds 400
# TYPE seestack_missing_partitions gauge
seestack_missing_partitions 2
# TYPE seestack_rollup_lag_seconds gauge
seestack_rollup_lag_seconds 301
# TYPE seestack_write_queue_batches gauge
seestack_write_queue_batches 1001
# TYPE seestack_spool_refused_batches gauge
seestack_spool_refused_batches 1
# TYPE seestack_retention_overdue_days gauge
seestack_retention_overdue_days 1
"""


def lines_of(metrics: str, database: DatabaseState | None) -> dict[str, Line]:
    groups = describe(Figures(text_string_to_metric_families(metrics)), database, WANTED)
    return {f"{title}: {line.name}": line for title, lines in groups.items() for line in lines}


def test_a_healthy_server_has_nothing_to_look_at() -> None:
    lines = lines_of(WELL, DATABASE)
    assert [line for line in lines.values() if line.problem] == []
    assert lines["Postgres: State"].value == "up, version 18.1"
    assert lines["Postgres: Size on disk"].value == "5.1 MB"
    assert lines["Workers: HTTP"].value == "2 of 2"
    assert lines["Writing: Time of a flush, mean"].value == "4 ms"
    assert lines["Writing: 95 % of them within"].value == "10 ms"
    assert lines["Traffic: Requests accepted"].value == "12"
    assert lines["Traffic: Ended as rate limited"].value == "3"


def test_what_is_wrong_is_marked() -> None:
    lines = lines_of(ILL, None)
    assert {name for name, line in lines.items() if line.problem} == {
        "Postgres: State", "Postgres: Missing partitions", "Postgres: Days past their retention",
        "Writing: Write queue", "Spool: Stalled for", "Spool: Refused by Postgres", "Rollups: Lag",
        "Workers: HTTP", "Workers: gRPC", "Workers: Queries",
    }  # fmt: skip


def test_a_server_without_a_spool_says_so() -> None:
    assert lines_of("", DATABASE)["Spool: State"].value == "none"


def test_only_an_administrator_sees_the_health(reader: Visitor) -> None:
    assert Visitor(reader.server).get("/health").headers["location"] == "/login?next=%2Fhealth"
    answer = reader.get("/health")
    assert answer.status == 403
    assert b"Postgres" not in answer.body


def test_the_figures_are_those_of_the_metrics(admin: Visitor) -> None:
    page = admin.get("/health")
    assert page.status == 200
    text = page.body.decode()
    assert "Nothing is wrong with this server" in text
    assert "2 of 2" in text
    assert "up, version " in text
