"""`nspike audit`."""

from pathlib import Path
from typing import Any

import click

from nspike.cli.configuration import refuse_head_parameters
from nspike.cli.figures import energy_text
from nspike.cli.guard import check_report, take
from nspike.cli.meter import Meter
from nspike.cli.options import Machine, Wanted, choice_options, inexact_option, machine_options, take_file
from nspike.cli.output import write_report
from nspike.cli.parts import energy_models, parts_of
from nspike.cli.progress import announce_compilation
from nspike.cli.reference import clean_image, in_words, quality
from nspike.cli.streams import print_error, print_json
from nspike.cli.text import one_line, printable, table
from nspike.cli.times import Times, timed
from nspike.runtime.words import counted


@click.command()
@click.argument("image", required=False)
@click.option(
    "--json", "json_file", metavar="FILE", callback=take_file, help="Write the certificate; - for standard output."
)
@click.option("--report", "report_file", metavar="FILE", help="Write a page to look at (HTML; needs nspike[report]).")
@click.option("--reference", metavar="CLEAN", help="The clean image: prints the quality, in the page too.")
@click.option("--ann", is_flag=True, help="Also run the plain ANN, for its time beside.")
@click.option("--verify", "verified", metavar="FILE", help="Verify this certificate instead of making one.")
@choice_options("neuron, head or energy model")
@machine_options
@inexact_option
def command(
    image: str | None,
    json_file: str | None,
    report_file: str | None,
    reference: str | None,
    ann: bool,
    verified: str | None,
    wanted: Wanted,
    machine: Machine,
    inexact: bool,
) -> int:
    """Run an image and certify every spike, or verify a certificate by running again.

    A certificate holds digests of the file, the input, the model and of every layer's spikes at every step, and the exact
    counts. It is the same, byte for byte, for any number of threads, any tile and any machine. Verifying needs the same
    image (looked for beside the certificate and here, if not named) and the same model.

    \b
    Examples:
      nspike audit photo.png --json certificate.json
      nspike audit photo.png --report audit.html --ann
      nspike audit noisy.png --report audit.html --reference clean.png
      nspike audit --verify certificate.json
      nspike audit photo.png --verify certificate.json --model my.h5
    """
    from nspike.errors import UsageError

    read = (image, verified, reference, wanted.model, *wanted.plugins)
    check_report("--json", json_file, read)
    check_report("--report", report_file, (*read, json_file))
    if report_file is not None:
        take(report_file)
    how = machine.arguments() | {"max_pixels": machine.max_pixels}
    if verified is not None:
        named = [spec for spec in wanted.plugins if not spec.endswith(".py")]
        given = wanted.given() | {"--model": None, "--plugin": named, "--report": report_file, "--ann": ann}
        given |= {"--inexact": inexact, "--reference": reference}
        for option, value in given.items():
            if value not in (None, (), [], False):
                why = (
                    "--verify takes it from the certificate"
                    if option in wanted.given()
                    else "leave it out with --verify"
                )
                raise UsageError(f"{option} is for making a certificate; {why}")
        parts_of(wanted.plugins, KINDS)  # loads the files; their neuron or head is used where the certificate names it
        return _verify(verified, image, wanted.model, json_file, how)
    if image is None:
        raise UsageError("name an image to audit, or a certificate to verify (--verify FILE)")
    if inexact and json_file is not None:
        raise UsageError("--inexact makes no certificate: leave --json out")
    if inexact:
        how = {**how, "inexact": True}
    return _make(image, wanted, json_file, report_file, reference, ann, how)


KINDS = ("neuron", "head", "energy")
ENERGY = ("horowitz45", "memory45", "quantised45")
"""The energy models that an audit prints side by side, where none is named."""


