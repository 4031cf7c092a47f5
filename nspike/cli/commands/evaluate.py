"""`nspike evaluate`."""

from typing import TYPE_CHECKING, Any

import click

from nspike.cli.guard import check_report
from nspike.cli.meter import Meter
from nspike.cli.options import json_option, memory_option, plugin_option, set_option, threads_option, timesteps_option
from nspike.cli.output import emit
from nspike.cli.parts import energy_models, parts_of
from nspike.cli.progress import announce_compilation
from nspike.cli.text import table
from nspike.cli.values import numbers
from nspike.pricing.units import compared_with, joules

if TYPE_CHECKING:
    from nspike.benchmarking.evaluation import Evaluation
    from nspike.degradations.protocols import Quality


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--data", required=True, metavar="FOLDER", help="The images: clean ones, or pairs as in hazy/ and GT/.")
@click.option(
    "--protocol", metavar="NAME", help="The protocol: gray, y-crop, rgb or y. [by the model: grey, luma or RGB]"
)  # checked by the API, which suggests the nearest name
@click.option(
    "--sigma", type=float, metavar="S", help="The noise, of 255 (gray, rgb). [what the model was trained for]"
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of the noise, the same for each image.",
)
@click.option("--scale", type=int, metavar="N", help="How many times larger (y-crop). [the model's smallest]")
@click.option("--ann", is_flag=True, help="Measure the plain ANN.")
@plugin_option("neuron, head or energy model; replaces the model's part")
@timesteps_option
@set_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Measure only the first N images.")
@threads_option
@memory_option
@json_option
def command(
    model: str,
    data: str,
    protocol: str | None,
    sigma: float | None,
    seed: int,
    scale: int | None,
    ann: bool,
    plugins: tuple[str, ...],
    timesteps: int | None,
    pairs: tuple[str, ...],
    limit: int | None,
    threads: int | None,
    memory: int,
    json_file: str | None,
) -> None:
    """Measure a model's quality on a folder of images, as the literature does.

    \b
    gray    grey 8-bit images plus Gaussian noise; the output is rounded to 8 bits (KAIR, DnCNN)
    y-crop  super-resolution on luma; no rounding, PSNR without a border (pytorch-vdsr, SpikingIR)
    rgb     pairs, as in hazy/ and GT/; no rounding. With --sigma: colour images plus noise
    y       the same pairs on 8-bit luma (deraining)

    The spiking network is compared with its ANN, if that was trained; --ann measures the ANN alone. The conversion rate is the
    share of the ANN's quality that is kept: the mean of PSNR / ANN's PSNR and SSIM / ANN's SSIM, of PSNR alone with noise;
    as in the literature at most 100 %, also where the spiking network is the better one.

    \b
    Examples:
      nspike evaluate dncnn-s25 --data Set12 --sigma 25
      nspike evaluate vdsr --data Set5 --scale 4 --json scores.json
      nspike evaluate derain.h5 --data Rain100L --protocol y
    """
    import nspike
    from nspike.benchmarking.evaluation import evaluate
    from nspike.errors import UsageError

    check_report("--json", json_file, (model, *plugins))
    parts, energy = parts_of(plugins, ("neuron", "head", "energy"))
    if len(energy) > 1:
        raise UsageError("an evaluation prices with one energy model; give one")
    if ann and (parts or pairs or timesteps is not None):
        raise UsageError("the plain ANN has no neuron, head or T; leave them out, or leave out --ann")
    loaded, changes = nspike.load(model), list[str]()
    if not ann:
        loaded, changes = nspike.swap(loaded, **parts, timesteps=timesteps, parameters=numbers(pairs))
    announce_compilation()
    with Meter(1) as meter:
        evaluation = evaluate(
            loaded,
            data,
            protocol=protocol,
            sigma=sigma,
            seed=seed,
            scale=scale,
            ann=ann,
            limit=limit,
            energy=(energy or energy_models())[0].name,
            memory=memory,
            threads=threads,
            progress=meter.image(0),
        )
    emit(
        _text(evaluation, changes),
        {**evaluation.to_dict(), "changes": changes},
        json_file,
    )


def _text(evaluation: "Evaluation", changes: list[str]) -> str:
    settings = evaluation.settings
    numbers = [
        f"{name} {value:g}"
        for name, value in (("sigma", settings.sigma), ("scale", settings.scale))
        if value is not None
    ]
    if settings.sigma is not None:
        numbers.append(f"seed {settings.seed}")
    what = "its plain ANN" if evaluation.ann else f"T = {evaluation.timesteps}"
    lines = [
        f"model {evaluation.model}, {what}",
        f"protocol {', '.join([evaluation.protocol, *numbers])}; SSIM {evaluation.primary} is the protocol's own",
    ]
    if changes:
        lines.append(f"not the shipped configuration: {'; '.join(changes)}")
    return "\n".join([*lines, "", _table(evaluation), "", *_summary(evaluation)])


def _table(evaluation: "Evaluation") -> str:
    header = ["image", "input dB", "dB", "SSIM gauss11", "SSIM uniform7", "MAE"]
    if not evaluation.ann:
        header += [*(["ANN dB"] if evaluation.compared else []), "spikes", "synops", "firing %"]
    rows: list[list[Any]] = []
    for image in evaluation.images:
        quality = image.quality
        row = [image.name, f"{image.input.psnr:.2f}", f"{quality.psnr:.2f}"]
        row += [f"{quality.gauss11:.4f}", f"{quality.uniform7:.4f}", f"{quality.mae:.4f}"]
        if image.ann is not None:
            row.append(f"{image.ann.psnr:.2f}")
        if not evaluation.ann:
            row += [f"{image.spikes:,}", f"{image.synops:,}", f"{100 * image.firing_rate:.2f}"]
        rows.append(row)
    return table(header, rows)


def _summary(evaluation: "Evaluation") -> list[str]:
    lines = [
        f"mean of {len(evaluation.images)}: {_quality(evaluation.mean())}",
        f"input: {_quality(evaluation.mean('input'))}",
    ]
    if evaluation.compared:
        of = "PSNR" if evaluation.rate_of_psnr else "PSNR and SSIM, their mean"
        rate = f"conversion rate {evaluation.conversion_rate:.2f} % (of the ANN's {of}; at most 100)"
        lines.append(f"ANN: {_quality(evaluation.mean('ann'))}; {rate}")
    dense = compared_with(evaluation.trained)
    lines.append(f"energy of an image, {evaluation.energy_model} (modelled, not measured)")
    for column in evaluation.mean_energy:
        if evaluation.ann:
            lines.append(f"  {column.name}: ANN {joules(column.ann)}")
        else:
            share = 100 * column.ratio
            lines.append(f"  {column.name}: {joules(column.snn)}, {dense} {joules(column.ann)} ({share:.1f} %)")
    return lines


def _quality(quality: "Quality") -> str:
    ssim = f"SSIM {quality.gauss11:.4f} (gauss11), {quality.uniform7:.4f} (uniform7)"
    return f"PSNR {quality.psnr:.3f} dB, {ssim}, MAE {quality.mae:.4f}"
