"""`nspike curve`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nspike.cli.configuration import choose, configuration, headline
from nspike.cli.guard import check_free, check_report, keep_apart, take_folder
from nspike.cli.meter import Meter
from nspike.cli.options import Machine, Wanted, choice_options, json_option, machine_options, overwrite_option
from nspike.cli.output import emit
from nspike.cli.progress import announce_compilation
from nspike.cli.text import one_line, table

if TYPE_CHECKING:
    from nspike.inspection.anytime import Curve


@click.command()
@click.argument("image")
@click.option("--reference", metavar="CLEAN", help="The clean image, to measure the quality against.")
@click.option(
    "--within", type=float, metavar="DB", help="With --reference, stop within so many dB of the best step. [0.1]"
)
@click.option(
    "--match",
    type=float,
    metavar="DB",
    help="Without --reference, stop at so many dB against the last step's image. [40]",
)
@click.option("--save-steps", metavar="FOLDER", help="Write the image after each step: NAME_step01.png, ...")
@choice_options()
@machine_options
@overwrite_option
@json_option
def command(
    image: str,
    reference: str | None,
    within: float | None,
    match: float | None,
    save_steps: str | None,
    wanted: Wanted,
    machine: Machine,
    overwrite: bool,
    json_file: str | None,
) -> None:
    """Show how good the image is after each step of one run, what it has cost until then, and where to stop.

    The image after step t is what the head reads at step t of the run, not that of another run with T = t. The last one
    is the image of `nspike run`.

    \b
    Examples:
      nspike curve noisy.png --reference clean.png
      nspike curve photo.png --match 45 --save-steps steps
      nspike curve noisy.png --reference clean.png --plugin if -T 20 --within 0.2 --json curve.json
    """
    from contextlib import ExitStack

    from nspike.errors import UsageError
    from nspike.files.atomic import check_writable
    from nspike.images import file as images
    from nspike.inspection.anytime import MATCH, WITHIN, check_levels, curve

    if within is not None and reference is None:
        raise UsageError("--within needs --reference: without one, --match says where to stop")
    if match is not None and reference is not None:
        raise UsageError("--match is for images without --reference; with one, --within says where to stop")
    levels = {"within": WITHIN if within is None else within, "match": MATCH if match is None else match}
    check_levels(**levels)
    folders = [] if save_steps is None else [save_steps]
    check_report("--json", json_file, (image, reference, wanted.model, *wanted.plugins), folders)
    if save_steps is not None:
        take_folder(save_steps)
    choice, read = choose(image, wanted, machine.max_pixels, steps=True)
    clean = None if reference is None else images.read(reference, max_pixels=machine.max_pixels).pixels
    targets = [] if save_steps is None else _targets(save_steps, image, choice)
    for target in targets:
        check_writable(target, folders)
        check_free(target, overwrite)
        keep_apart("--save-steps", target, (image, reference, json_file))
    announce_compilation()
    with ExitStack() as opened:
        outputs: list[Any] = []
        keep = _kept(outputs, opened) if targets else None
        with Meter(1) as meter:
            measured = curve(
                choice.model,
                read.pixels,
                reference=clean,
                keep=keep,
                scale=choice.scale,
                progress=meter.image(0),
                **machine.arguments(),
            )
        _write(targets, outputs, read, choice.scale)
    stop = measured.stop(**levels)
    report = {
        "image": image,
        "reference": reference,
        **configuration(choice),
        "steps": list(measured.steps),
        "stop": stop,
        "level": levels["match" if reference is None else "within"],
        "saved": [str(target) for target in targets],
        "seconds": measured.result.seconds,
    }
    text = [headline(image, choice), "", _table(measured), "", _stop(measured, stop, reference, levels)]
    if targets:
        text.append(f"images written to {one_line(targets[0])} .. {one_line(targets[-1].name)}")
    emit("\n".join(text), report, json_file)


def _targets(folder: str, image: str, choice: Any) -> list[Path]:
    from nspike.registry.parts import neuron_of

    count = choice.model.spiking.timesteps + neuron_of(choice.model).post_steps
    digits = max(2, len(str(count)))
    return [Path(folder) / f"{Path(image).stem}_step{step:0{digits}}.png" for step in range(1, count + 1)]


def _kept(outputs: list[Any], opened: Any) -> Any:
    """Arrays for the images of all steps, in files, which need no memory."""
    from tempfile import TemporaryDirectory

    import numpy as np

    folder = opened.enter_context(TemporaryDirectory(prefix="nspike-", ignore_cleanup_errors=True))
    opened.callback(outputs.clear)

    def keep(step: int, shape: tuple[int, ...], dtype: Any) -> Any:
        outputs.append(np.memmap(Path(folder) / str(step), dtype, "w+", shape=shape))
        return outputs[-1]

    return keep


def _write(targets: list[Path], outputs: list[Any], read: Any, scale: int | None) -> None:
    import numpy as np

    from nspike.images import file as images
    from nspike.restoration.batch import make_folder
    from nspike.restoration.job import finished

    for target, pixels in zip(targets, outputs, strict=True):
        make_folder(target.parent)
        images.write(target, finished(read, np.asarray(pixels), scale))


def _table(measured: "Curve") -> str:
    whole = measured.steps[-1].synops
    rows = [
        (
            f"{step.step}{' post' if step.post else ''}",
            f"{step.synops:,}",
            f"{100 * step.synops / whole:.1f} %" if whole else "-",
            *([] if step.psnr is None else [_decibels(step.psnr)]),
            _decibels(step.psnr_last),
        )
        for step in measured.steps
    ]
    against = [] if measured.steps[0].psnr is None else ["PSNR"]
    return table(("step", "synaptic operations", "of all", *against, "PSNR against the last"), rows)


def _stop(measured: "Curve", stop: int, reference: str | None, levels: dict[str, float]) -> str:
    step, last = measured.steps[stop - 1], measured.steps[-1]
    share = f", {100 * step.synops / last.synops:.0f} % of the operations" if last.synops else ""
    if reference is None:
        why = f"the first at {levels['match']:g} dB or more against the last"
    else:
        why = f"the first within {levels['within']:g} dB of the best"
    return f"stop at step {stop} of {last.step}: {why}{share}"


def _decibels(value: float) -> str:
    return "equal" if value == float("inf") else f"{value:.2f}"
