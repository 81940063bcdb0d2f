"""Log lines: to standard error, one an event, times in UTC."""

import logging
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"


def configure_logging() -> None:
    """Set up logging for this process."""
    formatter = logging.Formatter(FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("_granian").setLevel(logging.WARNING)
    # The pool warns of each attempt to connect; what that means for requests is logged where it matters.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
