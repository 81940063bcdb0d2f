"""The priority of processes."""

import os
from pathlib import Path

from storage.priority import NICE


def assert_gives_way(backend: int) -> None:
    """Check that a backend of Postgres gets the processors after what stores batches, whatever groups there are."""
    assert os.getpriority(os.PRIO_PROCESS, backend) == NICE
    group = Path(f"/proc/{backend}/autogroup")
    if group.exists() and (told := group.read_text()):
        assert told.split()[-1] == str(NICE)
