"""What a role needs to be allowed: for a server, some rights on rows; to change the schema, to own its tables."""

from typing import NamedTuple

import psycopg


class Grant(NamedTuple):
    """A privilege on a table, as GRANT takes it: "SELECT", or "UPDATE (column)"."""

    privilege: str
    table: str

    def __str__(self) -> str:
        return f"GRANT {self.privilege} ON {self.table}"


# What `serve` does when the schema is up to date; docs/operating.md has these to paste.
SERVER_GRANTS = (
    Grant("SELECT", "schema_migrations"),
    Grant("SELECT", "database_identity"),
    Grant("SELECT", "projects"),
    Grant("SELECT", "api_keys"),
    Grant("UPDATE (last_used_at)", "api_keys"),
    Grant("SELECT", "idempotency_keys"),
    Grant("INSERT", "idempotency_keys"),
    Grant("DELETE", "idempotency_keys"),
    Grant("SELECT", "http_request_rows"),
    Grant("INSERT", "http_request_rows"),
    Grant("SELECT", "readable_rows"),
    Grant("SELECT", "rollup_state"),
    Grant("UPDATE", "rollup_state"),
    *(
        Grant(privilege, table)
        for table in ("rollup_minutes", "rollup_hours", "rollup_days", "rollup_unmerged", "rollup_names")
        for privilege in ("SELECT", "INSERT", "DELETE")
    ),
    *(Grant(privilege, "limit_servers") for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE")),
    # Rows that a server of an earlier version has spooled.
    Grant("SELECT", "http_requests"),
    Grant("INSERT", "http_requests"),
)

_MISSING = r"""
SELECT grants.privilege, grants.table_name
  FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS grants (privilege, table_name, number),
       regexp_match(grants.privilege, '(\w+) \((\w+)\)') AS of_column
 WHERE NOT CASE WHEN of_column IS NULL THEN has_table_privilege(grants.table_name, grants.privilege)
                ELSE has_column_privilege(grants.table_name, of_column[2], of_column[1]) END
 ORDER BY grants.number
"""
# A partition is a new table, attached to one that only its owner may change.
_OWNS_TABLES = """
SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
   AND NOT EXISTS (
       SELECT FROM pg_class
        WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'http_request_rows'::regclass)
          AND (relname = ANY(%s) OR relname LIKE 'http\\_request%%')
          AND relkind IN ('r', 'p')
          AND NOT pg_has_role(relowner, 'USAGE')
   )
"""


def missing_grants(connection: psycopg.Connection) -> list[Grant]:
    """Return which of SERVER_GRANTS the role of a connection lacks; the schema must be there."""
    privileges, tables = zip(*SERVER_GRANTS, strict=True)
    return [Grant(*row) for row in connection.execute(_MISSING, (list(privileges), list(tables)))]


def owns_schema(connection: psycopg.Connection) -> bool:
    """Tell whether the role may apply migrations and make partitions; the schema must be there."""
    tables = sorted({grant.table for grant in SERVER_GRANTS})
    return connection.execute(_OWNS_TABLES, (tables,)).fetchone() == (True,)
