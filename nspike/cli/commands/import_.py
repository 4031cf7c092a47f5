"""`nspike import`."""

import click

from nspike.cli.guard import check_free, check_report, keep_apart, take
from nspike.cli.options import json_option, overwrite_option, plugin_option, task_option, undone, undone_options
from nspike.cli.output import emit
from nspike.cli.parts import parts_of
from nspike.cli.text import in_words, one_line, size
from nspike.contracts.tasks import Task
from nspike.graph.mode import OutputMode
from nspike.runtime.words import counted


@click.command()
@click.argument("checkpoint")
@click.option("--network", metavar="NAME", help="The architecture, such as dncnn, aodnet or vdsr; none for ONNX.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The model file to write.")
@click.option("--format", "format_", metavar="NAME", help="The file's format; by default it is recognised.")
@plugin_option("network or format")
@click.option("--name", metavar="NAME", help="The model's name; by default the file's.")
@task_option("What the network was trained for; by default its usual task.")
@click.option(
    "--mode",
    type=click.Choice(["image", "add", "subtract"]),
    help="What the output is: the image, or what is added to it or subtracted; by default as the network says.",
)
@undone_options("The noise it was trained for, out of 255; twice for a range.", "A factor it enlarges by; repeatable.")
@click.option(
    "--check",
    nargs=2,
    metavar="INPUT.npy OUTPUT.npy",
    help="Compare with what the framework made of an input; exit code 1 if they differ.",
)
@click.option("--licence", default="", metavar="TEXT", help="The licence of the weights, kept in the model.")
@overwrite_option
@json_option
def command(
    checkpoint: str,
    network: str | None,
    output: str,
    format_: str | None,
    plugins: tuple[str, ...],
    name: str | None,
    task: Task | None,
    mode: OutputMode | None,
    sigmas: tuple[float, ...],
    scales: tuple[int, ...],
    check: tuple[str, str] | None,
    licence: str,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Make a model of a trained network's file: PyTorch (.pth, .pt), safetensors, MatConvNet (.mat) or ONNX.

    No PyTorch is needed, and nothing that the file names is run. The model is an ANN: `nspike convert` makes it spike.
    The state dict of a module that nspike exported (--format torch) gives its model again, trained, spiking if it was.

    \b
    Examples:
      nspike import dncnn_25.pth --network dncnn --sigma 25 -o ann.h5
      nspike import vdsr.pth --network vdsr --scale 2 --scale 3 --scale 4 -o ann.h5
      nspike import net.pth --network dncnn -o ann.h5 --check input.npy output.npy
      nspike import net.onnx --sigma 25 -o ann.h5
      nspike import drunet_color.pth --network drunet --sigma 0 --sigma 55 -o ann.h5
      nspike import trained.pt -o snn.h5
    """
    from nspike.converting.checking import check_output
    from nspike.converting.importing import assumptions, import_checkpoint
    from nspike.errors import UsageError
    from nspike.model.file import read_info
    from nspike.restoration.opening import save

    parts, _ = parts_of(plugins, ("network", "format"), {"network": network, "format": format_})
    keep_apart("-o", output, (checkpoint, *plugins))
    check_report("--json", json_file, (checkpoint, output, *plugins))
    check_free(output, overwrite)
    take(output)
    degradation = undone(sigmas, scales)
    model = import_checkpoint(
        checkpoint,
        parts.get("network"),
        format=parts.get("format"),
        name=name,
        task=task,
        mode=mode,
        degradation=degradation,
        licence=licence,
    )
    meant = {"sigma": "denoise", "scales": "superres"}
    for key in degradation:
        if model.info.task != meant[key]:
            raise UsageError(f"--{key.rstrip('s')} has no meaning for the task {model.info.task}")
    checked = check_output(model, *check) if check else None
    save(output, model)
    written = read_info(output)
    parameters = model.network.parameter_count
    text = (
        f"{one_line(output)}: {model.info.name}, {model.info.task} {in_words(degradation)}".rstrip()
        + f"\n{model.network.name}, {counted(len(model.network.convs), 'convolution')}, {counted(parameters, 'parameter')}, "
        f"from {model.info.provenance.get('format', 'a state dict of nspike')}, {size(written.size)}\ndigest {written.digest}"
    )
    assumed = assumptions(model) if model.spiking is None else []
    text += "".join(f"\n{line}" for line in assumed)
    if check and checked:
        text += (
            f"\nchecked: the {checked.of}'s output differs by {checked.largest:.2g} at most from {one_line(check[1])}"
        )
    report = {
        "file": output,
        "info": model.info,
        "network": model.network.name,
        "convolutions": len(model.network.convs),
        "parameters": parameters,
        "digest": written.digest,
        "assumed": assumed,
        "check": checked,
    }
    emit(text, report, json_file)
