"""The interface of the compiled sums of stored groups."""

from collections.abc import Iterable

def merge(stored: Iterable[bytes]) -> list[bytes]:
    """Return the sums of several stored values, as storage.rollups.stored_groups.merge_groups does."""
