"""`nspike info`."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from nspike.cli.guard import check_report
from nspike.cli.options import json_option
from nspike.cli.output import emit
from nspike.cli.text import in_words, one_line, size, table
from nspike.runtime.words import counted

if TYPE_CHECKING:
    from pathlib import Path

    from nspike.model.file import FileInfo
    from nspike.model.model import Model


_TOLD = ("stride", "dilation", "groups", "repeats", "steps", "tied", "function", "factor", "heads", "meaning", "signed")
"""Numbers of layers that are shown where they are not 1."""

_TRAINED = {
    "plain": "as a plain network",
    "spiking": "as a spiking network; with ReLUs for its neurons it computes nothing of use",
}
_THOP = (
    "papers' counter `thop` sees layers of torch.nn alone, and none of SpikingJelly's, of which such networks are built"
)


@click.command()
@click.argument("model")
@json_option
def command(model: str, json_file: str | None) -> None:
    """Show what is in a model file: what it is for, where it comes from, its layers and parameters.

    MODEL is a file, or the name of a model that comes with nspike. The whole file is read and checked.

    \b
    Examples:
      nspike info dncnn-s25
      nspike info ann.h5 --json -
    """
    from nspike.model.file import read_info
    from nspike.model.shipped import find
    from nspike.restoration.opening import load_file

    path = find(model)
    check_report("--json", json_file, (path,))
    loaded, file = load_file(path), read_info(path)
    emit(_text(loaded, file), _report(loaded, file), json_file)


def _text(model: "Model", file: "FileInfo") -> str:
    from nspike.graph.geometry import needs_everything

    info, spiking, network = model.info, model.spiking, model.network
    lines = [
        ("name", info.name),
        ("task", f"{info.task} ({in_words(info.degradation)})" if info.degradation else info.task),
        ("colour", info.colour),
        (
            "network",
            f"{network.name}, {counted(len(network.convs), 'convolution')}, {counted(network.parameter_count, 'parameter')}",
        ),
        (
            "receptive radius",
            "the whole image" if needs_everything(network.layers) else counted(network.radius, "pixel"),
        ),
        ("MACs", f"{network.macs_per_pixel:,} per pixel"),
        ("trained", _TRAINED[info.trained]),
        ("spiking", _spiking(model)),
    ]
    if (thop := thop_count(model)) is not None:
        lines.insert(4, ("thop", f"{thop:,} parameters: {_THOP}"))
    if spiking is not None:
        lines += [("neuron", spiking.neuron), ("head", spiking.head)]
    lines += [
        ("quality", in_words(info.quality) or "not measured"),
        ("licence", _licence(info.licence, file.path)),
        ("file", f"{one_line(file.path)}, {size(file.size)}, format {file.version}, by {file.writer}"),
        ("digest", file.digest),
    ]
    text = "\n".join(f"{name + ':':18}{value}" for name, value in lines)
    if info.provenance:
        text += "\n\nprovenance\n" + "\n".join(f"  {name}: {_value(v)}" for name, v in info.provenance.items())
    return f"{text}\n\n{table(('layer', 'kind', 'reads', 'shape', 'size', 'λ', 'θ', 'parameters'), _layers(model))}"


def _licence(text: str, path: "Path") -> str:
    """What a model says of its licence; shipped ones name the file by its place in the repository."""
    beside = path.with_name("LICENSE")
    return (text.replace("weights/LICENSE", str(beside)) if beside.is_file() else text) or "not stated"


def _spiking(model: "Model") -> str:
    from nspike.graph.values import values

    if model.spiking is not None:
        return f"T = {model.spiking.timesteps}"
    if model.info.trained == "spiking":
        return "no: convert it with `nspike convert --converter direct`"
    if "plain" in values(model.network.layers).values():
        return "no, and `nspike convert` says why not: run it with --ann"
    return "no: convert it with `nspike convert`"


def thop_count(model: "Model") -> int | None:
    """How many parameters `thop` would count in the published code; None where it would count all, or nothing is known."""
    from nspike.registry.plugins import registry

    name = model.info.provenance.get("architecture", model.network.name)
    known = {architecture.name: architecture for architecture in registry().networks.values()}
    return known[name].thop_count(model.network) if name in known else None


def _layers(model: "Model") -> list[tuple[object, ...]]:
    """A row for each layer, with its size over the image's; of a plain network λ is where an activation is clipped."""
    import numpy as np

    from nspike.graph.layer import KINDS

    names, spiking = {cls: name for name, cls in KINDS.items()}, model.spiking
    rows: list[tuple[object, ...]] = []
    for layer in model.network.layers:
        entry = dataclasses.asdict(layer)
        kind = names[type(layer)]
        weight = model.parameters.get(f"{layer.name}.weight")
        shape = "×".join(map(str, weight.shape)) if weight is not None else str(model.network.widths[layer.name])
        scale_to_image = model.network.scales[layer.name]
        side = "1 pixel" if scale_to_image is None else f"×{scale_to_image}"
        scale = threshold = parameters = ""
        if spiking is None and entry.get("ceiling") is not None:
            scale, parameters = _span(np.array(entry["ceiling"])), in_words({"levels": entry["levels"]})
        if spiking is not None and kind == "activation":
            scale, threshold = _span(spiking.scales[layer.name]), _span(spiking.thresholds[layer.name])
            parameters = in_words(dict(spiking.neuron_parameters.get(spiking.neuron, {}).get(layer.name, {})))
        given = {name: entry[name] for name in _TOLD if entry.get(name) not in (None, False, 1, "")}
        padding = {"padding": "-".join(map(str, entry["padding"]))} if entry.get("padding") else {}
        told = ", ".join(filter(None, [in_words(given | padding), parameters]))
        rows.append((layer.name, kind, " ".join(layer.sources), shape, side, scale, threshold, told))
    if spiking is not None:
        from nspike.model.model import OUTPUT

        rows.append((OUTPUT, "", "", "", "", _span(spiking.scales[OUTPUT]), _span(spiking.thresholds[OUTPUT]), ""))
    return rows


def _span(values: Any) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g}-{high:.4g}"


def _value(value: Any) -> str:
    return in_words(value) if isinstance(value, dict) else str(value)


def _report(model: "Model", file: "FileInfo") -> dict[str, Any]:
    spiking = model.spiking
    report: dict[str, Any] = {
        "file": file.path.name,
        "bytes": file.size,
        "format_version": file.version,
        "writer": file.writer,
        "digest": file.digest,
        "info": model.info,
        "network": model.network.to_dict(),
        "receptive_radius": model.network.radius,
        "macs_per_pixel": model.network.macs_per_pixel,
        "parameters": model.network.parameter_count,
        "parameters_thop": thop_count(model),
        "spiking": None,
    }
    if spiking is not None:
        report["spiking"] = {
            "neuron": spiking.neuron,
            "head": spiking.head,
            "timesteps": spiking.timesteps,
            "scales": spiking.scales,
            "thresholds": spiking.thresholds,
            "neuron_parameters": spiking.neuron_parameters,
            "head_parameters": spiking.head_parameters,
            "trained_weights": list(spiking.weights),
            "integers_stored": file.integers,
        }
    return report
