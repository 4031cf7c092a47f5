"""A comparison as one HTML page that needs no network: plots, table, images side by side, what repeats each row."""

import html
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nspike.comparing.comparison import Comparison
from nspike.comparing.plan import PLAIN
from nspike.comparing.store import Store
from nspike.comparing.tables import caption, cells, name_of
from nspike.report import charts
from nspike.report.page import check_extra as check_extra
from nspike.runtime.version import VERSION

TEMPLATE = Path(__file__).with_name("page.html.jinja")

Point = Callable[[Mapping[str, Any]], float | None]


def render(comparison: Comparison) -> str:
    """The page as text. Raises UsageError without nspike[report]."""
    check_extra()
    import jinja2
    import markupsafe

    header, rows = cells(comparison)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    values = {
        "version": VERSION,
        "caption": caption(comparison),
        "header": header,
        "rows": rows,
        "plots": [markupsafe.Markup(plot) for plot in _plots(comparison)],
        "images": _images(comparison),
        "names": comparison.settings["images"],
        "details": [
            {
                "key": row["key"],
                "model": row["model"]["digest"],
                "result": row["digest"],
                "command": row["command"],
                "images": row["images"],
            }
            for row in comparison.rows
        ],
    }
    return str(template.render(**values)) + "\n"


def _plots(comparison: Comparison) -> list[str]:
    """PSNR against T, synaptic operations and processor time; none without a row that has both."""
    axes: list[tuple[str, str, Point, bool]] = [
        ("PSNR against T", "T", lambda row: row["T"], False),
        (
            "PSNR against synaptic operations",
            "synaptic operations of an image",
            lambda row: row["mean"]["synops"],
            True,
        ),
        ("PSNR against processor time", "processor time of an image, s", lambda row: row["mean"]["processor"], True),
    ]
    plain = [row["mean"]["psnr"] for row in comparison.rows if row["label"] == PLAIN]
    levels = {"plain network": plain[0]} if plain and plain[0] is not None else {}
    plots = []
    for title, label, value, logarithmic in axes:
        series: dict[str, list[tuple[float, float]]] = {}
        for row in comparison.rows:
            x, y = (value(row), row["mean"]["psnr"]) if row["T"] is not None else (None, None)
            if x and y is not None:
                series.setdefault(html.escape(name_of(row)), []).append((x, y))
        if series:
            plots.append(charts.lines_chart(title, label, "PSNR, dB", series, levels=levels, logarithmic=logarithmic))
    return plots


def _images(comparison: Comparison) -> list[list[dict[str, str]]]:
    """For each image of which crops were kept: what is shown of it, side by side."""
    store = Store(comparison.folder)
    shown: list[list[dict[str, str]]] = []
    named = [("clean", "clean"), ("input", "input")]
    named += [(row["key"], _title(row)) for row in comparison.rows]
    scores = {row["key"]: row["images"] for row in comparison.rows}
    for key, title in named:
        for number, pixels in enumerate(store.crops(key)):
            if number == len(shown):
                shown.append([])
            psnr = scores[key][number]["psnr"] if key in scores else None
            note = "" if psnr is None else f"{psnr:.2f} dB"
            shown[number].append({"title": title, "note": note, "uri": charts.image_uri(pixels)})
    return shown


def _title(row: Mapping[str, Any]) -> str:
    return name_of(row) if row["T"] is None else f"{name_of(row)}, T = {row['T']}"
