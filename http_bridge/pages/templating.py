"""What the templates of pages can use beside what a view gives them."""

from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Final

from flask import Blueprint, request, url_for

from http_bridge.pages import formats
from http_bridge.pages.groups import DIRECTIONS, SORTS
from http_bridge.pages.links import link, trace_link
from http_bridge.pages.ranges import RELATIVES
from storage.endpoints import OTHER, endpoint_of

STATIC: Final = Path(__file__).parent / "static"
CACHED_S: Final = 86_400 * 365  # the address of a file says its content

_FILTERS: Final = (
    formats.count, formats.rate, formats.duration, formats.size, formats.percent, formats.moment, formats.iso,
    formats.visible, formats.bounded, formats.phrase,
)  # fmt: skip


def add_to_templates(pages: Blueprint) -> None:
    """Give the templates of a blueprint their filters and functions, and browsers its files to keep."""
    pages.get_send_file_max_age = lambda filename: CACHED_S  # type: ignore[method-assign]
    for form in _FILTERS:
        pages.add_app_template_filter(form)
    pages.add_app_template_filter(endpoint_of, "endpoint")
    pages.add_app_template_filter(quote, "shell")
    versions = {path.name: sha256(path.read_bytes()).hexdigest()[:12] for path in STATIC.iterdir()}

    def static_file(name: str) -> str:
        return url_for("pages.static", filename=name, v=versions[name])

    tools = {
        "link": link, "trace_link": trace_link, "static_file": static_file, "RELATIVES": RELATIVES,
        "DIRECTIONS": DIRECTIONS, "SORTS": SORTS, "OTHER": OTHER,
    }  # fmt: skip
    pages.record_once(lambda setup: setup.app.jinja_env.globals.update(tools))
    pages.context_processor(lambda: {"path": request.path, "given": request.args.to_dict()})
