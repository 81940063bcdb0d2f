"""Links that log in to the pages as an administrator, once.

A link is made by who can write to the data folder. Its token is stored nowhere: a mark in the folder is named after the
token's digest, and whoever removes the mark is logged in.
"""

import secrets
from hashlib import sha256
from pathlib import Path

from server.access.page_files import PageFiles

LIFETIME_S = 3600.0
PATH = "/login"

_KIND = "links"


def make_link(data_dir: Path, base_url: str) -> str:
    """Return a new link to the server at `base_url`, which must use the same data folder. Raises OSError."""
    token = secrets.token_urlsafe(32)
    PageFiles(data_dir).mark(_KIND, _name_of(token), LIFETIME_S)
    return f"{base_url}{PATH}?token={token}"


def is_unused(files: PageFiles, token: str) -> bool:
    """Tell whether a link's token would be taken now."""
    return files.has_mark(_KIND, _name_of(token), LIFETIME_S)


def redeem(files: PageFiles, token: str) -> bool:
    """Tell whether a link's token logs in: it was made here, lately, and not used before. Raises OSError."""
    return files.take_mark(_KIND, _name_of(token), LIFETIME_S)


def _name_of(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
