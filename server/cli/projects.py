"""`seestack-ingest projects`."""

import click

from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.database.setup import connect_current
from server.settings import Settings
from storage.keys.projects import Project, create_project, list_projects


@click.group()
def projects() -> None:
    """Create and list projects: what keys and telemetry belong to."""


@projects.command()
@click.argument("name")
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def create(settings: Settings, name: str, *, as_json: bool) -> None:
    """Create a project called NAME."""
    if not name.strip():
        raise click.BadParameter("must not be blank", param_hint="NAME")
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


def _as_dict(project: Project) -> dict[str, object]:
    return {"projectId": str(project.id), "name": project.name, "createdAt": project.created_at}
