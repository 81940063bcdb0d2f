"""The position at which a body stops being JSON. The decoder that serves requests reports it for few errors."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from math import isinf
from typing import NoReturn

import msgspec

# Skips a document without making values of it, so that only its structure can be wrong.
_skip = msgspec.json.Decoder(msgspec.Raw).decode
_BYTE = re.compile(r"\(byte (\d+)\)")
# A pair of surrogates, a lone one (the group), or any other escape.
_ESCAPE = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL)
_STRING_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)', re.DOTALL)


def describe_position(body: bytes, error: Exception) -> str:
    """Return the line and column, in characters from 1, of what made the decoding of `body` end with `error`."""
    try:
        text = body.decode()
    except UnicodeDecodeError as invalid:
        before = body[: invalid.start].decode()
    else:
        before = text[: _find(text, body, error)]
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def _find(text: str, body: bytes, error: Exception) -> int:
    if isinstance(error, RecursionError):
        # The shortest part from the beginning that is nested too deep ends with the bracket that is one too many.
        size = bisect_left(range(len(body)), True, key=lambda end: _is_too_deep(body[:end]))
        return len(body[: size - 1].decode(errors="ignore"))
    return min(_candidates(text, body, error), default=len(text))


def _candidates(text: str, body: bytes, error: Exception) -> Iterator[int]:
    for match in _ESCAPE.finditer(text):
        if match[1]:
            yield match.start()
            break
    try:
        json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as failure:
        yield failure.pos
    except (ValueError, RecursionError):
        if byte := _BYTE.search(str(error)):
            yield len(body[: int(byte[1])].decode(errors="ignore"))
    if isinstance(error, msgspec.ValidationError):
        for match in _STRING_OR_NUMBER.finditer(text):
            if match[1] and isinf(float(match[1])):
                yield match.start()
                break


def _is_too_deep(part: bytes) -> bool:
    try:
        _skip(part)
    except RecursionError:
        return True
    except msgspec.DecodeError:
        pass
    return False


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which the standard library would take."""
    raise ValueError(constant)
