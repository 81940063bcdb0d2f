"""The project and the key that inputs are made with: always the same, so that a saved input can be sent again."""

import psycopg

from storage.keys.api_keys import PREFIX_LENGTH, digest_of

PROJECT_ID = "5eed5eed-5eed-4eed-8eed-5eed5eed5eed"
FOREIGN_PROJECT_ID = "0dd00dd0-0dd0-4dd0-8dd0-0dd00dd00dd0"
# Issued by no server; its checksum is right.
RAW_KEY = "seestack_live_ffffffffffffffffffffffff1IkC7A"

_PROJECT = "INSERT INTO projects (id, name) VALUES (%s, 'fuzz')"
_KEY = "INSERT INTO api_keys (project_id, name, prefix, digest) VALUES (%s, 'fuzz', %s, %s)"


def create_identity(database_url: str) -> None:
    """Store the project and its key in a migrated database."""
    with psycopg.connect(database_url) as connection:
        connection.execute(_PROJECT, (PROJECT_ID,))
        connection.execute(_KEY, (PROJECT_ID, RAW_KEY[:PREFIX_LENGTH], digest_of(RAW_KEY)))
