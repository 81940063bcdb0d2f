"""What a process remembers of projects from one query to the next, so that it reads no row and no name twice."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

from storage.reading.project_names import ProjectNames
from storage.reading.row_sums import RowSums
from storage.rollups.state import RollupState

MOST_PROJECTS: Final = 100
MOST_STRETCHES: Final = 1_000  # of a project
MOST_NAMES: Final = 200_000  # of a project


class Chunk(NamedTuple):
    """The sums over a project's rows of some transactions, all of which have ended."""

    first: int
    end: int  # not included
    sums: list[RowSums]


class ProjectMemory:
    """The names of a project, and sums over its rows that the rollups lack yet, in the order of their transactions."""

    def __init__(self, state: RollupState) -> None:
        self.names = ProjectNames()
        self.chunks: list[Chunk] = []  # each begins where the one before it ends
        self.deleted: dict[Hashable, int] = {}  # how many rows rollups have of a stretch of time that are deleted
        # Until then, queries wait for a pass where so many transactions are not known yet.
        self.many_until, self.many_transactions = 0.0, 0
        self.too_many_until = 0.0  # until then, Postgres sums them up
        self.reading = asyncio.Lock()  # so that of several queries, one reads and the others find what it has read
        self._first_transaction = state.first_transaction
        self._latest = state

    def is_valid(self, state: RollupState) -> bool:
        """Tell whether it may be used. A mark that has gone back was lost in a crash, and names with it.

        The mark of a snapshot that is older than another query's is a lower one, too, and says nothing.
        """
        is_later = state.next_transaction > self._latest.next_transaction
        has_gone_back = is_later and state.mark < self._latest.mark
        if is_later or state.mark > self._latest.mark:
            self._latest = state
        is_of_cluster = state.first_transaction == self._first_transaction
        return is_of_cluster and not has_gone_back and len(self.names) <= MOST_NAMES

    @property
    def known_until(self) -> int:
        """The transaction up to which it has the rows, 0 when it has none."""
        return self.chunks[-1].end if self.chunks else 0

    def remember_deleted(self, key: Hashable, rows: int) -> None:
        """Remember how many rows are deleted."""
        if len(self.deleted) >= MOST_STRETCHES:
            self.deleted.clear()
        self.deleted[key] = rows

    def keep_from(self, mark: int) -> None:
        """Forget chunks of which rows before the mark are a part: these are in the rollups."""
        self.chunks = [chunk for chunk in self.chunks if chunk.first >= mark]

    def add(self, chunk: Chunk) -> None:
        """Remember a chunk if it comes right before or after all others."""
        if chunk.first >= chunk.end:
            return
        if self.chunks and self.chunks[-1].end == chunk.first and not chunk.sums:
            self.chunks[-1] = self.chunks[-1]._replace(end=chunk.end)
        elif not self.chunks or self.chunks[-1].end == chunk.first:
            self.chunks.append(chunk)
        elif chunk.end == self.chunks[0].first:
            self.chunks.insert(0, chunk)


class Memories:
    """What is remembered of each project, the least recently asked for going first."""

    def __init__(self) -> None:
        self._projects: OrderedDict[int, ProjectMemory] = OrderedDict()

    def of(self, project: int, state: RollupState) -> ProjectMemory:
        """Return what is remembered of a project, as far as it may be used in this state."""
        memory = self._projects.get(project)
        if memory is None or not memory.is_valid(state):
            memory = self._projects[project] = ProjectMemory(state)
        self._projects.move_to_end(project)
        if len(self._projects) > MOST_PROJECTS:
            self._projects.popitem(last=False)
        return memory

    def forget_all(self) -> None:
        """Forget all, as Postgres may have lost numbers of names in a crash."""
        self._projects.clear()
