"""Maintenance in the background goes on, whatever goes wrong."""

import psycopg
import pytest

from server.database import maintenance
from server.database.maintenance import Maintenance
from server.database.partition_upkeep import PartitionUpkeep
from server.settings import load_settings
from tests.process.polling import wait_until


class Unforeseen(PartitionUpkeep):
    """Goes wrong at first in a way that no error class of the project names."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def make(self, connection: psycopg.Connection) -> bool:
        self.calls += 1
        if self.calls == 1:
            raise ZeroDivisionError
        return super().make(connection)


def test_an_error_that_nobody_foresaw_is_logged_and_the_work_is_tried_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maintenance, "INTERVAL_S", 0.01)
    monkeypatch.setattr(maintenance, "RETRY_INTERVAL_S", 0.01)
    partitions = Unforeseen()
    running = Maintenance(load_settings(database_url=database_url), None, partitions, None)
    try:
        wait_until(lambda: partitions.calls >= 2, "the partitions are tried again")
    finally:
        running.stop()
    assert "ZeroDivisionError" in caplog.text
