"""The rows of projects."""

from uuid import uuid4

import psycopg
import pytest

from storage.errors import AlreadyExistsError, NotFoundError
from storage.keys.projects import create_project, find_project, list_projects


def test_a_created_project_can_be_found_by_name_and_by_id_in_any_case(connection: psycopg.Connection) -> None:
    create_project(connection, "another")
    project = create_project(connection, "shop")
    assert project.name == "shop"
    for reference in ("shop", str(project.id), str(project.id).upper()):
        assert find_project(connection, reference) == project


def test_a_name_is_kept_as_it_is(connection: psycopg.Connection) -> None:
    for name in ("Müller & Söhne", "日本語", "😀", "with space", "it's", "%", "a" * 1_000):
        create_project(connection, name)
        assert find_project(connection, name).name == name


def test_a_name_can_be_taken_once(connection: psycopg.Connection) -> None:
    project = create_project(connection, "shop")
    with pytest.raises(AlreadyExistsError, match="'shop'"):
        create_project(connection, "shop")
    assert list_projects(connection) == [project]


def test_names_that_differ_in_case_are_different(connection: psycopg.Connection) -> None:
    assert create_project(connection, "shop").id != create_project(connection, "Shop").id


def test_projects_are_listed_oldest_first(connection: psycopg.Connection) -> None:
    assert list_projects(connection) == []
    projects = [create_project(connection, name) for name in ("b", "c", "a")]
    assert list_projects(connection) == projects


def test_what_does_not_exist_is_not_found(connection: psycopg.Connection) -> None:
    create_project(connection, "shop")
    for reference in ("nothing", "", "Shop", "shop ", "%", "' OR true --", str(uuid4())):
        with pytest.raises(NotFoundError):
            find_project(connection, reference)
