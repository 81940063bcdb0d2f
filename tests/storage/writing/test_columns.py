"""The columns that batches are encoded for are those of the migrated table."""

import psycopg

from storage.writing.http_requests import HTTP_REQUESTS

TABLE = """
SELECT column_name, udt_name, is_nullable = 'YES' FROM information_schema.columns WHERE table_name = 'http_requests'
"""
TYPES = {"int8": "bigint", "int2": "smallint"}


def test_the_table_has_the_columns_of_the_program(connection: psycopg.Connection) -> None:
    found = connection.execute(TABLE).fetchall()
    assert {(name, TYPES.get(kind, kind)) for name, kind, _ in found} == set(HTTP_REQUESTS.form.columns)
    nullable = {column.name for column in HTTP_REQUESTS.columns if column.nullable}
    assert {name for name, _, may_be_null in found if may_be_null} == nullable
