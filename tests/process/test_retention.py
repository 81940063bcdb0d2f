"""A server deletes what is too old, and refuses the keys of a deleted project."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from storage.database import connect
from storage.keys.projects import create_project
from storage.partitions import first_day
from tests.batches import make_batch
from tests.process.polling import wait_until
from tests.process.scraping import scrape
from tests.running_server import run_command, start_server
from tests.storage.rows import PROJECT_NUMBER, insert_row

KEPT_DAYS = 2


def test_old_rows_and_deleted_projects_go_while_a_server_works(database_url: str) -> None:
    now = datetime.now(UTC)
    with connect(database_url) as connection:
        days_over = (now.date() - timedelta(days=KEPT_DAYS) - first_day(connection)).days
        assert create_project(connection, "other").number == PROJECT_NUMBER
        kept = insert_row(connection, now)
        for moment in (now - timedelta(days=KEPT_DAYS + 1), "1999-01-01"):
            insert_row(connection, moment)
    with start_server(database_url, "--retention-days", str(KEPT_DAYS)) as server:
        wait_until(lambda: [row["id"] for row in server.rows()] == [kept], "old rows are deleted")
        wait_until(lambda: scrape(server).get("retention_deleted_rows_total") == 1, "rows are counted")
        assert scrape(server).get("retention_dropped_days_total") == days_over
        assert scrape(server).get("retention_overdue_days") == 0
        stored = make_batch(server.project_id, timestamp=now.isoformat())
        assert server.post(stored).status == HTTPStatus.ACCEPTED
        run_command("projects", "delete", server.project_id, "--yes", database_url=database_url)
        assert [row["id"] for row in server.rows()] == [kept]
        refused = make_batch(server.project_id, 0)
        wait_until(lambda: server.post(refused).status == HTTPStatus.UNAUTHORIZED, "the key is refused")
