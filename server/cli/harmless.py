"""Text that others sent, as it may be shown on a terminal and given to scripts."""

import json
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def harmless(text: str) -> str:
    """Return a text with escapes in place of what a terminal would obey and of what turns or hides other text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def to_json(message: Message) -> dict[str, Any]:
    """Return a message as HTTP would answer it: numbers are numbers, and what is absent is None."""
    return {
        field.json_name: _to_value(message, field.name) if _is_present(message, field) else None
        for field in message.DESCRIPTOR.fields
    }


def dump_json(value: object, *, indent: int | None = None) -> str:
    """Return JSON in ASCII, in which nothing is left that a terminal would obey."""
    return json.dumps(value, ensure_ascii=True, indent=indent).replace("\x7f", "\\u007f")


def _is_present(message: Message, field: Any) -> bool:
    return not field.has_presence or message.HasField(field.name)


def _to_value(message: Message, name: str) -> Any:
    value = getattr(message, name)
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return to_json(value)
    if isinstance(value, str | int | float | bool):
        return value
    return [to_json(item) for item in value]
