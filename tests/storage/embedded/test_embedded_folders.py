"""Where the data of an embedded Postgres may be."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.database import connect
from storage.embedded.cluster import cluster_path, reason_in
from storage.embedded.server import EmbeddedServer
from storage.errors import EmbeddedServerError
from tests.storage.processes import is_stopped, socket_folder_of


def assert_usable(folder: Path) -> None:
    """Check that a server of this folder starts, answers and stops, and that only its owner can open its socket."""
    with EmbeddedServer(folder) as server:
        with connect(server.url) as connection:
            assert connection.execute("SHOW data_directory").fetchone() == (str(cluster_path(folder)),)
        socket_folder = socket_folder_of(server.url)
        assert (socket_folder / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
        assert socket_folder.stat().st_mode & 0o777 == 0o700
    assert is_stopped(folder)


@contextmanager
def outer_socket_folder(folder: Path) -> Iterator[Path]:
    """The folder of the socket of a server whose own folder may not hold one; elsewhere, it is removed at the end."""
    socket_folder = socket_folder_of(EmbeddedServer(folder).url)
    try:
        yield socket_folder
    finally:
        if folder not in socket_folder.parents:
            shutil.rmtree(socket_folder, ignore_errors=True)


@pytest.mark.parametrize("name", ["with a space", "it's 100% a&b #1 +ü", "a,b"])
def test_the_name_of_the_folder_may_hold_special_characters(folder: Path, name: str) -> None:
    with outer_socket_folder(folder / name):
        assert_usable(folder / name)


def test_a_name_that_a_shell_would_change_is_refused_in_one_line(folder: Path) -> None:
    for name in ('a"b', "a$HOME", "a`b", "a\\b", "a\nb"):
        with pytest.raises(EmbeddedServerError) as raised:
            EmbeddedServer(folder / name)
        assert len(str(raised.value).splitlines()) == 1


def test_the_path_may_be_longer_than_that_of_a_socket(folder: Path) -> None:
    long = folder / ("a" * 120) / ("b" * 120)
    with outer_socket_folder(long) as socket_folder:
        assert long not in socket_folder.parents
        assert_usable(long)
        assert_usable(long)


def test_a_socket_folder_that_was_open_to_others_is_closed_to_them(folder: Path) -> None:
    long = folder / ("a" * 120)
    with outer_socket_folder(long) as socket_folder:
        socket_folder.mkdir()
        socket_folder.chmod(0o777)
        assert_usable(long)


def test_a_relative_path_is_where_it_was_when_the_server_was_made(
    initialised_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(initialised_folder.parent)
    server = EmbeddedServer(Path(initialised_folder.name))
    monkeypatch.chdir("/")
    with server, connect(server.url) as connection:
        connection.execute("SELECT 1")
        assert initialised_folder in socket_folder_of(server.url).parents
    assert is_stopped(initialised_folder)


def test_a_link_leads_to_the_same_server(initialised_folder: Path) -> None:
    link = initialised_folder.with_name("link")
    link.symlink_to(initialised_folder)
    with EmbeddedServer(initialised_folder) as server:
        with EmbeddedServer(link) as linked:
            assert linked.url == server.url
        with connect(server.url) as connection:
            connection.execute("SELECT 1")
    link.unlink()


def test_the_reason_why_initdb_failed_is_told() -> None:
    output = (
        "creating configuration files ... ok\n"
        "running bootstrap script ... 2026-11-27 [22048] FATAL:  could not extend file: No space left on device\n"
        "2026-11-27 [22048] PANIC:  cannot abort transaction 1\n"
        'initdb: removing data directory "d"\n'
    )
    assert reason_in(output) == "could not extend file: No space left on device"
    assert reason_in("one\ntwo\n") == "two"
