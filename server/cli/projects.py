"""`seestack-ingest projects`."""

from functools import partial

import click

from server.access.key_changes import create_project, replace_credentials
from server.cli.options import DATABASE_SETTINGS, explains_errors, fail, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.cli.steps import patiently, progress_bar
from server.database.parts import connect_to_parts
from server.database.setup import connect_current
from server.settings import Settings
from storage.keys.api_keys import list_keys
from storage.keys.projects import Project, delete_project, find_project, list_projects
from storage.retention import delete_deleted_projects
from storage.usage import count_project


@click.group()
def projects() -> None:
    """Create, list and delete projects: what keys and telemetry belong to."""


@projects.command()
@click.argument("name")
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def create(settings: Settings, name: str, *, as_json: bool) -> None:
    """Create a project called NAME."""
    with connect_current(settings) as connection:
        project = create_project(connection, name)
    if as_json:
        print_json(_as_dict(project))
    else:
        click.echo(f"created project {project.name}, {project.id}")


@projects.command(name="list")
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def list_(settings: Settings, *, as_json: bool) -> None:
    """List all projects."""
    with connect_current(settings) as connection:
        rows = [_as_dict(project) for project in list_projects(connection)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, empty="no projects yet; make one with `seestack-ingest projects create NAME`")


@projects.command()
@click.argument("project", metavar="NAME|ID")
@click.option("--yes", is_flag=True, help="Delete; without it, only say what would go.")
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def delete(settings: Settings, project: str, *, yes: bool, as_json: bool) -> None:
    """Delete a project with its keys, rows and rollups; this cannot be undone.

    Servers refuse its keys within 10 s. Stopped in the middle, a server goes on with it, and so does `data prune`.
    """
    with connect_to_parts(settings) as parts:
        connection = parts.whole
        found = find_project(connection, project)
        keys, rows = list_keys(connection, found.id), count_project(connection, found.number)
        if not yes:
            fail(f"project {found.name} has {len(keys)} keys and {rows:,} rows, all of which go with --yes")
        for key in keys:
            replace_credentials(connection, settings.data_dir, key, None)
        delete_project(connection, found)
        with progress_bar(hidden=as_json) as progress:
            task = progress.add_task("deleting rows", total=rows)
            for part in parts:
                while deleted := patiently(partial(delete_deleted_projects, part)):
                    progress.advance(task, deleted)
    if as_json:
        print_json({**_as_dict(found), "keys": len(keys), "rows": rows})
    else:
        click.echo(
            f"deleted project {found.name} with {len(keys)} keys and {rows:,} rows; servers refuse its keys within 10 s"
        )


def _as_dict(project: Project) -> dict[str, object]:
    return {"projectId": str(project.id), "name": project.name, "createdAt": project.created_at}
