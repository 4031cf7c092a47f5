"""`nspike run`."""

import errno
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from nspike.cli.figures import describe
from nspike.cli.guard import check_report, keep_apart, take, take_folder
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
from nspike.cli.output import write_report
from nspike.cli.parts import energy_models, parts_of
from nspike.cli.progress import about, announce_compilation
from nspike.cli.streams import print_error
from nspike.cli.text import error_text, one_line, printable
from nspike.runtime.words import counted

if TYPE_CHECKING:
    from nspike.restoration.batch import Job, Naming
    from nspike.restoration.choice import Chooser
    from nspike.restoration.estimate import Estimate
    from nspike.restoration.job import Options

_EVERYWHERE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_LOSSY = (".jpg", ".jpeg", ".webp")
_SAME = {".jpeg": ".jpg", ".tiff": ".tif"}


@dataclass(frozen=True)
class _Voice:
    """Where text goes: to stderr if something else is on stdout."""

    stdout_taken: bool

    def say(self, text: str) -> None:
        click.echo(printable(text), err=self.stdout_taken)

    def aside(self, text: str) -> None:
        click.echo(printable(text), err=True)


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE|FOLDER|-]...")
@click.option(
    "-o", "--output", metavar="OUT", help="A file for one image, a folder for any, - for stdout. [./NAME_TASK.png]"
)
@click.option("-r", "--recursive", is_flag=True, help="Take the folders in a folder too; OUT gets the same ones.")
@click.option(
    "--format", "kind", type=click.Choice(["png", "jpg", "tif", "webp"]), help="The format of the results. [png]"
)
@click.option(
    "--quality", type=click.IntRange(1, 100), metavar="N", help="Quality of JPEG (else 95) or WebP (else exact)."
)
@click.option("--suffix", metavar="TEXT", help="What stands behind a result's name. [_TASK, or nothing in a folder]")
@choice_options("neuron, head or energy model")
@click.option("--reference", metavar="CLEAN", help="The clean image, or the folder of them: prints the quality.")
@click.option("--ann", is_flag=True, help="Run the plain ANN instead of the spiking network.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="S",
    help="The share of what is restored in the result, 0 to 1; the rest is the input.",
)
@machine_options
@inexact_option
@overwrite_option
@json_option
def command(
    images: tuple[str, ...],
    output: str | None,
    recursive: bool,
    kind: str | None,
    quality: int | None,
    suffix: str | None,
    wanted: Wanted,
    reference: str | None,
    ann: bool,
    strength: float,
    machine: Machine,
    inexact: bool,
    overwrite: bool,
    json_file: str | None,
) -> int:
    """Restore images: files, folders (the images directly in them, but for hidden ones) or globs; a bundled one if none is
    given. With -, the image comes from standard input, and the result goes to standard output unless -o says otherwise.

    The results of several images have records beside them, NAME.nspike.json: the same command, given again, skips what
    is done and goes on where it was stopped.

    \b
    Examples:
      nspike run photo.png
      nspike run photos/ -o restored/ --sigma 25
      nspike run small.png --task superres --scale 2 -o large.png
      nspike run noisy.png --plugin if -T 20 --reference clean.png
    """
    from nspike.errors import UsageError
    from nspike.restoration.batch import STREAM, gather, plan, without_record
    from nspike.restoration.bundled import image_for
    from nspike.restoration.choice import Chooser, Request
    from nspike.restoration.job import Options

    parts, energy = parts_of(wanted.plugins, ("neuron", "head", "energy"))
    spare = not (wanted.plugins or wanted.timesteps or wanted.pairs)  # who names parts wants them to run
    chooser = Chooser(
        Request(neuron=parts.get("neuron"), head=parts.get("head"), ann=ann, spare=spare, **wanted.request())
    )
    if STREAM in images:
        output = STREAM if output is None else output
    voice = _Voice(STREAM in (output, json_file))
    if output == json_file == STREAM:
        raise UsageError("the result and --json cannot both go to standard output")
    naming = _naming(images, kind, suffix, recursive)
    data = None
    if STREAM in images:
        if len(images) > 1:
            raise UsageError("- is one image, from standard input; it cannot be given with others")
        data, sources, folder = _standard_input(machine.max_pixels), [Path(STREAM)], False
    elif images:
        sources, folder, dangling = gather(images, recursive=recursive, output=output)
        if dangling:
            voice.aside(
                f"left out: {counted(len(dangling), 'link')} to what is not there, such as {one_line(dangling[0])}"
            )
    else:
        source, clean = image_for(chooser.task)
        sources, folder = [source], False
        if chooser.task != "superres" or wanted.scale in (None, 2):
            reference = reference or str(clean)
        voice.say(f"no image given: restoring the bundled {one_line(source)}")
    jobs = plan(sources, output, chooser.task, folder=folder, reference=reference, naming=naming)
    _check_outputs(jobs, output, kind, suffix, quality)
    if data is not None:
        if jobs[0].recorded:
            raise UsageError(f"-o {output}: what comes from standard input needs a file's name")
        jobs = [replace(jobs[0], data=data)]
    own = [path for job in jobs for path in (job.source, job.reference, job.target)]
    check_report("--json", json_file, [*own, wanted.model, *wanted.plugins], [job.target.parent for job in jobs])
    if output == STREAM:
        jobs = [replace(jobs[0], stream=_standard_output())]
    elif jobs[0].recorded:
        take_folder(output or jobs[0].target.parent)
    else:
        take(jobs[0].target, [jobs[0].target.parent])
    for job in jobs if output != STREAM else ():
        keep_apart("-o", job.target, (job.source, job.reference, wanted.model, *wanted.plugins))
    inside = recursive and output is not None and any(_inside(output, path) for path in images)
    if inside and (left_out := without_record(str(output))):
        voice.aside(f"left out: {counted(left_out, 'image')} in {one_line(output)}, where results go")
    options = Options(
        energy or energy_models(),
        max_pixels=machine.max_pixels,
        overwrite=overwrite,
        inexact=inexact,
        strength=strength,
        quality=quality,
        **machine.arguments(),
    )
    announce_compilation()
    return _run(jobs, chooser, options, json_file, voice)


