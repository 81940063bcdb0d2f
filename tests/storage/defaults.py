"""What the owner of a database may have set for it."""

import psycopg
from psycopg import sql


def set_default(url: str, name: str, value: str) -> None:
    """Give every session that begins from now on in the database of `url` another default of a Postgres setting."""
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                sql.Identifier(connection.info.dbname), sql.Identifier(name), sql.Literal(value)
            )
        )
