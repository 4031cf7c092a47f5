"""`nspike diff`."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nspike.cli.configuration import choose, refuse
from nspike.cli.guard import check_report
from nspike.cli.meter import Meter
from nspike.cli.options import Machine, Wanted, choice_options, json_option, machine_options
from nspike.cli.output import emit
from nspike.cli.parts import parts_of
from nspike.cli.progress import announce_compilation
from nspike.cli.text import one_line, table
from nspike.runtime.words import counted

if TYPE_CHECKING:
    from nspike.inspection.difference import Difference
    from nspike.inspection.traces import Trace
    from nspike.model.model import Model


@dataclass(frozen=True, eq=False)
class Run:
    """A run that is to be traced: a model on an image, and how to call it."""

    model: "Model"
    digest: str
    scale: int | None
    image: str

    @property
    def label(self) -> str:
        """The image, the model and its parts."""
        spiking = self.model.spiking
        assert spiking is not None
        return f"{self.image} ({self.model.info.name}, {spiking.neuron}, {spiking.head})"


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@click.option("--against", metavar="NAME", multiple=True, help="Compare two runs: this model, neuron or head is B's.")
@click.option("--layer", "layers", metavar="NAME", multiple=True, help="Compare this layer. May be repeated. [all]")
@click.option("--window", type=int, nargs=4, metavar="X Y W H", help="Of runs, compare this part of the image. [all]")
@choice_options()
@machine_options
@json_option
def command(
    a: str,
    b: str | None,
    against: tuple[str, ...],
    layers: tuple[str, ...],
    window: tuple[int, int, int, int] | None,
    wanted: Wanted,
    machine: Machine,
    json_file: str | None,
) -> int:
    """Find the first spike that differs, and count how many do, layer by layer and step by step.

    A and B are traces, nspike's or made elsewhere (HDF5 or NPZ), or one is an image: then nspike runs on it now. With
    one image and --against, two runs are compared. First means: the first layer in network order, in it the first step,
    then image plane, channel, y and x. Exit code 0: the same, 1: different, 2 and more: an error.

    \b
    Examples:
      nspike diff mine_trace.h5 theirs.npz
      nspike diff photo.png theirs.npz --model dncnn-s25
      nspike diff photo.png --plugin mprn --against if
      nspike diff photo.png --model mine.h5 --against dncnn-s25 --layer relu1
    """
    from nspike.errors import UsageError
    from nspike.inspection.difference import diff
    from nspike.inspection.traces import is_trace, read_trace

    check_report("--json", json_file, (a, b, wanted.model, *wanted.plugins, *against))
    how = machine.arguments() | {"max_pixels": machine.max_pixels}
    options = wanted.given() | {"--window": window}
    with ExitStack() as opened:
        named = [
            opened.enter_context(read_trace(path)) if is_trace(path) else path for path in (a, b) if path is not None
        ]
        traces = [source for source in named if not isinstance(source, str)]
        sources: list[Trace | Run]
        if len(traces) == 2:
            refuse(options | {"--against": against}, "is for runs of nspike; both are traces")
            sources = list(traces)
        elif b is None:
            if traces:
                raise UsageError(f"{a} is a trace; name another, or an image to run nspike on, to compare it with")
            if not against:
                raise UsageError("name what to compare with: a trace, or --against MODEL or NEURON")
            sources = list(_both(a, wanted, against, machine.max_pixels))
        elif not traces:
            raise UsageError(f"{a} and {b} are no traces; compare an image with a trace, or with --against")
        else:
            refuse({"--against": against}, "compares two runs on an image; one of these is a trace")
            (image,) = [source for source in named if isinstance(source, str)]
            run = _like(traces[0], image, wanted, machine.max_pixels)
            window = window or _window(traces[0])
            layers = layers or tuple(n for n in traces[0].layers if n in _firing(run.model))
            sources = [run if isinstance(source, str) else source for source in named]
        if len(traces) < 2:
            announce_compilation()
        ready = _traced(sources, layers, window, how, opened)
        with Meter(1) as meter:
            difference = diff(*ready, layers=layers or None, progress=meter.image(0))
    emit(_text(difference, *ready), _report(difference, *ready), json_file)
    return 0 if difference.same else 1


def _both(image: str, wanted: Wanted, against: tuple[str, ...], max_pixels: int) -> tuple[Run, Run]:
    """The run that the options ask for, and the same with what is named by --against in place of its own."""
    from nspike.errors import ModelError, PluginError, UsageError
    from nspike.model.shipped import find
    from nspike.registry.plugins import registry

    choice, _ = choose(image, wanted, max_pixels)
    model = wanted.model or choice.name
    parts, _ = parts_of(wanted.plugins)
    for spec in against:
        try:
            kind, plugin = registry().resolve(spec, ("neuron", "head"))
        except PluginError as error:
            if spec.endswith(".py") or ":" in spec:
                raise
            try:
                model = str(find(spec))
            except ModelError as unknown:
                raise UsageError(f"--against {spec}: {error}; and as a model: {unknown}") from error
            continue
        parts[kind] = plugin.name
    plugins = tuple(f"{kind}:{name}" for kind, name in parts.items())
    other = replace(wanted, model=model, plugins=plugins)
    if wanted.model is None:
        other = replace(other, task=None, sigma=None)
    chosen, _ = choose(image, other, max_pixels)
    one, two = (Run(each.model, each.digest, each.scale, image) for each in (choice, chosen))
    return one, two


def _like(trace: "Trace", image: str, wanted: Wanted, max_pixels: int) -> Run:
    """The run that a trace tells of, with what the options replace; or, where it does not tell, what they ask for."""
    from nspike.inspection.tracing import model_of_trace

    if trace.info is None:
        choice, _ = choose(image, wanted, max_pixels)
        return Run(choice.model, choice.digest, choice.scale, image)
    told = {"--task": wanted.task, "--sigma": wanted.sigma, "--scale": wanted.scale}
    refuse(told, f"is not needed: {trace.name} says what was run")
    parts, _ = parts_of(wanted.plugins)
    model, digest = model_of_trace(
        trace,
        wanted.model,
        neuron=parts.get("neuron"),
        head=parts.get("head"),
        timesteps=wanted.timesteps,
        parameters=wanted.request()["parameters"],
    )
    return Run(model, digest, trace.info["input"].get("scale"), image)


def _window(trace: "Trace") -> tuple[int, int, int, int] | None:
    window = trace.window
    return None if window is None or trace.whole else (window.x0, window.y0, window.width, window.height)


def _firing(model: "Model") -> list[str]:
    from nspike.model.model import OUTPUT
    from nspike.registry.parts import head_of

    return [a.name for a in model.network.activations] + ([OUTPUT] if head_of(model).fires else [])


def _traced(
    sources: "list[Trace | Run]",
    layers: tuple[str, ...],
    window: tuple[int, int, int, int] | None,
    how: Mapping[str, Any],
    opened: ExitStack,
) -> "list[Trace]":
    """The traces of all sources; those of runs are made now, and kept until `opened` closes."""
    from tempfile import TemporaryDirectory

    from nspike.inspection.traces import read_trace
    from nspike.inspection.tracing import trace

    runs = [source for source in sources if isinstance(source, Run)]
    if not runs:
        return [source for source in sources if not isinstance(source, Run)]
    folder = Path(opened.enter_context(TemporaryDirectory(prefix="nspike-", ignore_cleanup_errors=True)))
    ready: list[Trace] = []
    with Meter(len(runs)) as meter:
        for source in sources:
            if not isinstance(source, Run):
                ready.append(source)
                continue
            path = folder / f"{len(ready)}.h5"
            trace(
                source.model,
                source.image,
                path,
                layers=layers or None,
                window=window,
                model_digest=source.digest,
                scale=source.scale,
                progress=meter.image(runs.index(source)),
                **how,
            )
            ready.append(replace(opened.enter_context(read_trace(path)), name=source.label))
    return ready


def _text(difference: "Difference", a: "Trace", b: "Trace") -> str:
    lines = [f"A: {one_line(a.name)}", f"B: {one_line(b.name)}", *difference.notes]
    lines += [
        f"not compared, only in {side}: {', '.join(names)}"
        for side, names in (("A", difference.only_a), ("B", difference.only_b))
        if names
    ]
    if difference.first is None:
        spikes = sum(int(layer.spikes_a.sum()) for layer in difference.layers)
        return "\n".join([*lines, f"the same: {counted(len(difference.layers), 'layer')}, {counted(spikes, 'spike')}"])
    layer, place = difference.first
    plane = f"image plane {place.plane}, " if a.trains[layer].shape[0] > 1 else ""
    where = f"layer {layer}, step {place.step}, {plane}channel {place.channel}, y {place.y}, x {place.x}"
    lines += ["", f"first difference: {where}: only {'A' if place.in_a else 'B'} fires", ""]
    rows = [
        (
            each.name,
            f"{int(each.spikes_a.sum()):,}",
            f"{int(each.spikes_b.sum()):,}",
            f"{int(each.differ.sum()):,}",
            " ".join(str(int(n)) for n in each.differ),
        )
        for each in difference.layers
    ]
    return "\n".join([*lines, table(("layer", "spikes of A", "spikes of B", "differ", "at each step"), rows)])


def _report(difference: "Difference", a: "Trace", b: "Trace") -> dict[str, Any]:
    first = difference.first
    return {
        "a": a.name,
        "b": b.name,
        "same": difference.same,
        "first": None if first is None else {"layer": first[0], **vars(first[1])},
        "layers": list(difference.layers),
        "only_a": difference.only_a,
        "only_b": difference.only_b,
        "notes": difference.notes,
    }
