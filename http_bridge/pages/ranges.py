"""The range of time that a page is about: relative (`range=24h`) or absolute (`from`, `to`), as its address says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from http_bridge.pages.formats import iso
from server.contract.rules import Violation
from server.contract.timestamps import parse_rfc3339
from server.errors import ValidationFailedError

MOST_STEPS: Final = 120
DEFAULT: Final = "24h"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
_DAY_S: Final = _STEPS_S[-1]
# Sums are kept by minute; those by hour are kept longer. What a range has of a part of one is read row by row.
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_LONGEST_BY_MINUTE: Final = timedelta(days=1)
_LEAST_BY_MINUTE_S: Final = 900  # a range of so many seconds has no steps of less than a minute
# What `<input type="datetime-local">` sends: without a script nothing says the zone, and the page says that it is UTC.
_WITHOUT_ZONE: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Relative:
    """A range that ends now. `refresh_s` is how often its page is worth asking for again."""

    label: str
    length: timedelta
    refresh_s: int


RELATIVES: Final[Mapping[str, Relative]] = {
    "15m": Relative("15 minutes", timedelta(minutes=15), 5),
    "1h": Relative("1 hour", timedelta(hours=1), 10),
    "6h": Relative("6 hours", timedelta(hours=6), 30),
    "24h": Relative("24 hours", timedelta(hours=24), 30),
    "7d": Relative("7 days", timedelta(days=7), 60),
    "30d": Relative("30 days", timedelta(days=30), 60),
}


@dataclass(frozen=True, slots=True)
class Range:
    """From `start` up to, not including, `end`; `name` is that of a relative range, None for an absolute one."""

    start: datetime
    end: datetime
    name: str | None

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()

    @property
    def step_s(self) -> int:
        """The seconds of a step that cut it into at most MOST_STEPS or so."""
        least_s = 60 if self.seconds >= _LEAST_BY_MINUTE_S else 1
        for step_s in _STEPS_S:
            if step_s >= least_s and self.seconds <= step_s * MOST_STEPS:
                return step_s
        return -(-int(self.seconds) // (_DAY_S * MOST_STEPS)) * _DAY_S

    @property
    def label(self) -> str:
        """What a person calls it; empty for an absolute one, whose times say it."""
        return f"last {RELATIVES[self.name].label}" if self.name is not None else ""

    @property
    def refresh_s(self) -> int | None:
        """How often a page about it is worth asking for again; None when its end does not move."""
        return RELATIVES[self.name].refresh_s if self.name is not None else None

    @property
    def query(self) -> dict[str, str]:
        """What stands for it in the address of a page; nothing for the default."""
        if self.name is not None:
            return {} if self.name == DEFAULT else {"range": self.name}
        return {"from": iso(self.start), "to": iso(self.end)}

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of a query about it; of a relative one, the minute that is now is asked for as a whole."""
        end = self.end if self.name is None else _floor(self.end, _MINUTE) + _MINUTE
        return {"from": iso(self.start), "to": iso(end)}

    @property
    def before(self) -> "Range | None":
        """The range of the same (nominal) length that ends where this one begins; None before the first year."""
        length = self.end - self.start if self.name is None else RELATIVES[self.name].length
        return Range(self.start - length, self.start, None) if self.start - _EARLIEST > length else None


def parse_range(given: Mapping[str, str], now: datetime) -> Range:
    """Return the range that the parameters of a page name, the last day for none.

    Raises ValidationFailedError, by the names of the parameters.
    """
    if given.get("from") or given.get("to"):
        return _parse_absolute(given.get("from", ""), given.get("to", ""), now)
    name = given.get("range") or DEFAULT
    if name not in RELATIVES:
        raise ValidationFailedError({"range": f"must be one of {', '.join(RELATIVES)}"})
    length = RELATIVES[name].length
    return Range(_floor(now, _MINUTE if length <= _LONGEST_BY_MINUTE else _HOUR) - length, now, name)


def parse_moment(name: str, text: str) -> datetime:
    """Return an instant; one without a zone is in UTC. Raises ValidationFailedError, by the name of the parameter."""
    if _WITHOUT_ZONE.fullmatch(text):
        text = f"{text}Z" if text.count(":") == 2 else f"{text}:00Z"
    microseconds = parse_rfc3339(text)
    if isinstance(microseconds, Violation):
        raise ValidationFailedError({name: "must be a date and time such as 2026-03-31T12:00"})
    return _EPOCH + timedelta(microseconds=microseconds)


def _floor(moment: datetime, unit: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % unit


def _parse_absolute(first: str, last: str, now: datetime) -> Range:
    if not first:
        raise ValidationFailedError({"from": "must say when the range begins"})
    wrong: dict[str, str] = {}
    moments: dict[str, datetime] = {"to": now}
    for name, text in (("from", first), ("to", last)):
        try:
            if text:
                moments[name] = parse_moment(name, text)
        except ValidationFailedError as error:
            wrong |= error.details
    if wrong:
        raise ValidationFailedError(wrong)
    start, end = moments["from"], moments["to"]
    if start >= end:
        raise ValidationFailedError({"from": "must be before the end"})
    return Range(start, end, None)
