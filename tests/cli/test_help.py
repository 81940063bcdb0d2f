"""--help: of the program, and of every command below it."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from server.cli import main
from server.settings import Settings

COMMANDS = {
    "serve": (),
    "check": (),
    "migrate": (),
    "pages": ("link",),
    "projects": ("create", "delete", "list"),
    "data": ("prune", "usage"),
    "keys": ("create", "limit", "list", "revoke", "rotate"),
    "spool": ("status", "drain", "list", "export", "retry", "discard", "take-over"),
    "rollups": ("status", "rebuild"),
    "sample": (),
    "tail": (),
    "top": (),
    "stats": (),
    "trace": (),
    "psql": (),
    "backup": (),
    "restore": (),
}


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield all commands with the words that call them, the program itself first."""
    yield path, command
    for name, subcommand in commands_of(command).items():
        yield from walk(subcommand, (*path, name))


def commands_of(command: click.Command) -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    return {
        name: subcommand
        for name in command.list_commands(context)
        if (subcommand := command.get_command(context, name))
    }


ALL_COMMANDS = list(walk(main))


def help_of(*path: str, flag: str = "--help") -> str:
    result = CliRunner().invoke(main, [*path, flag], prog_name="seestack-ingest")
    assert result.exit_code == 0
    return result.output


def test_there_is_a_command_for_each_task() -> None:
    expected = {(name, *subcommand) for name, below in COMMANDS.items() for subcommand in ((), *zip(below))}
    assert {path for path, _ in ALL_COMMANDS if path} == expected


def test_the_top_help_names_all_commands() -> None:
    commands = help_of().partition("Commands:")[2].split()
    assert set(COMMANDS) <= set(commands)


@pytest.mark.parametrize(("path", "command"), ALL_COMMANDS, ids=[" ".join(path) or "top" for path, _ in ALL_COMMANDS])
def test_help_explains_the_command_and_every_option(path: tuple[str, ...], command: click.Command) -> None:
    text = help_of(*path)
    assert text.startswith(f"Usage: {' '.join(('seestack-ingest', *path))} ")
    assert command.help
    assert command.help.splitlines()[0] in " ".join(text.split())
    options = [option for option in command.params if isinstance(option, click.Option)]
    for option in options:
        assert all(name in text for name in option.opts)
    # "protocol" says all there is to say by its choices.
    assert all(option.help for option in options if not isinstance(option.type, click.Choice))
    assert all(name in text for name in commands_of(command))


def test_h_is_short_for_help() -> None:
    assert help_of("keys", "create", flag="-h") == help_of("keys", "create")


def test_the_help_of_serve_names_the_variable_of_each_setting() -> None:
    text = help_of("serve")
    assert all(f"SEESTACK_{name.upper()}" in text for name in Settings.model_fields)
