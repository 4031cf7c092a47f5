"""The report's charts, as SVG that takes the page's text colour, and its images, as data URIs of bounded size."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.ledger import Ledger

LONGEST = 1024
"""The longest side of an image in the page."""

LOSSLESS = 512 * 512
"""Up to how many pixels an image is kept without loss."""

LABELS = 10
"""How many steps are named at most below a chart."""

_INK = "#010203"  # stands for the page's text colour until the SVG is in the page
_SETTINGS = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_FEW_POWERS = 200
_MAP = "inferno"
_MARKERS = "os^Dv<>Pp*"


def rates_chart(ledger: Ledger) -> str:
    """Spikes per neuron at each layer and step, as a grid of colours."""
    import matplotlib

    rates = np.stack([layer.events.sum(axis=0) / layer.neuron_updates[0] for layer in ledger.layers])
    names, steps = [layer.name for layer in ledger.layers], rates.shape[1]
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": "rates"}):
        figure, axes = _figure(1.4 + 0.26 * len(names))
        grid = axes.pcolormesh(100 * rates, cmap="viridis", vmin=0, edgecolors="none", linewidth=0)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.set_xticks(np.arange(steps) + 0.5, _steps(ledger.timesteps, steps))
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.set_xlabel("step" + (" (+ after T)" if ledger.post_steps else ""))
        for side in axes.spines.values():
            side.set_visible(False)
        bar = figure.colorbar(grid, ax=axes, pad=0.02, aspect=30)
        bar.set_label("% of neurons that fire")
        bar.outline.set_visible(False)
        return _svg(figure, "Share of neurons that fire, by layer and step")


def spikes_chart(ledger: Ledger) -> str:
    """Spikes of each layer in all steps, those of the post steps apart."""
    import matplotlib

    names = [layer.name for layer in ledger.layers]
    before = np.array([layer.events[:, : ledger.timesteps].sum() for layer in ledger.layers], np.float64)
    after = np.array([layer.events[:, ledger.timesteps :].sum() for layer in ledger.layers], np.float64)
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": "spikes"}):
        figure, axes = _figure(1.2 + 0.26 * len(names))
        axes.barh(names, before, color="#2a9d8f", label="up to T")
        if ledger.post_steps:
            axes.barh(names, after, left=before, color="#e9a23b", label="after T")
            axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        axes.invert_yaxis()
        axes.set_xlabel("spikes")
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
        axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=" "))
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return _svg(figure, "Spikes of each layer")


def lines_chart(
    title: str,
    x: str,
    y: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    levels: Mapping[str, float] | None = None,
    logarithmic: bool = False,
) -> str:
    """Points joined by lines, a colour each; `levels` are drawn across, dashed. logarithmic : of the x axis."""
    import matplotlib

    with matplotlib.rc_context({**_SETTINGS, "font.size": 12, "svg.hashsalt": title}):
        figure, axes = _figure(3.6)
        for index, (name, points) in enumerate(series.items()):
            horizontal, vertical = zip(*sorted(points), strict=True)
            style = {"marker": _MARKERS[index % len(_MARKERS)], "color": f"C{index % 10}", "markersize": 5}
            axes.plot(horizontal, vertical, label=name, linewidth=1.4, **style)
        for name, level in (levels or {}).items():
            axes.axhline(level, linestyle="--", linewidth=1, color=_INK, label=name)
        if logarithmic:
            axes.set_xscale("log")
            _label_logarithmic(axes.xaxis, [x for points in series.values() for x, _ in points])
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(alpha=0.25, linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.legend(frameon=False, loc="outside upper center", ncols=3, fontsize=11)
        return _svg(figure, title)


def _label_logarithmic(axis: Any, values: Sequence[float]) -> None:
    """Label 1, 2 and 5 of each power of ten, where there are few powers; numbers as 0.5, or as 200 M where they are large."""
    import matplotlib

    few = max(values) / min(values) < _FEW_POWERS
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5) if few else (1,)))
    engineer = matplotlib.ticker.EngFormatter(sep=" ")
    axis.set_major_formatter(engineer if max(values) >= 1e4 else matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def _figure(height: float) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, height), layout="constrained")
    return figure, figure.add_subplot()


def _steps(timesteps: int, steps: int) -> list[str]:
    """A label for each step, most of them empty where there are many: at most `LABELS`, none beside another's."""
    every = -(-steps // LABELS)
    before = [str(t) if t % every == 0 else "" for t in range(1, timesteps + 1)]
    after = [f"+{t}" if t % every == 0 else "" for t in range(1, steps - timesteps + 1)]
    return before + after


def _svg(figure: Any, title: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue()[text.getvalue().index("<svg") :], flags=re.S)
    svg = svg.replace(_INK, "currentColor")
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def image_uri(pixels: NDArray[Any]) -> str:
    """Pixels (H, W) or (H, W, 3), uint8, uint16 or float64, at most `LONGEST` a side; large ones as JPEG."""
    from PIL import Image

    peak = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    image = Image.fromarray(np.rint(np.clip(pixels / peak, 0.0, 1.0) * 255).astype(np.uint8))
    if max(image.size) > LONGEST:
        image.thumbnail((LONGEST, LONGEST))
    if image.width * image.height <= LOSSLESS:
        return _uri(image, "png", optimize=True)
    return _uri(image, "jpeg", quality=92, subsampling=0)


def map_uri(rate: NDArray[np.float64], most: float) -> str:
    """A map (h, w) from 0 to `most` as colours, clear where nothing fires."""
    import matplotlib
    from PIL import Image

    level = np.rint(255 * np.clip(rate / most if most else rate, 0.0, 1.0)).astype(np.uint8)
    image = Image.fromarray(level)
    colours = np.rint(255 * matplotlib.colormaps[_MAP](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    image.putpalette(colours.tobytes())
    return _uri(image, "png", transparency=bytes(min(255, 2 * i) for i in range(256)))


def gradient() -> str:
    """The maps' colours from 0 to the most, as CSS."""
    import matplotlib

    return ", ".join(matplotlib.colors.to_hex(matplotlib.colormaps[_MAP](x)) for x in np.linspace(0, 1, 9))


def _uri(image: Any, kind: str, **options: Any) -> str:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
