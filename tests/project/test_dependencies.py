"""Which part of the project may know of which other."""

import sys
from collections.abc import Iterator

import pytest

from tests.project.imports import modules_of, names_in
from tests.project.repository import ROOT

# A package, and what it may import besides the standard library.
ALLOWED = {
    "storage": {"storage", "msgspec", "psycopg", "psycopg_pool"},
    "server": {
        "server", "storage", "seestack", "click", "cryptography", "google", "grpc", "grpc_health", "grpc_reflection",
        "grpc_status", "hpack", "itsdangerous", "msgspec", "platformdirs", "prometheus_client", "psycopg",
        "psycopg_pool", "pydantic", "pydantic_core", "pydantic_settings", "rich", "uvloop",
    },
    "http_bridge": {
        "http_bridge", "server", "storage", "flask", "flask_swagger_ui", "greenlet", "httptools", "msgspec", "pyarrow",
        "uvloop", "werkzeug",
    },
}  # fmt: skip
OURS = {*ALLOWED, "seestack", "tests", "bench"}


def third_party_and_ours(names: Iterator[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): unexpected
        for path in modules_of(package)
        if (unexpected := third_party_and_ours(names_in(path)) - ALLOWED[package])
    }
    assert wrong == {}


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    users = {
        path.relative_to(ROOT).parts[:2]
        for package in ALLOWED
        for path in modules_of(package)
        if any(f"{imported}.".startswith("server.cli.") for imported in names_in(path))
    }
    assert users == {("server", "cli")}


def test_the_generated_code_depends_on_no_other_package() -> None:
    imported = set().union(*(third_party_and_ours(names_in(path)) for path in modules_of("proto/seestack")))
    assert imported & OURS <= {"seestack"}


def test_no_module_is_imported_by_a_name_made_at_run_time() -> None:
    sources = [path.read_text(encoding="utf-8") for package in ALLOWED for path in modules_of(package)]
    assert not any("import_module(" in source or "__import__(" in source for source in sources)
