"""What a restored image cost and how good it is, in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nspike.cli.parts import ENERGY
from nspike.cli.streams import verbose
from nspike.cli.text import one_line
from nspike.pricing.units import compared_with, joules, percent

if TYPE_CHECKING:
    from nspike.cli.times import Times
    from nspike.contracts.energy import EnergyModel
    from nspike.contracts.ledger import Ledger

_LABEL = 10


def describe(report: Mapping[str, Any]) -> str:
    """The lines for one image, as `nspike.restoration.job.process` reports it; energy that nobody asked for with -v alone."""
    if report["state"] == "skipped":
        return f"{one_line(report['input'])}: done already, {one_line(report['output'])}"
    if report["state"] == "unchanged":
        lines = [_where(report), *(_line("", note) for note in report["notes"])]
        lines += [_line("warning", warning) for warning in report.get("warnings", ())]
        return "\n".join(lines + (_quality(report["quality"]) if "quality" in report else []))
    how = [report["model"]]
    if report["network"] == "ann":
        how.append("as a plain ANN")
    else:
        how += [report["neuron"], report["head"], f"T = {report['T']}"]
    lines = [_where(report), _line("model", ", ".join(how))]
    if report["changes"]:
        lines.append(_line("", f"not the shipped configuration: {'; '.join(report['changes'])}"))
    lines += [_line("", note) for note in report["notes"]]
    lines += [_line("warning", warning) for warning in report["warnings"]]
    if "quality" in report:
        lines += _quality(report["quality"])
    if report["network"] == "snn":
        fired, several = report["firing_rate"], report["most_spikes"] > 1
        rate = f"{fired:.3g} a neuron and step" if several else f"{100 * fired:.2f} % of neurons per step"
        lines.append(_line("spikes", f"{report['spikes']:,}, {rate}"))
        lines.append(_line("synops", f"{report['synops']:,} synaptic operations"))
    asked = verbose() or tuple(report["energy"]) != ENERGY
    for name, model in report["energy"].items() if asked else ():
        lines.append(_line("energy", f"{name} ({model['note']})"))
        dense = compared_with(report["trained"])
        lines += [
            _line("", _column(label, column, dense, report.get("most_spikes", 1)))
            for label, column in model["columns"].items()
        ]
    height, width = report["size"][:2]
    speed = f"{report['seconds']:.2f} s, {report['megapixels_per_second']:.3g} MP/s"
    lines.append(_line("time", f"{speed} ({width}x{height})"))
    return "\n".join(lines)


def energy_text(
    models: Sequence["EnergyModel"],
    ledger: "Ledger",
    times: "Times",
    ann: "Times | None",
    extra: str = "digests",
    trained: str = "plain",
) -> str:
    """What the energy models say, side by side; what each computes; and what was measured."""
    from nspike.cli.text import table
    from nspike.contracts.energy import MODELLED, break_even
    from nspike.contracts.energy import describe as explain_energy

    most = ledger.most_spikes
    rows = [
        (
            model.name,
            column.name,
            joules(column.snn),
            joules(column.ann),
            f"{100 * column.ratio:.1f} %",
            percent(rate, most),
        )
        for model in models
        for column, rate in zip(model.price(ledger), break_even(model, ledger), strict=True)
    ]
    header = ("model", "column", "SNN", "ANN", "SNN/ANN", "pays below")
    what = [f"ANN: {compared_with(trained)}, as there is no plain network"] if trained == "spiking" else []
    lines = [
        f"energy, {MODELLED}; the SNN fired at {100 * ledger.firing_rate:.3g} %, and pays below the rate in the last column",
        table(header, rows),
        *what,
        "",
        *(explain_energy(model) for model in models),
        "",
        measured(times, ann, extra),
    ]
    return "\n".join(lines)


def measured(times: "Times", ann: "Times | None", extra: str) -> str:
    """The time beside the energy, what else it was spent on, and what it does not say."""
    beside = "" if ann is None else f", the plain ANN {ann}"
    return (
        f"measured on this CPU: the SNN {times}, {extra} included{beside}. On a CPU the energy is a model: no joule "
        "was measured, and a CPU saves none by spikes."
    )


def _where(report: Mapping[str, Any]) -> str:
    return f"{one_line(report['input'])} -> {one_line(report['output'])}"


def _line(label: str, text: str) -> str:
    return f"  {label:{_LABEL}}{text}"


def _quality(quality: Mapping[str, Any]) -> list[str]:
    before, after = quality["input"], quality["output"]
    ssims = ", ".join(
        f"SSIM {before[key]:.4f} -> {after[key]:.4f} ({key.removeprefix('ssim_')})"
        for key in ("ssim_gauss11", "ssim_uniform7")
        if before[key] is not None
    )
    psnr = f"PSNR {_decibels(before['psnr'])} -> {_decibels(after['psnr'])} dB"
    error = f"MAE {before['mae']:.4f} -> {after['mae']:.4f}"
    lines = [_line("quality", ", ".join(part for part in (psnr, ssims, error) if part))]
    if "shipped" in quality:
        lines.append(_line("", _cost(after["psnr"], quality["shipped"]["psnr"])))
    return lines


def _cost(psnr: float | None, shipped: float | None) -> str:
    """What it costs, or gains, that this is not the shipped configuration."""
    if psnr is None or shipped is None:
        return f"the shipped configuration gives {_decibels(shipped)} dB"
    change = psnr - shipped
    if abs(change) < 0.005:
        return f"as good as the shipped configuration, {shipped:.2f} dB"
    return f"{abs(change):.2f} dB {'less' if change < 0 else 'more'} than the {shipped:.2f} dB of the shipped configuration"


def _decibels(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.2f}"


def _column(name: str, column: Mapping[str, float], dense: str, most: int) -> str:
    if "snn" not in column:
        return f"{name}: ANN {joules(column['ann'])}"
    share, rate = f"{100 * column['ratio']:.1f} %", percent(column["break_even"], most)
    return f"{name}: {joules(column['snn'])}, {dense} {joules(column['ann'])} ({share}); pays below {rate} firing"
