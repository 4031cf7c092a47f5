"""`nspike export`."""

import os
from typing import Any

import click

from nspike.cli.guard import check_free, check_report, keep_apart, take
from nspike.cli.options import json_option, overwrite_option
from nspike.cli.output import emit
from nspike.cli.text import one_line, size


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--format", "format_", type=click.Choice(["nir", "torch"]), required=True, help="The format to write.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The file to write.")
@click.option(
    "--size",
    "image",
    type=click.IntRange(min=1),
    nargs=2,
    metavar="H W",
    help="The size of the images of a NIR graph; by default 64 64.",
)
@click.option(
    "--if", "integrate", is_flag=True, help="Export it with integrate-and-fire neurons, whatever its own are."
)
@click.option("--ann", is_flag=True, help="PyTorch: the plain network of a spiking model.")
@overwrite_option
@json_option
def command(
    model: str,
    format_: str,
    output: str,
    image: tuple[int, int] | None,
    integrate: bool,
    ann: bool,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Write a model for other frameworks.

    nir: a spiking model as a NIR graph (needs nspike[nir]), for images of one size. NIR says convolution, IF and LIF neurons
    and sums; what it cannot say is refused by name. What a framework must know besides (soft reset, the first membranes,
    T) is in the graph's metadata.

    torch: the state dict of a PyTorch module (needs nspike[torch]) that nspike.to_torch makes of it, to be trained there;
    `nspike import` reads it back.

    \b
    Examples:
      nspike export dncnn-s25 --format nir --if --size 128 128 -o dncnn.nir
      nspike export dncnn-s25 --format torch -o dncnn.pt
    """
    from nspike.errors import UsageError
    from nspike.registry.parts import swap
    from nspike.restoration.opening import load

    if format_ == "nir" and ann:
        raise UsageError("--ann is for --format torch: a NIR graph is of a spiking network")
    if format_ == "torch" and image is not None:
        raise UsageError("--size is for --format nir: a PyTorch module takes images of all sizes")
    if ann and integrate:
        raise UsageError("--if names neurons, which --ann leaves out: give one of them")
    keep_apart("-o", output, (model,))
    check_report("--json", json_file, (model, output))
    check_free(output, overwrite)
    take(output)
    loaded = load(model)
    changes: list[str] = []
    if integrate:
        loaded, changes = swap(loaded, neuron="if", head="membrane")
    report: dict[str, Any] = {"file": output, "format": format_, "changes": changes}
    if format_ == "nir":
        from nspike.converting.nir import export_nir

        image = image or (64, 64)
        nodes = export_nir(loaded, output, *image)
        line = f"{len(nodes)} nodes for images of {image[0]}×{image[1]}"
        report |= {"size": image, "nodes": nodes}
    else:
        from nspike.twin.making import export_torch

        keys = export_torch(loaded, output, ann=ann)
        kind = "plain" if ann or loaded.spiking is None else "spiking"
        line = f"the {kind} network of {loaded.info.name} as a state dict of {len(keys)} tensors"
        report |= {"network": kind, "keys": keys}
    emit("\n".join([f"{one_line(output)}: {line}, {size(os.path.getsize(output))}", *changes]), report, json_file)
