"""The page itself: everything in one HTML file, from the template beside this module."""

import base64
import importlib.util
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.energy import EnergyModel, break_even
from nspike.errors import UsageError
from nspike.files.atomic import write_bytes
from nspike.inspection.auditing import Audit
from nspike.inspection.certificate import dumps
from nspike.pricing.units import compared_with, joules, percent
from nspike.report.maps import RateMaps
from nspike.report.residual import SIDE, Residual
from nspike.runtime.version import VERSION

EXTRA = {"jinja2": "Jinja2", "matplotlib": "Matplotlib"}
TEMPLATE = Path(__file__).with_name("page.html.jinja")


class Spent(Protocol):
    """How long something took, in seconds: by the clock, and of all processors together."""

    @property
    def wall(self) -> float:
        """By the clock."""

    @property
    def processor(self) -> float:
        """Of all processors together."""


@dataclass(frozen=True, eq=False)
class Story:
    """What a report tells.

    image : the name of the file; pixels : as it was read; audit : the run; maps : gathered while it ran.
    energy : the models to price it with; residuals : see `nspike.report.residual`.
    model_name, changes, notes, warnings : what was chosen, in words; command : that repeats it.
    times, ann_times : (wall, processor) seconds of the run, and of the plain ANN's, if measured.
    quality : "input" and "output" -> {"psnr": dB, "ssim_gauss11": ...} against a clean image, None where there is none;
        a figure is None where it is infinite or cannot be computed, and "input" may be missing.
    trained : as the model's `nspike.Info` has it.
    """

    image: str
    pixels: NDArray[Any]
    audit: Audit
    maps: RateMaps
    energy: Sequence[EnergyModel]
    residuals: Mapping[str, Residual]
    model_name: str
    changes: Sequence[str]
    notes: Sequence[str]
    command: Sequence[str]
    times: "Spent"
    ann_times: "Spent | None" = None
    quality: Mapping[str, Mapping[str, float | None]] | None = None
    trained: str = "plain"


def check_extra() -> None:
    """Raise UsageError where what a report is made with is not installed."""
    missing = [name for module, name in EXTRA.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(
            f'a report needs {" and ".join(missing)}; install what is missing: pip install "nspike[report]"'
        )


def write(path: str | os.PathLike[str], story: Story) -> None:
    """Write the page; complete, or not at all. Raises UsageError without nspike[report], OutputError."""
    check_extra()
    write_bytes(path, render(story).encode())


def render(story: Story) -> str:
    """The page as text."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return str(template.render(**_values(story))) + "\n"


def _values(story: Story) -> dict[str, Any]:
    import markupsafe

    from nspike.report import charts

    result, certificate = story.audit.result, story.audit.certificate
    ledger, text = result.ledger, dumps(certificate)
    rates = story.maps.rates()
    height, width = result.image.shape[:2]
    return {
        "version": VERSION,
        "image": story.image,
        "size": f"{width} × {height}",
        "aspect": f"{width} / {height}",
        "before": charts.image_uri(story.pixels),
        "after": charts.image_uri(result.image),
        "model": story.model_name,
        "parameters": certificate["parameters"],
        "changes": [*story.changes, *story.notes],
        "spikes": ledger.spikes,
        "synops": ledger.synops,
        "rate": 100 * ledger.firing_rate,
        "layers": [_layer(layer, ledger.timesteps, story.residuals.get(layer.name)) for layer in ledger.layers],
        "maps": [_map(layer.name, rates[layer.name]) for layer in ledger.layers],
        "gradient": charts.gradient(),
        "rates_chart": markupsafe.Markup(charts.rates_chart(ledger)),
        "spikes_chart": markupsafe.Markup(charts.spikes_chart(ledger)),
        "side": SIDE,
        "residuals": bool(story.residuals),
        "energy": [_energy(model, ledger) for model in story.energy],
        "times": story.times,
        "ann_times": story.ann_times,
        "dense": "ANN" if story.trained == "plain" else compared_with(story.trained),
        "quality": None if story.quality is None else _quality(story.quality),
        "certificate": certificate,
        "certificate_uri": f"data:application/json;base64,{base64.b64encode(text.encode()).decode()}",
        "command": shlex.join(story.command),
        "verify": shlex.join(["nspike", "audit", story.image, "--verify", "certificate.json"]),
    }


def _quality(quality: Mapping[str, Mapping[str, float | None]]) -> list[tuple[str, str]]:
    """(figure, before → after) in words."""
    ends = [quality[name] for name in ("input", "output") if name in quality]
    rows = []
    for key, label, digits, unit in (
        ("psnr", "PSNR", 2, " dB"),
        ("ssim_gauss11", "SSIM", 4, ""),
        ("mae", "MAE", 4, ""),
    ):
        values = [end[key] for end in ends]
        if key == "psnr" or None not in values:
            shown = ("∞" if value is None else f"{value:.{digits}f}" for value in values)
            rows.append((label, " → ".join(shown) + unit))
    return rows


def _map(name: str, rate: NDArray[np.float64]) -> dict[str, Any]:
    """A map on its own scale, which a few bright pixels do not stretch."""
    from nspike.report import charts

    most = float(np.quantile(rate, 0.995)) or float(rate.max())
    return {"name": name, "uri": charts.map_uri(rate, most), "mean": 100 * float(rate.mean()), "most": 100 * most}


def _layer(layer: Any, timesteps: int, residual: Residual | None) -> dict[str, Any]:
    neurons, spikes = int(layer.neuron_updates[0]), int(layer.events.sum())
    return {
        "name": layer.name,
        "neurons": neurons,
        "spikes": spikes,
        "rate": 100 * spikes / (neurons * timesteps),
        "synops": int(layer.synops.sum()),
        "residual": residual,
    }


def _energy(model: EnergyModel, ledger: Any) -> dict[str, Any]:
    columns = zip(model.price(ledger), break_even(model, ledger), strict=True)
    return {
        "name": model.name,
        "summary": model.summary,
        "source": model.source,
        "constants": [f"{name} {value:g} {unit}" for name, (value, unit) in model.constants.items()],
        "columns": [
            {
                "name": column.name,
                "snn": joules(column.snn),
                "ann": joules(column.ann),
                "share": 100 * column.ratio,
                "pays": percent(rate, ledger.most_spikes),
                "formula": model.formula.get(column.name, ""),
            }
            for column, rate in columns
        ],
    }
