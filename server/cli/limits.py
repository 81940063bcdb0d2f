"""Flags that say what a key may send, and how commands show it."""

from collections.abc import Callable
from math import ceil
from typing import Any

import click
import msgspec

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


def to_limits(
    requests_per_second: float | None, requests_burst: int | None, rows_per_second: float | None, rows_burst: int | None
) -> KeyLimits:
    """Return the limits that these flags stand for. Raises click.UsageError for a burst without its rate."""
    return KeyLimits(
        _to_limit("requests", requests_per_second, requests_burst, smallest_burst=1),
        _to_limit("rows", rows_per_second, rows_burst, smallest_burst=MAX_ITEMS),
    )


def show_limits(limits: KeyLimits) -> dict[str, ShownLimit | None]:
    """Return the fields that show the limits of a key."""
    return {"requestsLimit": _show(limits.requests), "rowsLimit": _show(limits.rows)}


def _to_limit(unit: str, per_second: float | None, burst: int | None, *, smallest_burst: int) -> RateLimit | None:
    if per_second is not None:
        return RateLimit(per_second, burst or max(ceil(per_second), smallest_burst))
    if burst is not None:
        raise click.UsageError(f"--{unit}-burst goes with --{unit}-per-second")
    return None


def _show(limit: RateLimit | None) -> ShownLimit | None:
    return ShownLimit(limit.per_second, limit.burst) if limit is not None else None
