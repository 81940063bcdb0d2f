"""The columns that batches are encoded for are those of the migrated table."""

import psycopg

from storage.writing.http_requests import HTTP_REQUESTS

TABLE = """
SELECT column_name, udt_name, is_nullable = 'YES' FROM information_schema.columns WHERE table_name = 'http_request_rows'
"""
TYPES = {"int8": "bigint", "int4": "integer", "int2": "smallint", "bool": "boolean"}
OF_POSTGRES = {"transaction"}  # filled by its default


def test_the_table_has_the_columns_of_the_program(connection: psycopg.Connection) -> None:
    found = [row for row in connection.execute(TABLE) if row[0] not in OF_POSTGRES]
    assert {(name, TYPES.get(kind, kind)) for name, kind, _ in found} == set(HTTP_REQUESTS.form.columns)
    nullable = {column.name for column in HTTP_REQUESTS.columns if column.nullable}
    assert {name for name, _, may_be_null in found if may_be_null} == nullable
