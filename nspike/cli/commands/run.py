"""`nspike run`."""

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nspike.cli.common import choice_options, emit, inexact_option, json_option, keep_apart, machine_options
from nspike.cli.figures import describe
from nspike.cli.meter import Meter
from nspike.cli.text import printable
from nspike.runtime.version import VERSION

if TYPE_CHECKING:
    from nspike.restoration.batch import Job
    from nspike.restoration.choice import Chooser
    from nspike.restoration.job import Options

_EVERYWHERE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
KINDS = ("neuron", "head", "energy")
"""The kinds of plugins that a run can use."""


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE|FOLDER]...")
@click.option("-o", "--output", metavar="OUT", help="A file for one image, a folder for any. [./NAME_TASK.png]")
@choice_options
@click.option("--reference", metavar="CLEAN", help="The clean image, or the folder of them: prints the quality.")
@click.option("--ann", is_flag=True, help="Run the plain ANN instead of the spiking network.")
@machine_options
@inexact_option
@click.option("--overwrite", is_flag=True, help="Replace results that are there already.")
@json_option
def command(
    images: tuple[str, ...],
    output: str | None,
    task: Any,
    sigma: float | None,
    scale: int | None,
    model: str | None,
    plugins: tuple[str, ...],
    timesteps: int | None,
    threads: int | None,
    tile: int | None,
    memory: int,
    reference: str | None,
    ann: bool,
    max_pixels: int,
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

    parts, energy = parts_of(plugins)
    chooser = Chooser(
        Request(model, task, sigma, scale, parts.get("neuron"), parts.get("head"), timesteps, ann),
    )
    if images:
        sources, folder = gather(images)
    else:
        source, clean = image_for(chooser.task)
        sources, folder = [source], False
        if chooser.task != "superres" or scale in (None, 2):
            reference = reference or str(clean)
        _note(f"no image given: restoring the bundled {source}", json_file)
    jobs = plan(sources, output, chooser.task, folder=folder, reference=reference)
    keep_apart(
        "--json", json_file, [path for job in jobs for path in (job.source, job.reference, job.target)] + [model]
    )
    options = Options(energy, tile, memory, threads, max_pixels, overwrite, inexact)
    announce_compilation()
    return _run(jobs, chooser, options, json_file)


def parts_of(
    plugins: Sequence[str], kinds: tuple[str, ...] = KINDS, usual: Sequence[str] = ("horowitz45",)
) -> tuple[dict[str, str], list[Any]]:
    """The neuron and head by name, and the energy models (the usual ones if none is named)."""
    from nspike.errors import PluginError, UsageError
    from nspike.registry.plugins import registry

    parts: dict[str, str] = {}
    energy: list[Any] = []
    for spec in plugins:
        try:
            kind, plugin = registry().resolve(spec, kinds)
        except PluginError as error:
            if other := _other_kind(spec, kinds):
                raise UsageError(
                    f"--plugin {spec}: a {other} cannot be used here, only a {', '.join(kinds)}"
                ) from error
            raise
        if kind == "energy":
            energy.append(plugin)
        elif kind in parts and parts[kind] != plugin.name:
            raise UsageError(f"--plugin names two {kind}s, {parts[kind]} and {plugin.name}; give one")
        else:
            parts[kind] = plugin.name
    return parts, energy or [registry().energy_models[name] for name in usual]


def _other_kind(spec: str, kinds: tuple[str, ...]) -> str | None:
    """The kind of a working plugin that a run cannot use."""
    from nspike.errors import PluginError
    from nspike.registry.plugins import registry

    try:
        return registry().resolve(spec, [k for k in (*KINDS, "converter", "network", "format") if k not in kinds])[0]
    except PluginError:
        return None


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
        click.echo(printable(f"{report['input']}: {report['error']}"), err=True)
    elif json_file != "-":
        click.echo(printable(describe(report)))


def _note(text: str, json_file: str | None) -> None:
    click.echo(printable(text), err=json_file == "-")


def announce_compilation() -> None:
    """Say, if so, that the kernels are compiled now, once."""
    from nspike.kernels import compile_notice

    if notice := compile_notice():
        click.echo(notice, err=True)
