"""The order between modules, and between the folders of a package: a room knows those below it, and is known above."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from tests.project.imports import PACKAGES, imports, modules_of, names_in
from tests.project.repository import ROOT

# Between rooms, and what it is there for.
ALLOWED_BACK = {
    ("server.errors", "server.contract"): "an error names the field that it is about",
    (
        "storage.writing",
        "storage.spool",
    ): "the slow path appends to a spool, whose drain copies as the writer does",
}
MOST_LINES = 300
LONGER = {
    "http_bridge/openapi.py": "most of it is the document itself",
}


def room_of(module: str) -> str:
    """Return a module's folder below its package; the package's own modules are rooms of their own."""
    return ".".join(module.split(".")[:2])


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert find_cycle(imports()) == []


def test_no_room_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for module, imported in imports().items():
        graph.setdefault(room_of(module), set()).update(room_of(other) for other in imported)
    for room, rooms in graph.items():
        rooms.discard(room)
    for room, other in ALLOWED_BACK:
        assert other in graph[room], f"{room} does not import {other} any more: no exception is needed"
        graph[room].remove(other)
    assert find_cycle(graph) == []


def test_no_private_name_is_imported() -> None:
    private = {
        (str(path.relative_to(ROOT)), name)
        for package in PACKAGES
        for path in modules_of(package)
        for name in names_in(path)
        if any(part.startswith("_") and not part.endswith("__") for part in name.split("."))
    }
    assert {(path, name) for path, name in private if name.partition(".")[0] in PACKAGES} == set()


def test_a_file_has_one_subject_and_not_too_many_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for package in PACKAGES
        for path in modules_of(package)
    }
    assert {path for path, length in lengths.items() if length > MOST_LINES} == set(LONGER)