def _naming(images: Sequence[str], kind: str | None, suffix: str | None, recursive: bool) -> "Naming":
    from nspike.errors import UsageError
    from nspike.restoration.batch import Naming

    if suffix is not None and ("/" in suffix or "\\" in suffix or "\0" in suffix):
        raise UsageError(f"--suffix {suffix!r}: a part of a file's name cannot hold a slash")
    roots = tuple(path for path in map(Path, images) if path.is_dir()) if recursive else ()
    return Naming(suffix, f".{kind or 'png'}", roots)


def _inside(output: str, folder: str) -> bool:
    """Whether `output` is a folder below another one."""
    inner, outer = Path(output).resolve(), Path(folder).resolve()
    return inner.is_dir() and outer in inner.parents


def _check_outputs(
    jobs: "Sequence[Job]", output: str | None, kind: str | None, suffix: str | None, quality: int | None
) -> None:
    """Raise UsageError for options that the results' names do not allow."""
    from nspike.errors import UsageError
    from nspike.restoration.batch import STREAM

    given = jobs[0].target.suffix.lower()
    if output not in (None, STREAM) and not jobs[0].recorded:
        if suffix is not None:
            raise UsageError(f"-o {output} is the whole name; leave out --suffix")
        if kind is not None and _SAME.get(given, given) != f".{kind}":
            raise UsageError(f"-o {output} is no {kind}; leave out --format, or give another name")
    if quality is not None and given not in _LOSSY:
        raise UsageError("--quality is for JPEG and WebP; give --format jpg or webp")


