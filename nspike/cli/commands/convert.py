"""`nspike convert`."""

import click

from nspike.cli.guard import check_free, check_report, keep_apart, take
from nspike.cli.options import json_option, overwrite_option, plugin_option, threads_option
from nspike.cli.output import emit
from nspike.cli.parts import parts_of
from nspike.cli.progress import Progress
from nspike.cli.text import one_line
from nspike.cli.values import numbers, pairs


@click.command()
@click.argument("model")
@click.option("-o", "--output", required=True, metavar="FILE", help="The model file to write.")
@click.option("--calibrate", "folder", metavar="FOLDER", help="Images to find the scales on.")
@click.option("--converter", metavar="NAME", help="How scales are found. [rueckauer]")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the converter; repeatable."
)
@plugin_option("neuron, head or converter")
@click.option("--head", metavar="NAME", help="What reads the output layer. [cpm with mprn, else membrane]")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the neuron; repeatable.")
@click.option(
    "-T", "--timesteps", type=int, metavar="N", help="The number of time steps. [10; 1 with converter few_spikes]"
)
@click.option(
    "--crops", type=int, default=64, show_default=True, metavar="N", help="How many crops of the images to measure."
)
@click.option("--crop-size", type=int, default=64, show_default=True, metavar="N", help="The side of a crop in pixels.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="The seed of crops and noise."
)
@click.option(
    "--baseline", metavar="MODEL", help="The plain network to compare the result with. [that of the model itself]"
)
@click.option("--fast", is_flag=True, help="Find scales alone, with the options' own defaults, and fit no layer.")
@click.option("--name", metavar="NAME", help="The model's name; by default that of the ANN.")
@threads_option
@overwrite_option
@json_option
def command(
    model: str,
    output: str,
    folder: str | None,
    converter: str | None,
    options: tuple[str, ...],
    plugins: tuple[str, ...],
    head: str | None,
    parameters: tuple[str, ...],
    timesteps: int | None,
    crops: int,
    crop_size: int,
    seed: int,
    baseline: str | None,
    fast: bool,
    name: str | None,
    threads: int | None,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Convert an imported network to spikes.

    MODEL is a model file with an ANN, made by `nspike import`. The images of FOLDER are clean ones: noise is added, or
    they are shrunk and enlarged, as the network was trained for. For dehazing they are hazy, or pairs in hazy/ and GT/.
    By default it converts as well as is possible without training: one scale for each channel, membranes half full at the
    start, and kernels fitted layer by layer to what the spikes before them carry, which takes minutes for a deep network;
    --fast finds scales alone. A network that was trained as a spiking one is taken as it is by --converter direct, which
    needs no images. `nspike plugins NAME` lists the options of a converter and the parameters of a neuron.
    Prints, for each layer, how well its spikes carry the ANN's activations.

    \b
    Examples:
      nspike convert ann.h5 --calibrate photos/ -o snn.h5
      nspike convert ann.h5 --plugin few_spikes --calibrate photos/ -o snn.h5
      nspike convert ann.h5 --plugin mprn --head cpm -T 10 --option percentile=99.9 --calibrate photos/ -o snn.h5
      nspike convert spikerir.h5 --converter direct --option theta=0.15 --plugin lif_hard --set tau=2 -T 4 -o snn.h5
    """
    from dataclasses import replace

    import nspike
    from nspike.converting.by_name import CONVERTER, NEURON
    from nspike.errors import UsageError
    from nspike.fitting.provenance import check_baseline, with_baseline
    from nspike.model.file import digest
    from nspike.registry.parts import spiking_of
    from nspike.registry.plugins import registry

    keep_apart("-o", output, (model, baseline, *plugins))
    check_report("--json", json_file, (model, baseline, output, *plugins))
    check_free(output, overwrite)
    take(output)
    parts, _ = parts_of(plugins, ("neuron", "head", "converter"), {"converter": converter, "head": head})
    method = registry().converters[parts.get("converter", CONVERTER)]
    if method.calibrates and folder is None:
        raise UsageError(f"converter {method.name} finds scales on images: give some, --calibrate FOLDER")
    ann, other = nspike.load(model), None if baseline is None else nspike.load(baseline)
    if other is not None:
        check_baseline(ann, other)
    if name:
        ann = replace(ann, info=replace(ann.info, name=name))
    with Progress(1, "converting") as progress:
        converted, report = nspike.convert(
            ann,
            () if folder is None else folder,
            converter=method.name,
            neuron=parts.get("neuron", NEURON),
            head=parts.get("head"),
            options=pairs(options),
            neuron_parameters=numbers(parameters),
            timesteps=timesteps,
            crops=crops,
            crop_size=crop_size,
            seed=seed,
            fast=fast,
            threads=threads,
            progress=progress.reach,
        )
    if other is not None:
        converted = with_baseline(converted, other)
    nspike.save(output, converted)
    model_digest, spiking = digest(converted), spiking_of(converted)
    values = {"file": output, "digest": model_digest, "info": converted.info, "report": report.to_dict()}
    how = f"T = {spiking.timesteps}" + (", layers fitted" if method.calibrates and method.fits and not fast else "")
    text = f"{report.to_text()}\n\n{one_line(output)}: {spiking.neuron}, {spiking.head}, {how}\ndigest {model_digest}"
    emit(text, values, json_file)
