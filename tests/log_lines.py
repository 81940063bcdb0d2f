"""The log of a server that writes to a file: JSON lines."""

import json
from typing import Any


def log_lines(text: str) -> list[dict[str, Any]]:
    """Return the events of a log, or of a part of one, in which nothing else may stand."""
    return [json.loads(line) for line in text.splitlines()]


def levels_in(text: str) -> set[str]:
    """Return the levels of the events of a log."""
    return {line["level"] for line in log_lines(text)}


def find_serving(text: str) -> dict[str, Any] | None:
    """Return the event that tells where a server listens, None when it is not in the log yet."""
    whole = text[: text.rfind("\n") + 1]
    return next((line for line in log_lines(whole) if line["message"] == "serving"), None)


def port_in(address: str) -> int:
    """Return the port of HOST:PORT."""
    return int(address.rpartition(":")[2])
