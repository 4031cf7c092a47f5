"""`nspike run`."""

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nspike.cli.figures import describe
from nspike.cli.guard import keep_apart, take
from nspike.cli.meter import Meter
from nspike.cli.options import (
    Machine,
    Wanted,
    choice_options,
    inexact_option,
    json_option,
    machine_options,
    overwrite_option,
)
from nspike.cli.output import emit
from nspike.cli.parts import energy_models, parts_of
from nspike.cli.progress import announce_compilation
from nspike.cli.streams import print_error
from nspike.cli.text import printable
from nspike.runtime.version import VERSION

if TYPE_CHECKING:
    from nspike.restoration.batch import Job
    from nspike.restoration.choice import Chooser
    from nspike.restoration.job import Options

_EVERYWHERE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE|FOLDER]...")
@click.option("-o", "--output", metavar="OUT", help="A file for one image, a folder for any. [./NAME_TASK.png]")
@choice_options("neuron, head or energy model")
@click.option("--reference", metavar="CLEAN", help="The clean image, or the folder of them: prints the quality.")
@click.option("--ann", is_flag=True, help="Run the plain ANN instead of the spiking network.")
@machine_options
@inexact_option
@overwrite_option
@json_option
def command(
    images: tuple[str, ...],
    output: str | None,
    wanted: Wanted,
    reference: str | None,
    ann: bool,
    machine: Machine,
    inexact: bool,
    overwrite: bool,
    json_file: str | None,
) -> int:
    """Restore images: files, folders (the images directly in them) or globs; a bundled one if none is given.

    The results of several images have records beside them, NAME.nspike.json: the same command, given again, skips what
    is done and goes on where it was stopped.

    \b
    Examples:
      nspike run photo.png
      nspike run photos/ -o restored/ --sigma 25
      nspike run small.png --task superres --scale 2 -o large.png
      nspike run noisy.png --plugin if -T 20 --reference clean.png
    """
    from nspike.restoration.batch import gather, plan
    from nspike.restoration.bundled import image_for
    from nspike.restoration.choice import Chooser, Request
    from nspike.restoration.job import Options

    parts, energy = parts_of(wanted.plugins, ("neuron", "head", "energy"))
    chooser = Chooser(Request(neuron=parts.get("neuron"), head=parts.get("head"), ann=ann, **wanted.request()))
    if images:
        sources, folder = gather(images)
    else:
        source, clean = image_for(chooser.task)
        sources, folder = [source], False
        if chooser.task != "superres" or wanted.scale in (None, 2):
            reference = reference or str(clean)
        _note(f"no image given: restoring the bundled {source}", json_file)
    jobs = plan(sources, output, chooser.task, folder=folder, reference=reference)
    take(jobs[0].target.parent if jobs[0].recorded else jobs[0].target)
    own = [path for job in jobs for path in (job.source, job.reference, job.target)]
    keep_apart("--json", json_file, [*own, wanted.model, *wanted.plugins])
    for job in jobs:
        keep_apart("-o", job.target, (job.source, job.reference, wanted.model, *wanted.plugins))
    options = Options(
        energy or energy_models(),
        max_pixels=machine.max_pixels,
        overwrite=overwrite,
        inexact=inexact,
        **machine.arguments(),
    )
    announce_compilation()
    return _run(jobs, chooser, options, json_file)


def _run(jobs: "Sequence[Job]", chooser: "Chooser", options: "Options", json_file: str | None) -> int:
    """Do the jobs, and print; the exit code."""
    from nspike.errors import BadInputError, OutputError
    from nspike.restoration.job import process

    single = len(jobs) == 1 and not jobs[0].recorded
    reports: list[dict[str, Any]] = []
    try:
        with Meter(len(jobs)) as meter:
            for index, job in enumerate(jobs):
                try:
                    report = process(job, chooser, options, meter.image(index))
                except (BadInputError, OutputError, MemoryError) as error:
                    if single or not _alone(error):
                        raise
                    report = _failure(job, error)
                meter.clear()
                meter.image(index)(1, 1)
                reports.append(report)
                if not single:
                    _show(report, json_file)
    except KeyboardInterrupt:
        if not single:
            click.echo(f"{len(reports)} of {len(jobs)} images are done; the same command goes on from there", err=True)
        raise
    failed = [report for report in reports if report["state"] == "failed"]
    counts = {name: sum(r["state"] == name for r in reports) for name in ("restored", "skipped", "failed")}
    if single:
        text = describe(reports[0])
    else:
        text = ", ".join(f"{count} {name}" for name, count in counts.items())
        text += "".join(f"\n  {report['input']}: {report['error']}" for report in failed)
    emit(text, {"nspike": VERSION, **counts, "files": reports}, json_file)
    return 1 if failed else 0


def _alone(error: BaseException) -> bool:
    """Whether an error is one image's own; a full or read-only disk is not."""
    cause = error.__cause__
    return not (isinstance(cause, OSError) and cause.errno in _EVERYWHERE)


def _failure(job: "Job", error: BaseException) -> dict[str, Any]:
    message = str(error) or "there is not enough memory"
    prefix = f"{job.source}: "
    return {
        "input": str(job.source),
        "output": str(job.target),
        "state": "failed",
        "error": message.removeprefix(prefix),
    }


def _show(report: dict[str, Any], json_file: str | None) -> None:
    if report["state"] == "failed":
        print_error(printable(f"{report['input']}: {report['error']}"))
    elif json_file != "-":
        click.echo(printable(describe(report)))


def _note(text: str, json_file: str | None) -> None:
    click.echo(printable(text), err=json_file == "-")
