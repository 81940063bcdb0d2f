"""`python work_later.py URL`: what a server does for rows after they were stored, as if their day were over.

Run by the interpreter of the server that is measured; one of an earlier version has nothing to do later.
"""

import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module


def main(url: str) -> None:
    """Summarize and close the days of a database."""
    try:
        brin_ranges, closed_days = import_module("storage.brin_ranges"), import_module("storage.closed_days")
    except ModuleNotFoundError:
        return
    with import_module("storage.database").connect(url) as connection:
        brin_ranges.RangeSummaries().summarize(connection)
        if not closed_days.close_days(connection, url, datetime.now(UTC) + timedelta(days=2)):
            sys.exit("no day was closed")


if __name__ == "__main__":
    main(sys.argv[1])