def _make(
    image: str,
    wanted: Wanted,
    json_file: str | None,
    report_file: str | None,
    reference: str | None,
    ann: bool,
    how: dict[str, Any],
) -> int:
    from nspike.errors import UsageError
    from nspike.files.atomic import write_bytes
    from nspike.images import file as images
    from nspike.inspection.auditing import audit
    from nspike.inspection.certificate import dumps
    from nspike.model.model import check_plain
    from nspike.restoration.choice import Chooser, Request

    parts, energy = parts_of(wanted.plugins, KINDS)
    energy = energy or energy_models(ENERGY)
    missing: UsageError | None = None
    if report_file is not None:
        from nspike.report.page import check_extra

        try:
            check_extra()
        except UsageError as error:
            if json_file is None:
                raise
            missing, report_file = error, None  # the certificate is made without
    chooser = Chooser(Request(neuron=parts.get("neuron"), head=parts.get("head"), **wanted.request()))
    original = images.read(image, max_pixels=how["max_pixels"])
    pixels = original.pixels
    choice = chooser.choose(pixels, original.blocks)
    if ann:
        check_plain(choice.model)
    refuse_head_parameters(choice.model, wanted)
    clean = None if reference is None else clean_image(reference, pixels, choice.scale, how["max_pixels"])
    announce_compilation()
    maps = None if report_file is None else _maps(choice, pixels)
    if maps is not None:
        how = {**how, "tile": how["tile"] or REPORT_TILE, "observer": maps}
    with Meter(1) as meter:
        done, times = timed(
            audit, choice.model, image, model_digest=choice.digest, scale=choice.scale, progress=meter.image(0), **how
        )
    ann_times = _ann_times(choice, pixels, how) if ann else None
    measured = None if clean is None else quality(pixels, done.result.image, clean)
    text = dumps(done.certificate)
    if json_file not in (None, "-"):
        write_bytes(str(json_file), text.encode())
    if report_file is not None:
        command = _command(image, wanted, choice)
        told = {"times": times, "ann_times": ann_times, "quality": measured}
        _write_report(report_file, image, pixels, choice, done, maps, energy, command, told)
    if json_file == "-":
        print_json(text)
    if missing is not None:
        raise missing
    if json_file == "-":
        return 0
    extra = "digests" if report_file is None else "digests and maps"
    click.echo(printable(_describe(image, choice, done)))
    if measured is not None:
        click.echo(f"against {one_line(reference)}: {in_words(measured)}")
    click.echo(
        printable("\n" + energy_text(energy, done.result.ledger, times, ann_times, extra, choice.model.info.trained))
    )
    for what, file in (("certificate", json_file), ("report", report_file)):
        if file is not None:
            click.echo(f"{what} written to {one_line(file)}")
    return 0


REPORT_TILE = 192
"""Side of a tile while maps are gathered: they see every spike unpacked."""


