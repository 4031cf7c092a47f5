"""`nspike export`."""

import os

import click

from nspike.cli.guard import check_free, keep_apart, take
from nspike.cli.options import json_option, overwrite_option
from nspike.cli.output import emit
from nspike.cli.text import size


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--format", "format_", type=click.Choice(["nir"]), required=True, help="The format to write.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The file to write.")
@click.option(
    "--size",
    "image",
    type=click.IntRange(min=1),
    nargs=2,
    default=(64, 64),
    show_default=True,
    metavar="H W",
    help="The size of the images.",
)
@click.option("--if", "plain", is_flag=True, help="Export it with integrate-and-fire neurons, whatever its own are.")
@overwrite_option
@json_option
def command(
    model: str,
    format_: str,
    output: str,
    image: tuple[int, int],
    plain: bool,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Write a spiking model for other frameworks: as a NIR graph (needs nspike[nir]), for images of one size.

    NIR says convolution, IF and LIF neurons and sums; what it cannot say is refused by name. What a framework must
    know besides (soft reset, the first membranes, T) is in the graph's metadata.

    \b
    Examples:
      nspike export dncnn-s25 --format nir --if --size 128 128 -o dncnn.nir
    """
    from nspike.converting.nir import export_nir
    from nspike.registry.parts import swap
    from nspike.restoration.opening import load

    keep_apart("-o", output, (model,))
    keep_apart("--json", json_file, (model, output))
    check_free(output, overwrite)
    take(output)
    loaded = load(model)
    changes: list[str] = []
    if plain:
        loaded, changes = swap(loaded, neuron="if", head="membrane")
    nodes = export_nir(loaded, output, *image)
    lines = [
        f"{output}: {len(nodes)} nodes for images of {image[0]}×{image[1]}, {size(os.path.getsize(output))}",
        *changes,
    ]
    report = {"file": output, "format": format_, "size": image, "nodes": nodes, "changes": changes}
    emit("\n".join(lines), report, json_file)
