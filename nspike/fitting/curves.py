"""The curves of a run as an image (SVG): a panel for each figure, what was measured on batches and on validation images."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 200
"""The size of a panel in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 28, 26
_MOST = 400
_COLOURS = ("#9bb7d4", "#c0392b", "#27632a")


@dataclass(frozen=True)
class Curve:
    """Points (step, value) under a name; values that are not finite are left out."""

    name: str
    points: Points


@dataclass(frozen=True)
class Panel:
    """Curves over the steps; `logarithmic` where values above 0 span decades."""

    title: str
    curves: tuple[Curve, ...]
    logarithmic: bool = False


def draw(panels: Sequence[Panel]) -> str:
    """The panels one under the other, as the text of an SVG file; a panel without any points is left out."""
    shown = [(panel, kept) for panel, kept in zip(panels, map(_kept, panels), strict=True) if any(p for _, p in kept)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * max(1, len(shown))}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for i, (panel, kept) in enumerate(shown):
        parts.append(f'<g transform="translate(0 {i * HEIGHT})">{_panel(panel, kept)}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _kept(panel: Panel) -> list[tuple[str, list[tuple[float, float]]]]:
    """The finite points of each curve, on the panel's scale, means of neighbours where there are too many."""
    kept = []
    for curve in panel.curves:
        points = [
            (x, math.log10(y) if panel.logarithmic else y)
            for x, y in curve.points
            if math.isfinite(y) and not (panel.logarithmic and y <= 0)
        ]
        size = -(-len(points) // _MOST) or 1
        blocks = [points[at : at + size] for at in range(0, len(points), size)]
        kept.append((curve.name, [(_mean(x for x, _ in block), _mean(y for _, y in block)) for block in blocks]))
    return kept


def _panel(panel: Panel, kept: list[tuple[str, list[tuple[float, float]]]]) -> str:
    everything = [point for _, points in kept for point in points]
    x0, x1 = _range([x for x, _ in everything])
    y0, y1 = _range([y for _, y in everything])

    def at(point: tuple[float, float]) -> str:
        x = _LEFT + (point[0] - x0) / (x1 - x0) * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BOTTOM - (point[1] - y0) / (y1 - y0) * (HEIGHT - _TOP - _BOTTOM)
        return f"{x:.1f},{y:.1f}"

    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        value = y0 + share * (y1 - y0)
        x, y = at((x0, value)).split(",")
        label = f"{10**value if panel.logarithmic else value:.4g}"
        parts.append(f'<line x1="{x}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{label}</text>')
    for value, anchor in ((x0, "start"), (x1, "end")):
        x = at((value, y0)).split(",")[0]
        parts.append(f'<text x="{x}" y="{HEIGHT - 8}" text-anchor="{anchor}">{value:.0f}</text>')
    for i, (name, points) in enumerate(kept):
        if not points:
            continue
        colour = _COLOURS[i % len(_COLOURS)]
        places = " ".join(map(at, points))
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(points) == 1:
            x, y = at(points[0]).split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>')
        parts.append(
            f'<text x="{WIDTH - _RIGHT - 110 * i}" y="18" text-anchor="end" fill="{colour}">{escape(name)}</text>'
        )
    return "".join(parts)


def _range(values: list[float]) -> tuple[float, float]:
    """The smallest and the largest value, made distinct if they are equal."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers)
