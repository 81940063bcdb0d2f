"""A trace as a waterfall: each request as a bar over the time that the trace took, and the gaps between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from server.query.answers import Item

_MILLISECOND = timedelta(milliseconds=1)
_LEAST_PERCENT = 0.4  # a bar is seen, however short


@dataclass(frozen=True, slots=True)
class Span:
    """A request of a trace, and where its bar stands in per cent; without an item it is a gap."""

    item: Item | None
    offset_ms: float
    duration_ms: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The requests of a trace in their order, with gaps between them."""

    spans: list[Span]
    whole_ms: float
    failed: int
    busy_ms: float


def make_waterfall(items: Sequence[Item]) -> Waterfall:
    """Return the waterfall of requests that are ordered by their begin; there must be some."""
    first = items[0].timestamp
    begins = [(item.timestamp - first) / _MILLISECOND for item in items]
    whole_ms = max(begin + item.duration_ms for begin, item in zip(begins, items, strict=True))
    spans = []
    busy_until = gaps_ms = 0.0
    for begin, item in zip(begins, items, strict=True):
        if begin > busy_until:
            gaps_ms += begin - busy_until
            spans.append(_span(None, busy_until, begin - busy_until, whole_ms))
        busy_until = max(busy_until, begin + item.duration_ms)
        spans.append(_span(item, begin, item.duration_ms, whole_ms))
    failed = sum(item.status_code == 0 or item.status_code >= 400 for item in items)
    return Waterfall(spans, whole_ms, failed, whole_ms - gaps_ms)


def _span(item: Item | None, offset_ms: float, duration_ms: float, whole_ms: float) -> Span:
    if not whole_ms:
        return Span(item, offset_ms, duration_ms, 0.0, 100.0)
    width = max(_LEAST_PERCENT, duration_ms / whole_ms * 100)
    left = min(offset_ms / whole_ms * 100, 100 - width)
    return Span(item, offset_ms, duration_ms, round(left, 3), round(width, 3))
