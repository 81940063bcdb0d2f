"""psql, pg_dump and pg_restore: the ones that come with the embedded Postgres, for any database."""

import importlib.metadata
import os
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from storage.embedded.programs import BINARIES


def client_program(name: str) -> Path:
    """Return a client program, such as psql."""
    return BINARIES / name


def client_environment(url: str) -> dict[str, str]:
    """Return an environment in which a client program connects to `url`.

    Unlike an argument, it does not show the URL's password in the list of processes.
    """
    names = {option.keyword.decode(): option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    connection = {names[word]: str(value) for word, value in conninfo_to_dict(url).items() if word in names}
    # The programs are built without TLS; the driver's libpq, of the same major version, has it.
    preloaded = [*_libpq_with_tls(), *filter(None, [os.environ.get("LD_PRELOAD")])]
    return {**os.environ, **connection, "LD_PRELOAD": ":".join(preloaded)}


def _libpq_with_tls() -> list[str]:
    files = importlib.metadata.files("psycopg-binary") or []
    return [str(file.locate()) for file in files if file.name.startswith("libpq-")]
