"""`seestack-ingest psql`."""

import subprocess

from tests.commands import COMMAND
from tests.running_server import RunningServer, run_command

QUERY = "SELECT id FROM projects"


def test_a_query_runs_against_the_database(server: RunningServer) -> None:
    done = run_command("psql", "-At", "-c", QUERY, database_url=server.database_url)
    assert server.project_id in done.stdout.split()


def test_arguments_of_psql_may_be_run_together_with_their_values(server: RunningServer) -> None:
    done = run_command("psql", f"-AtXc{QUERY}", database_url=server.database_url)
    assert server.project_id in done.stdout.split()


def test_the_exit_code_is_that_of_psql(server: RunningServer) -> None:
    done = subprocess.run(
        [COMMAND, "psql", "--database-url", server.database_url, "-v", "ON_ERROR_STOP=1", "-c", "SELECT nothing"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'column "nothing" does not exist' in done.stderr
