"""The curve of throughput against latency, as SVG."""

import math
from collections.abc import Sequence
from pathlib import Path

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 40, 60
COLOURS = {"p50_ms": "#1f77b4", "p99_ms": "#d62728"}
NAMES = {"p50_ms": "median", "p99_ms": "99th percentile"}


def write_plot(curve: Sequence[dict[str, float]], path: Path) -> None:
    """Write a plot of latency (ms, logarithmic) over rows/s; each point is labelled with its connections."""
    most_rows = max(point["rows_per_second"] for point in curve) * 1.1
    latencies = [point[name] for point in curve for name in COLOURS]
    low, high = math.floor(math.log10(min(latencies))), math.ceil(math.log10(max(latencies)))

    def place(rows: float, latency: float) -> tuple[float, float]:
        x = LEFT + rows / most_rows * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (math.log10(latency) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return x, y

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 20, "HTTP, 100-row batches: latency as load rises (labels: connections)", 14),
        _text(WIDTH / 2, HEIGHT - 12, "rows committed per second"),
        f'<g transform="rotate(-90 18 {HEIGHT / 2})">{_text(18, HEIGHT / 2, "latency, ms")}</g>',
    ]
    for exponent in range(low, high + 1):
        _, y = place(0, 10**exponent)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{10**exponent:g}", anchor="end"))
    step = _round_step(most_rows / 5)
    for count in range(int(most_rows // step) + 1):
        x, _ = place(count * step, 10**low)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{count * step:,.0f}"))
    for order, (name, colour) in enumerate(COLOURS.items()):
        points = [place(point["rows_per_second"], point[name]) for point in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(LEFT + 20, TOP + 16 + 18 * order, NAMES[name], anchor="start", colour=colour))
    for point in curve:
        x, y = place(point["rows_per_second"], point["p99_ms"])
        parts.append(_text(x, y - 8, f"{point['connections']:.0f}"))
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def _text(x: float, y: float, text: str, size: int = 12, *, anchor: str = "middle", colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def _round_step(raw: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power: float = 10 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