def _maps(choice: Any, pixels: Any) -> Any:
    from nspike.integer.rounding import neurons_of
    from nspike.model.model import OUTPUT
    from nspike.registry.parts import neuron_of
    from nspike.report.maps import RateMaps

    network, info = choice.model.network, choice.model.info
    luma = info.colour == "y" if network.scale > 1 else info.task == "superres"
    color = pixels.ndim == 3 and network.channels == 1 and not luma
    enlarged, multiple = 1 if network.scale > 1 else choice.scale or 1, network.size_multiple
    height, width = (-(-enlarged * side // multiple) * multiple for side in pixels.shape[:2])
    return RateMaps(
        3 if color else 1,
        height,
        width,
        choice.model.spiking.timesteps,
        {name: len(neuron.planes) for name, neuron in neurons_of(network, neuron_of(choice.model)).items()},
        {**network.scales, OUTPUT: network.scales[network.output]},
    )


def _ann_times(choice: Any, pixels: Any, how: dict[str, Any]) -> Times:
    from nspike.restoration.image import restore

    kept = {name: how[name] for name in ("memory", "threads")}
    return timed(lambda: restore(choice.model, pixels, scale=choice.scale, ann=True, **kept))[1]


def _command(image: str, wanted: Wanted, choice: Any) -> list[str]:
    """What repeats the run, with the names of files alone."""
    words = ["nspike", "audit", Path(image).name]
    words += ["--model", Path(wanted.model).name if wanted.model is not None else choice.name]
    words += ["--scale", str(choice.scale)] if choice.scale is not None else []
    words += [word for spec in wanted.plugins for word in ("--plugin", Path(spec).name)]
    words += ["-T", str(wanted.timesteps)] if wanted.timesteps is not None else []
    words += [word for pair in wanted.pairs for word in ("--set", pair)]
    return [*words, "--json", "certificate.json"]


def _write_report(
    file: str,
    image: str,
    pixels: Any,
    choice: Any,
    done: Any,
    maps: Any,
    energy: list[Any],
    command: list[str],
    told: dict[str, Any],
) -> None:
    from nspike.report.page import Story, write
    from nspike.report.residual import residuals
    from nspike.restoration.way import input_planes

    story = Story(
        image=Path(image).name,
        pixels=pixels,
        audit=done,
        maps=maps,
        energy=energy,
        residuals=residuals(choice.model, input_planes(choice.model, pixels, choice.scale)),
        model_name=choice.name,
        changes=choice.changes,
        notes=[*choice.notes, *(f"warning: {warning}" for warning in choice.warnings)],
        command=command,
        trained=choice.model.info.trained,
        **told,
    )
    write(file, story)


def _describe(image: str, choice: Any, done: Any) -> str:
    ledger, values = done.result.ledger, done.certificate
    parameters = values["parameters"]
    lines = [
        f"{one_line(image)}: model {choice.name}, {parameters['neuron']}, {parameters['head']}, T = {parameters['timesteps']}"
        + (f" + {parameters['post_steps']}" if parameters["post_steps"] else "")
    ]
    lines += [f"not the shipped configuration: {change}" for change in choice.changes]
    lines += [*choice.notes, *(f"warning: {warning}" for warning in choice.warnings), ""]
    rows = []
    for layer in ledger.layers:
        neurons = int(layer.neuron_updates[0])
        spikes = int(layer.events.sum())
        rate = f"{100 * spikes / (neurons * ledger.timesteps):.2f} %"
        first = layer.digests[-1][:12]
        rows.append((layer.name, f"{neurons:,}", f"{spikes:,}", rate, f"{int(layer.synops.sum()):,}", first))
    lines.append(table(("layer", "neurons", "spikes", "rate", "synaptic operations", "last step"), rows))
    totals = values["totals"]
    lines += ["", f"spikes {totals['spikes']:,}, synaptic operations {totals['synops']:,}"]
    return "\n".join(lines)


def _verify(verified: str, image: str | None, model: str | None, json_file: str | None, how: dict[str, Any]) -> int:
    import nspike
    from nspike.inspection.auditing import image_of, model_of, verify
    from nspike.inspection.certificate import read

    stored = read(verified)
    loaded = nspike.load(model) if model is not None else model_of(stored)
    source = Path(image) if image is not None else image_of(stored, [Path(verified).parent, Path()])
    announce_compilation()
    with Meter(1) as meter:
        differences = verify(stored, loaded, source, progress=meter.image(0), **how)
    report = {"certificate": verified, "image": str(source), "holds": not differences, "differences": differences}
    write_report(report, json_file)
    if json_file == "-":
        return 1 if differences else 0
    if not differences:
        layers, steps = len(stored["layers"]), sum(stored["parameters"][key] for key in ("timesteps", "post_steps"))
        click.echo(
            f"{one_line(verified)} holds: {one_line(source)}, {counted(layers, 'layer')}, {counted(steps, 'step')}, "
            "every spike the same"
        )
        return 0
    print_error(one_line(f"{verified} does not hold. First difference: {differences[0]}"))
    for difference in differences[1:10]:
        print_error(one_line(f"  {difference}"))
    if len(differences) > 10:
        print_error(f"  and {len(differences) - 10} more")
    return 1
