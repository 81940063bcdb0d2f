"""Settings: read from `SEESTACK_*` environment variables, each also a flag of `seestack-ingest serve`.

This class is the one source of names, defaults, limits and help texts; flags and docs/settings.md follow it.
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

import platformdirs
import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from server.observability.log import LogLevel

ENV_PREFIX = "SEESTACK_"
ROOT_DATA_DIR = Path("/var/lib/seestack-ingest")
# Their connections (connection_count.py) fit into the 100 that Postgres allows by default.
MAX_DEFAULT_WORKERS = 8


class Contract(StrEnum):
    """How strictly requests are held to the ingest contract."""

    STRICT = "strict"
    LENIENT = "lenient"


class Spooling(StrEnum):
    """What happens to batches while the database is down."""

    ON = "on"
    OFF = "off"


class Pages(StrEnum):
    """Whether the HTTP server has pages for people."""

    ON = "on"
    OFF = "off"


class LimitScope(StrEnum):
    """Over which servers the limits of a key are counted."""

    SERVER = "server"
    DATABASE = "database"


class Compiled(StrEnum):
    """Whether batches are checked and encoded by compiled code."""

    AUTO = "auto"
    OFF = "off"


class Distributed(StrEnum):
    """What distributes the database over several nodes."""

    CITUS = "citus"


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message is one line for the person who set it."""


class Settings(BaseSettings):
    """All settings of a server."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    database_url: SecretStr | None = Field(
        None, description="Postgres to store in, as a libpq URL; without it, an embedded one in the data folder"
    )
    distributed: Distributed | None = Field(
        None, description="`citus` when the database is one that Citus distributes over nodes; without it, one Postgres"
    )
    data_dir: Path = Field(
        default_factory=lambda: _default_data_dir(),
        description="folder of the embedded Postgres, of credentials.json, of the spool and of the pages' secret",
    )
    http_host: str = Field("127.0.0.1", min_length=1, description="address the HTTP server listens on")
    http_port: int = Field(8080, ge=0, le=65535, description="port of the HTTP server; 0 takes a free one")
    grpc_host: str = Field("127.0.0.1", min_length=1, description="address the gRPC server listens on")
    grpc_port: int = Field(50051, ge=0, le=65535, description="port of the gRPC server; 0 takes a free one")
    metrics_host: str = Field("127.0.0.1", min_length=1, description="address that metrics are served on")
    metrics_port: int = Field(9464, ge=0, le=65535, description="port of the metrics; 0 takes a free one")
    http_workers: int = Field(
        default_factory=lambda: _worker_count(), ge=1, le=64, description="processes that serve HTTP"
    )
    grpc_workers: int = Field(
        default_factory=lambda: _worker_count(), ge=1, le=64, description="processes that serve gRPC"
    )
    query_workers: int = Field(
        1, ge=0, le=64, description="processes that answer queries; with 0 the server only takes rows"
    )
    pages: Pages = Field(
        Pages.ON, description="`on` serves pages that show the telemetry, on the HTTP port; they need a query process"
    )
    limit_scope: LimitScope = Field(
        LimitScope.SERVER,
        description="what limits of keys hold for: each `server`, or all servers of the `database` together",
    )
    tls_cert: Path | None = Field(
        None, description="PEM file of the certificate and its chain; both ports then speak TLS only"
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key, without a passphrase")
    grpc_client_ca: Path | None = Field(
        None, description="PEM file of the CAs of which gRPC clients must show a certificate"
    )
    contract: Contract = Field(
        Contract.STRICT, description="`lenient` admits what older SDKs send: no projectId, no sizes, other key headers"
    )
    max_body_bytes: int = Field(
        2**20, ge=1024, le=64 * 2**20, description="largest request body or gRPC message, unpacked, in bytes"
    )
    max_connections: int = Field(
        2000, ge=1, le=1_000_000, description="connections that a worker holds open, of either protocol"
    )
    max_held_bytes: int = Field(
        64 * 2**20,
        ge=2**20,
        description="bytes of bodies and messages on their way in, and of answers not taken yet, that a worker holds",
    )
    grpc_max_calls: int = Field(1000, ge=1, description="calls that a gRPC worker has under way; a stream is one")
    grpc_max_streams: int = Field(100, ge=1, le=2**31 - 1, description="calls under way on one gRPC connection")
    cors_origins: str = Field("*", description="origins whose browsers may send: `*`, or a list separated by commas")
    grace_seconds: float = Field(
        10.0, ge=0, le=600, description="time in which work in flight is finished after SIGTERM or Ctrl-C"
    )

    log_level: LogLevel = Field(
        LogLevel.INFO, description="what is logged: `info` includes refused requests, `debug` accepted ones, too"
    )
    spool: Spooling = Field(
        Spooling.ON, description="`on` keeps batches on the local disk while the database is down; `off` answers 503"
    )
    spool_max_bytes: int = Field(2**30, ge=2**20, description="most that the spool may hold, in bytes")
    rollup_retention_days: int | None = Field(
        None, ge=1, le=36_500, description="days that sums over rows are kept for; without it, for ever"
    )
    retention_days: int | None = Field(
        None, ge=1, le=36_500, description="whole days of rows to keep besides the present one (UTC); without it, all"
    )
    compiled: Compiled = Field(
        Compiled.AUTO,
        description="`auto` encodes batches by compiled code where it is built, `off` always by pure Python, slower",
    )

    @field_validator("database_url")
    @classmethod
    def _is_postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        url = value.get_secret_value()
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql://")
        try:
            is_readable = url.partition("://")[2].partition("/")[0].count("@") <= 1 and bool(conninfo_to_dict(url))
        except psycopg.ProgrammingError:
            is_readable = False
        if not is_readable:
            # What is wrong is not quoted: it may be part of a password.
            raise ValueError("must be a URL whose special characters are percent-encoded")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in value.split(","):
            if origin.strip() != "*" and not origin.strip().startswith(("http://", "https://")):
                raise ValueError("must be * or origins such as https://app.example.com, separated by commas")
        return value

    def to_environment(self) -> dict[str, str]:
        """Return the environment variables that give another process exactly these settings."""
        values = self.model_dump(mode="json", exclude_none=True)
        if self.database_url is not None:
            values["database_url"] = self.database_url.get_secret_value()
        return {environment_name(name): str(value) for name, value in values.items()}


def environment_name(field: str) -> str:
    """Return the environment variable of a settings field: http_port -> SEESTACK_HTTP_PORT."""
    return ENV_PREFIX + field.upper()


def describe_setting(field: str) -> str:
    """Return how people give a setting: http_port -> SEESTACK_HTTP_PORT (--http-port)."""
    return f"{environment_name(field)} (--{field.replace('_', '-')})"


def load_settings(**flags: Any) -> Settings:
    """Read the environment, `flags` (field names; None means not given) winning over it.

    Raises SettingsError that names the variable, the value and the rule.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(item) for item in error.errors())) from error


