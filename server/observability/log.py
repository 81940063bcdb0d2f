"""Log lines, to standard error: for people on a terminal, otherwise one JSON object a line.

A line may quote what clients sent: it cannot begin a new line, control a terminal, or be of any length,
and API keys are hidden wherever they appear.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any

from storage.keys.api_keys import SCHEME

MAX_FIELD_LENGTH = 256
MAX_MESSAGE_LENGTH = 2_000
MAX_TRACEBACK_LENGTH = 16_000

_OURS = ("server", "http_bridge", "storage")
_KEY = re.compile(rf"{SCHEME}\w+")
_HIDDEN_KEY = f"{SCHEME}[hidden]"
_PLAIN = re.compile(r"[\w.:/@+-]+")
_FIELDS = "fields"  # of a record: what `event_fields` put there

_logger = logging.getLogger(__name__)


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def event_fields(**fields: object) -> Mapping[str, object]:
    """Return what to pass as `extra`, so that a line carries these fields, but for None, beside its message."""
    return {_FIELDS: {name: value for name, value in fields.items() if value is not None}}


def configure_logging(level: LogLevel) -> None:
    """Set up logging for this process; uncaught exceptions are logged, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(PeopleFormatter() if handler.stream.isatty() else JsonFormatter())
    # Debug lines of libraries may quote requests.
    logging.basicConfig(
        level=max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]), handlers=[handler], force=True
    )
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    # The pool warns of each attempt to connect; what that means for requests is logged where it matters.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda lost: _log_uncaught(lost.exc_type, lost.exc_value, lost.exc_traceback)


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _shorten(record.getMessage(), MAX_MESSAGE_LENGTH),
        }
        line |= {name: _plain_value(value) for name, value in _fields_of(record).items()}
        if record.exc_info:
            line["traceback"] = _shorten(self.formatException(record.exc_info), MAX_TRACEBACK_LENGTH)
        return json.dumps(line)


class PeopleFormatter(logging.Formatter):
    """Formats a record as words, with its traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, or more with a traceback."""
        message = _escape(_shorten(record.getMessage(), MAX_MESSAGE_LENGTH))
        words = [_time_of(record), record.levelname, f"{record.name}:", message]
        words += [f"{name}={_quote(str(_plain_value(value)))}" for name, value in _fields_of(record).items()]
        lines = [" ".join(words)]
        if record.exc_info:
            traceback = _shorten(self.formatException(record.exc_info), MAX_TRACEBACK_LENGTH)
            lines += [f"    {_escape(line)}" for line in traceback.splitlines()]
        return "\n".join(lines)


def _time_of(record: logging.LogRecord) -> str:
    """Return the time of a record by RFC 3339, in UTC."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return f"{time.removesuffix('+00:00')}Z"


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, _FIELDS, {})
    return fields


def _plain_value(value: object) -> object:
    """Return a number as it is, and anything else as text of bounded length."""
    return value if isinstance(value, int | float) else _shorten(str(value), MAX_FIELD_LENGTH)


def _shorten(text: str, length: int) -> str:
    """Return text without API keys; of a long one the begin and the end."""
    text = _KEY.sub(_HIDDEN_KEY, text)
    return text if len(text) <= length else f"{text[: length // 2]}...{text[-length // 2 :]}"


def _quote(text: str) -> str:
    """Return a value that cannot be taken for several."""
    return text if _PLAIN.fullmatch(text) else _escape(json.dumps(text, ensure_ascii=False))


def _escape(text: str) -> str:
    """Return text in which everything that a terminal would not print is an escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    _logger.critical("uncaught exception: a process or thread ends", exc_info=(kind, error or kind(), trace))
