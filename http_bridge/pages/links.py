"""Addresses of pages: each view is a link, with filters and range in it."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

# Browsers take "." and ".." for folders, and what else stands in a path for something of its own.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*", re.ASCII)


def link(path: str, *queries: Mapping[str, object]) -> str:
    """Return the address of a page; what is empty is left out, and later values replace earlier ones."""
    given = {name: value for query in queries for name, value in query.items()}
    text = urlencode({name: value for name, value in given.items() if value not in (None, "")}, quote_via=quote)
    return f"{path}?{text}" if text else path


def trace_link(trace_id: str) -> str:
    """Return the address of a trace, whatever its id is made of."""
    return f"/trace/{trace_id}" if _PLAIN.fullmatch(trace_id) else link("/trace", {"id": trace_id})
