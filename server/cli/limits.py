"""Flags that say what a key may send, and how commands show it."""

from collections.abc import Callable
from typing import Any

import click
import msgspec

from server.access import key_values
from server.access.key_values import WrongValueError
from server.contract.validation import MAX_ITEMS
from storage.keys.limits import HIGHEST_RATE, LARGEST_BURST, LOWEST_RATE, KeyLimits, RateLimit

_RATE = click.FloatRange(LOWEST_RATE, HIGHEST_RATE)
_BURST = click.IntRange(1, LARGEST_BURST)

_OPTIONS = (
    click.option("--requests-per-second", type=_RATE, metavar="NUMBER", help="Requests it may send a second."),
    click.option(
        "--requests-burst",
        type=_BURST,
        metavar="NUMBER",
        help="Requests it may send at once, after a pause.  [default: those of a second]",
    ),
    click.option("--rows-per-second", type=_RATE, metavar="NUMBER", help="Rows it may send a second."),
    click.option(
        "--rows-burst",
        type=_BURST,
        metavar="NUMBER",
        help="Rows it may send at once, after a pause; no larger batch can pass.  "
        f"[default: those of a second, at least {MAX_ITEMS}]",
    ),
)


class ShownLimit(msgspec.Struct, rename="camel"):
    """A limit, as JSON for scripts and as text for people."""

    per_second: float
    burst: int

    def __str__(self) -> str:
        return f"{self.per_second:g}/s, burst {self.burst}"


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that `to_limits` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def to_limits(**given: Any) -> KeyLimits:
    """Return the limits that these flags stand for. Raises click.UsageError for a burst without its rate."""
    try:
        return key_values.to_limits(**given)
    except WrongValueError as error:
        flag = f"--{error.field.replace('_', '-')}"
        raise click.UsageError(f"{flag} {error}") from error


def show_limits(limits: KeyLimits) -> dict[str, ShownLimit | None]:
    """Return the fields that show the limits of a key."""
    return {"requestsLimit": _show(limits.requests), "rowsLimit": _show(limits.rows)}


def _show(limit: RateLimit | None) -> ShownLimit | None:
    return ShownLimit(limit.per_second, limit.burst) if limit is not None else None
