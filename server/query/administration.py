"""Does what pages ask for beside queries, in a query process, so that no worker that takes rows waits for it."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec
import psycopg

from server.access.authentication import Authenticator
from server.access.key_changes import create_key, create_project, limit_key, revoke_key
from server.access.key_values import WrongValueError, to_limits
from server.access.login_limit import take_login
from server.access.refusal_pacing import RefusalPacer
from server.access.tasks import (
    CreatedKey,
    CreateKey,
    CreateProject,
    DatabaseState,
    DescribeDatabase,
    FoundKey,
    LimitKey,
    ListKeys,
    ListProjects,
    LogIn,
    RevokeKey,
    Task,
)
from server.access.token_buckets import Buckets
from server.errors import (
    ErrorCode,
    ForbiddenError,
    IngestError,
    PathNotFoundError,
    ServiceUnavailableError,
    ValidationFailedError,
    explain,
)
from server.observability.log import event_fields
from server.observability.request_report import LineLimit
from server.query.relay.frames import Connection, Kind, Refusal
from storage.database import connect, durable_transaction
from storage.distribution.usage import describe_everywhere
from storage.errors import AlreadyExistsError, NotFoundError
from storage.keys.api_keys import ApiKey, Scope, digest_of, find_key, list_keys
from storage.keys.projects import find_project, list_projects

Result = TypeVar("Result")

_logger = logging.getLogger(__name__)

_NO_PRIVILEGE = "The server's database role may not do this: give it the grants for it, or use the command line"
_TIMEOUT = "SET LOCAL statement_timeout = '5s'"


class Administration:
    """Performs tasks, one at a time in the database, by the same functions as the command line."""

    CONNECTIONS = 1  # the most to Postgres

    def __init__(self, database_url: str, data_dir: Path, authenticator: Authenticator, buckets: Buckets) -> None:
        """`data_dir` has the credentials file, out of which a revoked key is taken."""
        self._url = database_url
        self._data_dir = data_dir
        self._authenticator = authenticator
        self._buckets = buckets
        self._pacer = RefusalPacer()
        self._lines = LineLimit()
        self._executor = ThreadPoolExecutor(1, "administration")

    async def answer(self, task: Task, connection: Connection) -> None:
        """Perform a task and send all frames of its answer, a struct or a list of them. Raises ConnectionError."""
        try:
            outcome = await self._perform(task)
        except Exception as error:
            outcome = await self._refuse(task, error)
        await connection.send(Kind.START, {})
        if isinstance(outcome, IngestError):
            await connection.send(Kind.END, Refusal.of(outcome))
            return
        await connection.send(Kind.MESSAGE, msgspec.msgpack.encode(outcome))
        await connection.send(Kind.END, None)

    def close(self) -> None:
        """Begin no further task."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _perform(self, task: Task) -> object:
        match task:
            case LogIn():
                return await self._log_in(task)
            case ListProjects():
                return await self._in_database(list_projects)
            case DescribeDatabase():
                return DatabaseState(*await self._in_database(describe_everywhere))
            case ListKeys():
                return await self._in_database(lambda connection: list_keys(connection, task.project_id))
            case CreateProject():
                project = await self._in_database(lambda connection: create_project(connection, task.name))
                _logger.info("project created", extra=event_fields(project_id=project.id))
                return project
            case CreateKey():
                created = await self._in_database(partial(_create_key, task=task))
                _log_change("key created", created.key)
                return created
            case RevokeKey():
                revoked = await self._in_database(partial(_revoke_key, task=task, data_dir=self._data_dir))
                _log_change("key revoked", revoked)
                return revoked
            case LimitKey():
                limited = await self._in_database(partial(_limit_key, task=task))
                _log_change("limits of a key changed", limited)
                return limited

    async def _refuse(self, task: Task, error: Exception) -> IngestError:
        refusal = explain(error)
        if refusal.code is ErrorCode.INTERNAL_ERROR:
            _logger.error("a page could not be served", exc_info=error)
        elif isinstance(task, LogIn):
            if self._lines.admits(logging.INFO, "login"):
                extra = event_fields(outcome=refusal.code, address=task.address)
                _logger.info("login refused", extra=extra)
            await self._pacer.wait()
        return refusal

    async def _log_in(self, task: LogIn) -> FoundKey:
        take_login(self._buckets, task.address)
        key = await self._authenticator.authenticate(task.raw_key, Scope.READ, task.origin)
        project = await self._in_database(lambda connection: find_project(connection, str(key.project_id)))
        return FoundKey(digest_of(task.raw_key), project.id, project.name)

    async def _in_database(self, action: "Callable[[psycopg.Connection], Result]") -> "Result":
        """Return what `action` returns. Raises IngestError and StorageError."""

        def run() -> "Result":
            with connect(self._url) as connection, durable_transaction(connection):
                connection.execute(_TIMEOUT)
                return action(connection)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, run)
        except psycopg.OperationalError as error:
            raise ServiceUnavailableError from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise ForbiddenError(_NO_PRIVILEGE) from error
        except psycopg.errors.ForeignKeyViolation as error:  # the project was deleted
            raise PathNotFoundError from error
        except NotFoundError as error:
            raise PathNotFoundError from error
        except AlreadyExistsError as error:
            raise ValidationFailedError({"name": "is taken already"}) from error
        except WrongValueError as error:
            raise ValidationFailedError({error.field: str(error)}) from error


def _create_key(connection: psycopg.Connection, task: CreateKey) -> CreatedKey:
    limits = to_limits(**msgspec.structs.asdict(task.limits))
    made = create_key(
        connection, task.project_id, task.name, task.scope, days=task.days, limits=limits, origins=task.origins
    )
    return CreatedKey(*made)


def _revoke_key(connection: psycopg.Connection, task: RevokeKey, data_dir: Path) -> ApiKey:
    _require_own(connection, task.project_id, task.key_id)
    revoked, _ = revoke_key(connection, data_dir, str(task.key_id))
    return revoked


def _limit_key(connection: psycopg.Connection, task: LimitKey) -> ApiKey:
    _require_own(connection, task.project_id, task.key_id)
    return limit_key(connection, str(task.key_id), to_limits(**msgspec.structs.asdict(task.limits)))


def _require_own(connection: psycopg.Connection, project_id: UUID, key_id: UUID) -> None:
    """Raise NotFoundError when the key is not of that project, which the page has named."""
    if find_key(connection, str(key_id)).project_id != project_id:
        raise NotFoundError("the key is of another project")


def _log_change(message: str, key: ApiKey) -> None:
    _logger.info(message, extra=event_fields(project_id=key.project_id, key_id=key.id, scope=key.scope))
