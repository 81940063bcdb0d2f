"""Whose the spools of a data folder are."""

from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from storage.errors import SpoolOwnerError
from storage.spool.file import FILE
from storage.spool.folders import assign_folder, find_folder, find_spool_folders, owner_of, require_owner
from storage.spool.spool import Spool
from tests.storage.spool.version_1 import lay_down

ONE, OTHER = uuid4(), uuid4()


def test_the_first_database_has_the_folders_own_spool_and_each_other_one_another(tmp_path: Path) -> None:
    own, other = assign_folder(tmp_path, ONE, "one:5432/a"), assign_folder(tmp_path, OTHER, "other:5432/a")
    assert own == tmp_path
    assert other == tmp_path / f"spool-{OTHER}"
    assert find_spool_folders(tmp_path) == [own, other]
    assert assign_folder(tmp_path, ONE, "one:5432/a") == own
    assert assign_folder(tmp_path, OTHER, "other:5432/a") == other


def test_a_database_that_moved_keeps_its_spool(tmp_path: Path) -> None:
    assign_folder(tmp_path, OTHER, "other:5432/a")
    folder = assign_folder(tmp_path, ONE, "one:5432/a")
    assert assign_folder(tmp_path, ONE, "elsewhere:5432/a") == folder
    assert find_folder(tmp_path, "elsewhere:5432/a") == folder
    assert find_folder(tmp_path, "one:5432/a") is None
    assert find_folder(tmp_path, "nowhere", ONE) == folder


def test_a_location_that_cannot_be_asked_has_the_spool_that_was_last_used_with_it(tmp_path: Path) -> None:
    assign_folder(tmp_path, ONE, "host:5432/a")
    newer = assign_folder(tmp_path, OTHER, "host:5432/a")
    assert find_folder(tmp_path, "host:5432/a") == newer
    assert find_folder(tmp_path, "host:5432/b") is None


def test_a_spool_of_an_earlier_version_is_for_the_database_that_is_first_reached(tmp_path: Path) -> None:
    lay_down(tmp_path)
    assert assign_folder(tmp_path, ONE, "one:5432/a") == tmp_path
    owner = owner_of(tmp_path)
    assert owner is not None
    assert owner.database_id == ONE


def test_a_spool_of_an_earlier_version_waits_for_the_database_at_the_location_it_was_used_with(tmp_path: Path) -> None:
    lay_down(tmp_path)
    assert find_folder(tmp_path, "one:5432/a") == tmp_path
    with closing(Spool(tmp_path, max_bytes=0)) as spool:
        assert spool.adopt(None, "one:5432/a")
    assert find_folder(tmp_path, "other:5432/a") is None
    assert assign_folder(tmp_path, OTHER, "other:5432/a") != tmp_path
    assert assign_folder(tmp_path, ONE, "one:5432/a") == tmp_path
    assert find_folder(tmp_path, "one:5432/a") == tmp_path


def test_a_spool_is_for_no_other_database(tmp_path: Path) -> None:
    assign_folder(tmp_path, ONE, "one:5432/a")
    require_owner(tmp_path, ONE, "one:5432/a")
    with pytest.raises(SpoolOwnerError, match="belongs to another database"):
        require_owner(tmp_path, OTHER, "one:5432/a")


def test_a_spool_that_cannot_be_read_does_not_keep_servers_from_the_others(tmp_path: Path) -> None:
    assign_folder(tmp_path, ONE, "one:5432/a")
    other = assign_folder(tmp_path, OTHER, "other:5432/a")
    (other / FILE).write_bytes(b"no database" * 1_000)
    assert find_folder(tmp_path, "one:5432/a") == tmp_path


@pytest.mark.parametrize("database_id", [OTHER, None])
def test_a_spool_never_changes_its_database(tmp_path: Path, database_id: object) -> None:
    with closing(Spool(tmp_path, max_bytes=0)) as spool:
        assert spool.adopt(ONE, "one:5432/a")
        assert not spool.adopt(OTHER if database_id else None, "one:5432/a")
        owner = spool.owner()
        assert owner is not None
        assert owner.database_id == ONE
