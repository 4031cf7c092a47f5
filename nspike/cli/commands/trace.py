"""`nspike trace`."""

import os
from pathlib import Path

import click

from nspike.cli.configuration import choose, configuration, headline, refuse_head_parameters
from nspike.cli.guard import check_free, check_report, keep_apart, take
from nspike.cli.meter import Meter
from nspike.cli.options import Machine, Wanted, choice_options, json_option, machine_options, overwrite_option
from nspike.cli.output import emit
from nspike.cli.progress import announce_compilation
from nspike.cli.text import one_line, size, table


@click.command()
@click.argument("image")
@click.option("-o", "--output", metavar="FILE", help="The trace's file. [./NAME_trace.h5]")
@click.option("--layer", "layers", metavar="NAME", multiple=True, help="Keep this layer. May be repeated. [all]")
@click.option("--window", type=int, nargs=4, metavar="X Y W H", help="Keep this part of the image. [all]")
@choice_options()
@machine_options
@overwrite_option
@json_option
def command(
    image: str,
    output: str | None,
    layers: tuple[str, ...],
    window: tuple[int, int, int, int] | None,
    wanted: Wanted,
    machine: Machine,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Save the spikes of a run on an image: of every layer, or of some; of the whole image, or of a window.

    The file is HDF5, and holds the same for any number of threads and any tile. The window is of the image that the
    network sees, which super-resolution has enlarged. Compare traces with `nspike diff`.

    \b
    Examples:
      nspike trace photo.png
      nspike trace photo.png --model dncnn-s25 --layer relu1 --layer relu2 -o two.h5
      nspike trace photo.png --window 8 16 32 32 -o corner.h5
    """
    from nspike.inspection.traces import read_trace
    from nspike.inspection.tracing import trace

    target = output or f"{Path(image).stem}_trace.h5"
    keep_apart("-o", target, (image, wanted.model, *wanted.plugins))
    check_report("--json", json_file, (image, wanted.model, target, *wanted.plugins))
    check_free(target, overwrite)
    take(target)
    choice, _ = choose(image, wanted, machine.max_pixels)
    refuse_head_parameters(choice.model, wanted)
    announce_compilation()
    with Meter(1) as meter:
        trace(
            choice.model,
            image,
            target,
            layers=layers or None,
            window=window,
            model_digest=choice.digest,
            scale=choice.scale,
            max_pixels=machine.max_pixels,
            progress=meter.image(0),
            **machine.arguments(),
        )
    with read_trace(target) as written:
        info = written.info
        shapes = {name: list(written.trains[name].shape) for name in written.layers}
    assert info is not None
    rows = [
        (
            entry["name"],
            "×".join(map(str, shapes[entry["name"]])),
            f"{sum(entry['events']):,}",
            (entry["sha256"] or ["-"])[-1][:12],
        )
        for entry in info["layers"]
    ]
    text = [headline(image, choice), ""]
    text.append(table(("layer", "planes×steps×channels×height×width", "spikes", "last step"), rows))
    text += ["", f"trace written to {one_line(target)} ({size(os.path.getsize(target))})"]
    report = {"image": image, "trace": target, "bytes": os.path.getsize(target), **configuration(choice)}
    report |= {"window": info["window"]}
    report["layers"] = [{**entry, "shape": shapes[entry["name"]]} for entry in info["layers"]]
    emit("\n".join(text), report, json_file)