def find_misspelled(variables: Iterable[str]) -> dict[str, str]:
    """Return which names of environment variables look like misspelled ones of settings, and those that were meant."""
    known = list(map(environment_name, Settings.model_fields))
    unknown = (name for name in variables if name.startswith(ENV_PREFIX) and name not in known)
    guesses = ((name, get_close_matches(name, known, n=1, cutoff=0.9)) for name in unknown)
    return {name: guess[0] for name, guess in guesses if guess}


def _explain(item: object) -> str:
    assert isinstance(item, dict)  # noqa: S101 - pydantic's ErrorDetails
    field = str(item["loc"][0]) if item["loc"] else "settings"
    shown = "" if field == "database_url" else f" is {item['input']!r}, which"
    return f"{describe_setting(field)}{shown} is wrong: {item['msg'].removeprefix('Value error, ')}"


def _default_data_dir() -> Path:
    of_user = Path(platformdirs.user_data_dir("seestack-ingest", appauthor=False))
    # Postgres runs as another user than root, who cannot enter root's home folder. Earlier versions kept data there.
    return ROOT_DATA_DIR if os.geteuid() == 0 and not of_user.exists() else of_user


def _worker_count() -> int:
    # Half of the processors for each protocol, since clients mostly use one; Postgres needs some, too.
    processors = len(os.sched_getaffinity(0))
    return min(max(min(processors, 2), processors // 2), MAX_DEFAULT_WORKERS)
