"""`nspike replay`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nspike.cli.configuration import refuse
from nspike.cli.guard import check_free, check_report, keep_apart, take
from nspike.cli.meter import Meter
from nspike.cli.options import (
    Machine,
    json_option,
    machine_options,
    model_option,
    overwrite_option,
    plugin_option,
    timesteps_option,
)
from nspike.cli.output import emit
from nspike.cli.parts import parts_of
from nspike.cli.progress import announce_compilation
from nspike.cli.text import one_line, table

if TYPE_CHECKING:
    from nspike.inspection.traces import Trace


@click.command()
@click.argument("trace")
@click.argument("image", required=False)
@click.option("-o", "--output", metavar="OUT", help="The restored image's file. [./NAME_replay.png]")
@click.option("--layer", metavar="NAME", help="Which layer to replay, if the trace holds several.")
@model_option
@plugin_option("neuron or head of the rest of the network; else the trace's")
@timesteps_option
@click.option(
    "--scale", type=int, metavar="N", help="How many times larger (superres); only for a trace made elsewhere."
)
@machine_options
@overwrite_option
@json_option
def command(
    trace: str,
    image: str | None,
    output: str | None,
    layer: str | None,
    model: str | None,
    plugins: tuple[str, ...],
    timesteps: int | None,
    scale: int | None,
    machine: Machine,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Feed the recorded spikes of a layer into the rest of the network, and restore the image with it.

    An unchanged trace gives the output of the run that was traced. The image is the traced one (looked for beside the
    trace and here, if not named): the network needs it beside the spikes. The trace must be of the whole image.

    \b
    Examples:
      nspike replay photo_trace.h5 --layer relu2
      nspike replay photo_trace.h5 photo.png --layer relu1 --plugin mprn_beta -o rest.png
      nspike replay theirs.npz photo.png --model dncnn-s25
    """
    from nspike.errors import UsageError
    from nspike.images import file as images
    from nspike.inspection.auditing import image_of
    from nspike.inspection.replaying import changed_steps, replay
    from nspike.inspection.traces import read_trace
    from nspike.restoration.job import finished

    with read_trace(trace) as recorded:
        if recorded.info is None:
            if image is None:
                raise UsageError(f"{trace} does not say of which image it is; name the image")
            source = Path(image)
        else:
            refuse({"-T": timesteps, "--scale": scale}, "is not needed: the trace says it")
            scale = recorded.info["input"].get("scale")
            source = Path(image) if image else image_of(recorded.info, [Path(trace).parent, Path()])
        target = output or f"{source.stem}_replay.png"
        keep_apart("-o", target, (trace, source, model, *plugins))
        check_report("--json", json_file, (trace, source, model, target, *plugins))
        check_free(target, overwrite)
        take(target)
        parts, _ = parts_of(plugins)
        rest, digest = _model(recorded, model, parts, timesteps)
        read = images.read(source, max_pixels=machine.max_pixels)
        images.check_kept(target, read)
        announce_compilation()
        with Meter(1) as meter:
            result = replay(
                recorded,
                rest,
                read.pixels,
                layer=layer,
                model_digest=digest,
                scale=scale,
                progress=meter.image(0),
                **machine.arguments(),
            )
        name = layer or recorded.layers[0]
        changed = changed_steps(recorded, name, result)
        gone_on = _neuron(recorded, rest)
    images.write(target, finished(read, result.image, scale))
    spiking, ledger = rest.spiking, result.ledger
    assert spiking is not None
    where = f"the output, from layer {name} of {one_line(trace)} on: model {rest.info.name}, {spiking.neuron}, {spiking.head}"
    lines = [
        f"{one_line(target)}: {where}, T = {ledger.timesteps}"
        + (f" + {ledger.post_steps}" if ledger.post_steps else "")
    ]
    if gone_on != spiking.neuron:
        lines.append(f"the replayed spikes are of neuron {gone_on}")
    if changed:
        lines.append(f"the replayed spikes have been changed since they were recorded, at step {_list(changed)}")
    rows = [
        (each.name, f"{int(each.events.sum()):,}", f"{int(each.synops.sum()):,}", each.digests[-1][:12])
        for each in ledger.layers
    ]
    lines += ["", table(("layer", "spikes", "synaptic operations", "last step"), rows)]
    lines += ["", f"spikes {ledger.spikes:,}, synaptic operations {ledger.synops:,}"]
    report = {
        "trace": trace,
        "layer": name,
        "image": str(source),
        "output": target,
        "model": rest.info.name,
        "model_digest": digest,
        "neuron": spiking.neuron,
        "recorded_neuron": gone_on,
        "head": spiking.head,
        "T": ledger.timesteps,
        "post_steps": ledger.post_steps,
        "changed_steps": changed,
        "spikes": ledger.spikes,
        "synops": ledger.synops,
        "synops_paper": ledger.synops_paper,
        "layers": list(ledger.layers),
        "seconds": result.seconds,
    }
    emit("\n".join(lines), report, json_file)


def _model(recorded: "Trace", model: str | None, parts: dict[str, str], timesteps: int | None) -> tuple[Any, str]:
    """The rest of the network, and its digest as in its file."""
    import nspike
    from nspike.inspection.tracing import model_of_trace
    from nspike.model import file as weights

    if recorded.info is not None:
        return model_of_trace(recorded, model, neuron=parts.get("neuron"), head=parts.get("head"))
    from nspike.errors import UsageError

    if model is None:
        raise UsageError(f"{recorded.name} does not say of which model it is; name one with --model")
    loaded = nspike.load(model)
    swapped, _ = nspike.swap(loaded, neuron=parts.get("neuron"), head=parts.get("head"), timesteps=timesteps)
    return swapped, weights.digest(loaded)


def _neuron(recorded: "Trace", rest: Any) -> str:
    return rest.spiking.neuron if recorded.info is None else str(recorded.info["parameters"]["neuron"])


def _list(steps: list[int]) -> str:
    return ", ".join(map(str, steps[:10])) + (", ..." if len(steps) > 10 else "")
