"""Settings: where they come from, what they refuse, and how they are handed on."""

import os
from pathlib import Path
from typing import Any

import click
import pytest

from server.cli.migrate import migrate
from server.cli.options import describe_default
from server.cli.psql import psql
from server.cli.serve import serve
from server.observability.log import LogLevel
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

WRONG_VALUES = [
    ("http_port", "70000"),
    ("http_port", "-1"),
    ("http_port", "http"),
    ("grpc_port", "65536"),
    ("grpc_port", "1.5"),
    ("http_workers", "0"),
    ("grpc_workers", "0"),
    ("grpc_workers", "65"),
    ("query_workers", "-1"),
    ("pages", "yes"),
    ("metrics_port", "65536"),
    ("log_level", "verbose"),
    ("contract", "loose"),
    ("contract", "STRICT"),
    ("limit_scope", "cluster"),
    ("database_url", "mysql://user@host/database"),
    ("database_url", "host=localhost"),
    ("max_body_bytes", "1"),
    ("max_body_bytes", "1MB"),
    ("max_body_bytes", str(2**40)),
    ("max_connections", "0"),
    ("max_held_bytes", "1000"),
    ("grpc_max_calls", "0"),
    ("grpc_max_streams", str(2**31)),
    ("cors_origins", "example.com"),
    ("cors_origins", "https://app.example.com,example.com"),
    ("retention_days", "0"),
    ("grace_seconds", "-1"),
    ("grace_seconds", "nan"),
    ("grace_seconds", "inf"),
    ("grace_seconds", "soon"),
]
CHANGED: dict[str, Any] = {
    "database_url": "postgresql://user:p%40ss%20word@[::1]:5433/events?sslmode=require",
    "data_dir": Path("/somewhere/with a space/ü"),
    "http_host": "::",
    "http_port": 0,
    "grpc_host": "0.0.0.0",
    "grpc_port": 65535,
    "metrics_host": "::1",
    "metrics_port": 1,
    "http_workers": 64,
    "grpc_workers": 3,
    "query_workers": 2,
    "pages": Pages.OFF,
    "limit_scope": LimitScope.DATABASE,
    "tls_cert": Path("/somewhere/certificate.pem"),
    "tls_key": Path("/somewhere/key.pem"),
    "grpc_client_ca": Path("/somewhere/clients.pem"),
    "distributed": Distributed.CITUS,
    "contract": Contract.LENIENT,
    "max_body_bytes": 1024,
    "max_connections": 100,
    "max_held_bytes": 2**25,
    "grpc_max_calls": 50,
    "grpc_max_streams": 10,
    "cors_origins": "https://app.example.com, http://localhost:3000",
    "grace_seconds": 0.25,
    "log_level": LogLevel.DEBUG,
    "spool": Spooling.OFF,
    "spool_max_bytes": 2**20,
    "rollup_retention_days": 400,
    "retention_days": 30,
    "compiled": Compiled.OFF,
}


def options_of(command: click.Command) -> dict[str, click.Option]:
    return {str(option.name): option for option in command.params if isinstance(option, click.Option)}


def test_every_setting_is_an_option_of_serve_that_names_its_variable_and_default() -> None:
    options = options_of(serve)
    assert set(options) == set(Settings.model_fields)
    for name, option in options.items():
        assert option.opts == [f"--{name.replace('_', '-')}"]
        assert option.help is not None
        assert f"env: {environment_name(name)}]" in option.help
        assert str(Settings.model_fields[name].description) in option.help
        assert describe_default(name) in option.help


def test_commands_that_only_need_the_database_take_only_its_settings() -> None:
    for command in (migrate, psql):
        assert set(options_of(command)) & set(Settings.model_fields) == {"database_url", "data_dir"}


def test_every_setting_has_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_root_keeps_its_data_where_other_users_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    own = tmp_path / "seestack-ingest"
    assert load_settings().data_dir == (own if os.geteuid() else Path("/var/lib/seestack-ingest"))
    # Data that an earlier version left at home stay in use.
    own.mkdir()
    assert load_settings().data_dir == own


def test_the_defaults_are_safe_ones() -> None:
    settings = load_settings()
    assert (settings.http_host, settings.grpc_host) == ("127.0.0.1", "127.0.0.1")
    assert settings.contract is Contract.STRICT
    assert settings.database_url is None
    assert settings.data_dir.is_absolute()
    assert settings.http_workers >= 1


@pytest.mark.parametrize(("field", "value"), WRONG_VALUES)
def test_a_wrong_value_is_explained_in_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str
) -> None:
    monkeypatch.setenv(environment_name(field), value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{environment_name(field)} (--{field.replace('_', '-')})")
    assert (value in message) is (field != "database_url")


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEESTACK_HTTP_PORT", "70000")
    monkeypatch.setenv("SEESTACK_CONTRACT", "loose")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "SEESTACK_HTTP_PORT" in str(raised.value)
    assert "SEESTACK_CONTRACT" in str(raised.value)


@pytest.mark.parametrize("url", ["mysql://user:hunter2@host/events", "user:hunter2@host", " postgresql://u:hunter2@h"])
def test_a_wrong_database_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SEESTACK_DATABASE_URL", url)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "hunter2" not in str(raised.value)
    assert "is wrong: must " in str(raised.value)


def test_the_password_of_a_right_database_url_is_hidden() -> None:
    settings = load_settings(database_url="postgresql://user:hunter2@host/events")
    for shown in (str(settings), repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hunter2" not in shown


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEESTACK_HTTP_PORT", "1111")
    monkeypatch.setenv("SEESTACK_GRPC_PORT", "2222")
    settings = load_settings(http_port="3333", grpc_port=None)
    assert (settings.http_port, settings.grpc_port) == (3333, 2222)


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(environment_name(name), "")
    assert load_settings() == Settings()


@pytest.mark.parametrize("changes", [{}, CHANGED, *({name: value} for name, value in CHANGED.items())])
def test_another_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    settings = load_settings(**changes)
    environment = settings.to_environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    received = load_settings()
    assert received == settings
    assert {name: getattr(received, name) for name in Settings.model_fields} == {
        name: getattr(settings, name) for name in Settings.model_fields
    }
    if settings.database_url is not None:
        assert environment["SEESTACK_DATABASE_URL"] == CHANGED["database_url"]


def test_the_example_of_changed_settings_changes_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEESTACK_DISTRIBUTED", raising=False)  # that tests with a cluster of Citus have
    default = load_settings()
    assert set(CHANGED) == set(Settings.model_fields)
    assert all(getattr(load_settings(**CHANGED), name) != getattr(default, name) for name in CHANGED)
