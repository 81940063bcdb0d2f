"""A trace as lines of text: each request as a bar over the time that the trace took, and the gaps between them."""

from collections.abc import Iterator, Sequence

from rich.text import Text

from seestack.query.v1.query_pb2 import HttpRequest
from server.cli.harmless import harmless
from server.cli.tail import style_of

NARROWEST_BAR = 10
WIDEST_BAR = 60
_NS_OF_MS = 1_000_000


def waterfall(items: Sequence[HttpRequest], width: int) -> Iterator[Text]:
    """Yield the lines of a trace whose requests are ordered by their begin, for so many characters a line."""
    begins = [item.timestamp.ToNanoseconds() // _NS_OF_MS for item in items]
    first = begins[0]
    whole_ms = max(begin + item.duration_ms for begin, item in zip(begins, items, strict=True)) - first
    failed = sum(item.status_code == 0 or item.status_code >= 400 for item in items)
    yield Text(f"trace {harmless(items[0].trace_id)}: {len(items)} requests, {whole_ms:,} ms, {failed} failed")
    bar_width = min(WIDEST_BAR, max(NARROWEST_BAR, width // 3))
    busy_until = 0
    for begin, item in zip(begins, items, strict=True):
        offset = begin - first
        if offset > busy_until:
            yield Text(
                f"{'':>10}  {_bar(busy_until, offset, whole_ms, bar_width, '·')}  gap of {offset - busy_until:,} ms",
                "dim",
            )
        busy_until = max(busy_until, offset + item.duration_ms)
        yield _line(item, offset, whole_ms, bar_width)


def _line(item: HttpRequest, offset_ms: int, whole_ms: int, bar_width: int) -> Text:
    line = Text(f"{offset_ms:>7,} ms  ")
    line.append(_bar(offset_ms, offset_ms + item.duration_ms, whole_ms, bar_width, "█"), style_of(item.status_code))
    line.append("  in " if item.direction == "inbound" else "  out")
    line.append(f" {item.status_code or '---'}", style_of(item.status_code))
    line.append(f" {item.duration_ms:>6,} ms ", "bold magenta" if item.is_slow else "")
    line.append(f" {harmless(item.method)} ", "bold")
    line.append(harmless(item.host), "dim").append(harmless(item.path))
    if item.error_fingerprint:
        line.append(f"  {harmless(item.error_fingerprint)}", "red")
    return line


def _bar(begin_ms: int, end_ms: int, whole_ms: int, width: int, char: str) -> str:
    """Return a bar from begin to end, at least one character of it, between blanks."""
    if whole_ms == 0:
        return char.ljust(width)
    first = min(width - 1, begin_ms * width // whole_ms)
    after = max(first + 1, -(-end_ms * width // whole_ms))
    return (" " * first + char * (after - first)).ljust(width)