def _standard_input(max_pixels: int) -> bytes:
    """All of standard input. Raises UsageError if it is a terminal, BadInputError if it is too large."""
    from nspike.errors import BadInputError, UsageError
    from nspike.images.file import largest_file

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads an image from standard input, and none is piped in")
    limit = largest_file(max_pixels)
    data = sys.stdin.buffer.read(limit + 1)
    if len(data) > limit:
        raise BadInputError("standard input: is too large for an image of --max-pixels")
    return data


def _standard_output() -> BinaryIO:
    """Standard output for bytes. Raises UsageError if it is a terminal."""
    from nspike.errors import UsageError

    if sys.stdout.isatty():
        raise UsageError("the result would be written to the terminal; give -o FILE, or redirect standard output")
    return sys.stdout.buffer


def _run(jobs: "Sequence[Job]", chooser: "Chooser", options: "Options", json_file: str | None, voice: _Voice) -> int:
    """Do the jobs, and print; the exit code."""
    from nspike.errors import BadInputError, OutputError
    from nspike.restoration.job import process

    if problems := list(dict.fromkeys(job.problem for job in jobs if job.problem is not None)):
        print_error("\n".join(map(one_line, problems)))
    single = len(jobs) == 1 and not jobs[0].recorded
    reports: list[dict[str, Any]] = []
    try:
        with Meter(len(jobs)) as meter:
            announced = False

            def announce(estimate: "Estimate") -> None:
                nonlocal announced
                if not announced:
                    meter.clear()
                    voice.aside(_time(estimate, len(jobs) - len(reports)))
                announced = True

            for index, job in enumerate(jobs):
                try:
                    report = process(job, chooser, options, meter.image(index), None if announced else announce)
                except (BadInputError, OutputError, MemoryError) as error:
                    if single or not _alone(error):
                        raise
                    report = _failure(job, error)
                meter.image(index)(1, 1)
                meter.clear()
                reports.append(report)
                if not single and report["state"] != "failed" and not voice.stdout_taken:
                    voice.say(describe(report))
    except BaseException as error:
        _tell_failures(jobs, reports)
        if isinstance(error, KeyboardInterrupt) and not single:
            click.echo(f"{len(reports)} of {len(jobs)} images done; the same command goes on from there", err=True)
        raise
    _tell_failures(jobs, reports)
    failed = [report for report in reports if report["state"] == "failed"]
    counts = {name: sum(r["state"] == name for r in reports) for name in ("restored", "unchanged", "skipped", "failed")}
    if single:
        text = describe(reports[0])
    else:
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name != "unchanged")
    write_report({**counts, "files": reports}, json_file)
    if json_file != "-":
        voice.say(text)
    return 1 if failed else 0


def _alone(error: BaseException) -> bool:
    """Whether an error is one image's own; a full or read-only disk is not."""
    cause = error.__cause__
    return not (isinstance(cause, OSError) and cause.errno in _EVERYWHERE)


def _failure(job: "Job", error: BaseException) -> dict[str, Any]:
    text = str(error) or "there is not enough memory"
    prefix = f"{job.source}: "
    return {
        "input": str(job.source),
        "output": str(job.target),
        "state": "failed",
        "error": text.removeprefix(prefix),
    }


def _tell_failures(jobs: "Sequence[Job]", reports: Sequence[Mapping[str, Any]]) -> None:
    """Print what could not be restored, but for what was told before the run."""
    for job, report in zip(jobs, reports, strict=False):
        if report["state"] == "failed" and job.problem is None:
            print_error(error_text(f"{report['input']}: {report['error']}"))


def _time(estimate: "Estimate", images: int) -> str:
    """How long it will take; of several images, of the first."""
    text = f"about {about(estimate.seconds)}"
    if estimate.ann_seconds is not None:
        text += f"; the plain network takes {about(estimate.ann_seconds)}: --ann"
    return text if images == 1 else f"the first of {images} images: {text}"
