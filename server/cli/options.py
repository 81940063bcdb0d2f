"""Flags for settings, and the error handling of all commands."""

import functools
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click
import psycopg
from pydantic_core import PydanticUndefined

from server.access.key_values import WrongValueError
from server.observability.log import LogLevel
from server.processes.listeners import ListenError
from server.processes.supervisor import WorkerStartError
from server.settings import (
    Compiled,
    Contract,
    Distributed,
    LimitScope,
    Pages,
    Settings,
    SettingsError,
    Spooling,
    environment_name,
    load_settings,
)
from storage.errors import StorageError

Command = TypeVar("Command", bound=Callable[..., Any])

DATABASE_SETTINGS = ("database_url", "data_dir")
SETTINGS_EXIT_CODE = 2

_METAVARS: dict[str, str] = {
    "database_url": "URL",
    "data_dir": "FOLDER",
    "http_host": "ADDRESS",
    "grpc_host": "ADDRESS",
    "http_port": "PORT",
    "grpc_port": "PORT",
    "tls_cert": "FILE",
    "tls_key": "FILE",
    "grpc_client_ca": "FILE",
    "metrics_host": "ADDRESS",
    "metrics_port": "PORT",
    "distributed": "|".join(Distributed),
    "limit_scope": "|".join(LimitScope),
    "contract": "|".join(Contract),
    "compiled": "|".join(Compiled),
    "pages": "|".join(Pages),
    "max_body_bytes": "BYTES",
    "max_held_bytes": "BYTES",
    "cors_origins": "ORIGINS",
    "grace_seconds": "SECONDS",
    "retention_days": "DAYS",
    "log_level": "|".join(LogLevel),
    "spool": "|".join(Spooling),
    "spool_max_bytes": "BYTES",
    "rollup_retention_days": "DAYS",
}


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Give a command a flag for each of these settings (all, when none is named), and call it with `settings`."""
    fields = names or tuple(Settings.model_fields)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(**arguments: Any) -> Any:
            flags = {name: arguments.pop(name) for name in fields}
            try:
                settings = load_settings(**flags)
            except SettingsError as error:
                fail(str(error), SETTINGS_EXIT_CODE)
            return command(settings=settings, **arguments)

        for name in reversed(fields):
            call = _settings_option(name)(call)
        return call  # type: ignore[return-value]

    return decorate


def explains_errors(command: Command) -> Command:
    """Turn expected errors into one line and a non-zero exit code."""

    @functools.wraps(command)
    def call(**arguments: Any) -> Any:
        try:
            return command(**arguments)
        except SettingsError as error:
            fail(str(error), SETTINGS_EXIT_CODE)
        except WrongValueError as error:
            raise click.BadParameter(str(error), param_hint=error.field) from error
        except (StorageError, ListenError, WorkerStartError) as error:
            fail(str(error))
        except psycopg.Error as error:
            fail(f"the database refused: {str(error).strip().splitlines()[0]}")
        except OSError as error:
            fail(f"{error.filename or 'system'}: {error.strerror}; another folder can be chosen with --data-dir")

    return call  # type: ignore[return-value]


def fail(message: str, exit_code: int = 1) -> NoReturn:
    """Print one line to standard error and exit."""
    click.echo(f"seestack-ingest: {message}", err=True)
    raise SystemExit(exit_code)


def describe_default(name: str) -> str:
    """Return a setting's default for people: "" when there is none, words where it depends on the machine."""
    field = Settings.model_fields[name]
    if name in ("http_workers", "grpc_workers"):
        return "half of the processors, 2 to 8 (1 on one)"
    if field.default is PydanticUndefined:
        return str(field.get_default(call_default_factory=True))
    return "" if field.default is None else str(field.default)


def _settings_option(name: str) -> Callable[[Any], Any]:
    default = describe_default(name)
    shown = f"default: {default}; " if default else ""
    text = f"{Settings.model_fields[name].description}  [{shown}env: {environment_name(name)}]"
    return click.option(f"--{name.replace('_', '-')}", name, metavar=_METAVARS.get(name, "NUMBER"), help=text)
