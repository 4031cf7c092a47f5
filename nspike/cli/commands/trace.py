"""`nspike trace`."""

import os
from pathlib import Path
from typing import Any

import click

from nspike.cli.common import (
    check_free,
    emit,
    json_option,
    keep_apart,
    machine_options,
    overwrite_option,
    spiking_options,
)
from nspike.cli.configuration import choose, configuration, headline
from nspike.cli.meter import Meter
from nspike.cli.text import size, table


@click.command()
@click.argument("image")
@click.option("-o", "--output", metavar="FILE", help="[./NAME_trace.h5]")
@click.option("--layer", "layers", metavar="NAME", multiple=True, help="Keep this layer. May be repeated. [all]")
@click.option("--window", type=int, nargs=4, metavar="X Y W H", help="Keep this part of the image. [all]")
@spiking_options
@machine_options
@overwrite_option
@json_option
def command(
    image: str,
    output: str | None,
    layers: tuple[str, ...],
    window: tuple[int, int, int, int] | None,
    task: Any,
    sigma: float | None,
    scale: int | None,
    model: str | None,
    plugins: tuple[str, ...],
    timesteps: int | None,
    threads: int | None,
    tile: int | None,
    memory: int,
    max_pixels: int,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Save the spikes of a run on an image: of every layer, or of some; of the whole image, or of a window.

    The file is HDF5, and holds the same for any number of threads and any tile. The window is of the image that the
    network sees, which super-resolution has enlarged. Compare traces with `nspike diff`.

    \b
    Examples:
      nspike trace photo.png
      nspike trace photo.png --layer relu1 --layer relu2 -o two.h5
      nspike trace photo.png --window 8 16 32 32 -o corner.h5
    """
    from nspike.cli.commands.run import announce_compilation
    from nspike.inspection.traces import read_trace
    from nspike.inspection.tracing import trace

    target = output or f"{Path(image).stem}_trace.h5"
    keep_apart("-o", target, (image, model))
    keep_apart("--json", json_file, (image, model, target))
    check_free(target, overwrite)
    choice, _ = choose(
        image, plugins, max_pixels, model=model, task=task, sigma=sigma, scale=scale, timesteps=timesteps
    )
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
            tile=tile,
            memory=memory,
            threads=threads,
            max_pixels=max_pixels,
            progress=meter.image(0),
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
    text += ["", f"trace written to {target} ({size(os.path.getsize(target))})"]
    report = {"image": image, "trace": target, "bytes": os.path.getsize(target), **configuration(choice)}
    report |= {"window": info["window"]}
    report["layers"] = [{**entry, "shape": shapes[entry["name"]]} for entry in info["layers"]]
    emit("\n".join(text), report, json_file)
