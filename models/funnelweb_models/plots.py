"""Plots as SVG text: lines and bars, with axes; enough for a report that is one file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 34, 46
TICKS = 5
"""Marks on an axis, about."""
COLOURS = ("#1f6feb", "#d1682b", "#2da44e")
LEGEND_WIDTH = 120
BAR_HEIGHT = 20
BAR_LEFT = 250


@dataclass(frozen=True)
class Line:
    """A named line; with dots where its points are few."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def lines(given: Sequence[Line], x_name: str, y_name: str, same_scale: bool = False) -> str:
    """A plot of lines. With `same_scale` both axes have one range, as for a diagonal."""
    xs = [x for line in given for x, _ in line.points]
    ys = [y for line in given for _, y in line.points]
    if same_scale:
        xs = ys = [*xs, *ys]
    x_range, y_range = _range(xs), _range(ys)
    body = [_axes(x_range, y_range, x_name, y_name)]
    body += [_line(line, colour, x_range, y_range) for line, colour in zip(given, _colours(given), strict=True)]
    body.append(_legend(given))
    return _svg(WIDTH, HEIGHT, body)


def bars(values: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars, in the order given."""
    largest = max((abs(value) for _, value in values), default=0) or 1.0
    room = WIDTH + 200 - BAR_LEFT - 90
    body = []
    for at, (name, value) in enumerate(values):
        y = at * BAR_HEIGHT
        width = max(value, 0) / largest * room
        body.append(f'<text x="{BAR_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        body.append(f'<rect x="{BAR_LEFT}" y="{y + 4}" width="{width:.1f}" height="13" fill="{COLOURS[0]}"/>')
        body.append(f'<text x="{BAR_LEFT + width + 6:.1f}" y="{y + 14}">{value:.5f}</text>')
    return _svg(WIDTH + 200, len(values) * BAR_HEIGHT + 6, body)


def _colours(given: Sequence[Line]) -> list[str]:
    return ["#8b949e" if line.dashed else COLOURS[at % len(COLOURS)] for at, line in enumerate(given)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.04 or abs(high) * 0.04 or 1.0
    return low - margin, high + margin


def _ticks(of: tuple[float, float]) -> list[float]:
    """Round numbers within a range."""
    least = (of[1] - of[0]) / TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= least)
    return [number * step for number in range(math.ceil(of[0] / step), math.floor(of[1] / step) + 1)]


def _x(value: float, of: tuple[float, float]) -> float:
    return LEFT + (value - of[0]) / (of[1] - of[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, of: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (value - of[0]) / (of[1] - of[0]) * (HEIGHT - TOP - BOTTOM)


def _axes(x_range: tuple[float, float], y_range: tuple[float, float], x_name: str, y_name: str) -> str:
    parts = []
    for value in _ticks(y_range):
        y = _y(value, y_range)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d8dee4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for value in _ticks(x_range):
        x = _x(value, x_range)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:.4g}</text>')
    middle = (HEIGHT - BOTTOM + TOP) / 2
    parts.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>')
    turn = f'transform="rotate(-90 12 {middle})"'
    parts.append(f'<text x="12" y="{middle}" text-anchor="middle" {turn}>{escape(y_name)}</text>')
    return "".join(parts)


def _line(line: Line, colour: str, x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    points = [(_x(x, x_range), _y(y, y_range)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
    if len(points) > 40 or line.dashed:
        return drawn
    return drawn + "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)


def _legend(given: Sequence[Line]) -> str:
    parts = []
    for at, (line, colour) in enumerate(zip(given, _colours(given), strict=True)):
        x = LEFT + at * LEGEND_WIDTH
        parts.append(f'<rect x="{x}" y="9" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="18">{escape(line.name)}</text>')
    return "".join(parts)


def _svg(width: int, height: int, body: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{"".join(body)}</svg>'
