"""The numbers that rows have of projects, for administrators, who read without a key."""

import time
from functools import partial
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from server.errors import InvalidApiKeyError, ServiceUnavailableError
from storage.database import run
from storage.keys.projects import lookup_project

TIMEOUT_S = 3.0


class ProjectNumbers:
    """Finds the numbers of projects, on one event loop. A number never changes, but a project may be deleted."""

    MAX_AGE_S = 5.0  # after which a project is looked up again

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._numbers: dict[UUID, tuple[float, int]] = {}

    async def find(self, project_id: UUID) -> int:
        """Return the number of a project. Raises InvalidApiKeyError when there is none, ServiceUnavailableError."""
        found_at, number = self._numbers.get(project_id, (0.0, 0))
        if time.monotonic() - found_at <= self.MAX_AGE_S:
            return number
        try:
            project = await run(self._pool, partial(lookup_project, project_id=project_id), TIMEOUT_S)
        except psycopg.OperationalError as error:
            raise ServiceUnavailableError from error
        if project is None:
            self._numbers.pop(project_id, None)
            raise InvalidApiKeyError
        self._numbers[project_id] = (time.monotonic(), project.number)
        return project.number
