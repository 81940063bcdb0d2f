"""What may be said of a project or a key, and what is taken where nothing is said: for commands and pages alike."""

import re
from collections.abc import Sequence
from datetime import timedelta
from math import ceil

from server.contract.validation import MAX_ITEMS
from storage.keys.limits import HIGHEST_RATE, LARGEST_BURST, LOWEST_RATE, KeyLimits, RateLimit

LONGEST_LIFETIME_DAYS = 36_500

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_OWN_PORTS = {"http": ":80", "https": ":443"}


class WrongValueError(Exception):
    """A value cannot be taken; the message says why, `field` what it is of."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(problem)


def check_name(name: str) -> str:
    """Return the name of a project or a key. Raises WrongValueError when it is blank, or no text to Postgres."""
    if not name.strip():
        raise WrongValueError("name", "must not be blank")
    if "\0" in name:
        raise WrongValueError("name", "must not contain NUL characters")
    return name


def to_origin(text: str) -> str:
    """Return an origin as browsers send it (RFC 6454, 6.2): scheme, host, and a port that is not the scheme's own.

    Raises WrongValueError.
    """
    scheme, _, host = text.lower().partition("://")
    origin = f"{scheme}://{host.removesuffix(_OWN_PORTS.get(scheme, ''))}"
    if not _ORIGIN.fullmatch(origin):
        raise WrongValueError(
            "origins", f"{text!r} is not an origin: give scheme and host, e.g. https://app.example.com"
        )
    return origin


def to_lifetime(days: float | None) -> timedelta | None:
    """Return how long a key is valid, None for ever. Raises WrongValueError."""
    if days is None:
        return None
    if not 0 < days <= LONGEST_LIFETIME_DAYS:
        raise WrongValueError("days", f"must be more than 0 and at most {LONGEST_LIFETIME_DAYS}")
    return timedelta(days=days)


def to_limits(
    requests_per_second: float | None, requests_burst: int | None, rows_per_second: float | None, rows_burst: int | None
) -> KeyLimits:
    """Return the limits of these values; a burst that is not given is what a second allows.

    Raises WrongValueError, among others for a burst without its rate.
    """
    return KeyLimits(
        _to_limit("requests", requests_per_second, requests_burst, smallest_burst=1),
        _to_limit("rows", rows_per_second, rows_burst, smallest_burst=MAX_ITEMS),
    )


def to_origins(texts: Sequence[str]) -> list[str] | None:
    """Return the origins that a key is bound to, None for none. Raises WrongValueError."""
    return [to_origin(text) for text in texts] or None


def _to_limit(unit: str, per_second: float | None, burst: int | None, *, smallest_burst: int) -> RateLimit | None:
    if per_second is None:
        if burst is not None:
            raise WrongValueError(f"{unit}_burst", f"goes with {unit} a second")
        return None
    if not LOWEST_RATE <= per_second <= HIGHEST_RATE:
        raise WrongValueError(f"{unit}_per_second", f"must be between {LOWEST_RATE} and {HIGHEST_RATE:g}")
    if burst is not None and not 1 <= burst <= LARGEST_BURST:
        raise WrongValueError(f"{unit}_burst", f"must be between 1 and {LARGEST_BURST}")
    return RateLimit(per_second, burst or max(ceil(per_second), smallest_burst))
