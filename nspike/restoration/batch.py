"""Many images: which are meant, where each result goes, and which are done already.

A result of a run over several images has a record beside it, NAME.nspike.json: digests of the input, the model and the
output, the settings, the counts. It is written before the image, without the output's digest, and again after it: so a
run that was stopped anywhere can be started again and does what is left.
"""

import contextlib
import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from nspike.errors import BadInputError, OutputError, UsageError
from nspike.files.atomic import check_writable, write_bytes
from nspike.files.foreign import Refused, read_bytes
from nspike.images.file import WRITE_SUFFIXES, leads_nowhere, list_images

FORMAT = 1
STREAM = "-"
"""The name of standard input and output."""
_MAGIC = frozenset("*?[")
_LARGEST_RECORD = 1 << 20


class ExistsError(OutputError):
    """An output that is there already and may not be replaced."""


@dataclass(frozen=True)
class Job:
    """One image: where it is, where its result goes, its clean image if given, whether it gets a record.

    problem : why it cannot be run, known before anything runs; or None.
    data : the image's bytes, where they came from standard input; stream : where those of the result go, instead of to a file
    named `target`, of which only the suffix counts then.
    """

    source: Path
    target: Path
    reference: Path | None = None
    recorded: bool = False
    problem: str | None = None
    data: bytes | None = field(default=None, repr=False)
    stream: BinaryIO | None = None

    @property
    def record(self) -> Path:
        """The record's file."""
        return self.target.with_name(f"{self.target.stem}.nspike.json")


@dataclass(frozen=True)
class Naming:
    """What a result's file is called, where -o does not say.

    suffix : what stands behind the input's name; None for "_TASK" in the working folder, and nothing in another.
    extension : ".png" and the like.
    roots : folders whose own folders are made anew in the output's.
    """

    suffix: str | None = None
    extension: str = ".png"
    roots: tuple[Path, ...] = ()

    def name(self, source: Path, default: str) -> str:
        """The result's name, without its folder."""
        return f"{source.stem}{default if self.suffix is None else self.suffix}{self.extension}"

    def folder(self, source: Path) -> Path:
        """The folder, within the output's, of the result."""
        root = next((root for root in self.roots if source.is_relative_to(root)), source.parent)
        return source.parent.relative_to(root)


PLAIN = Naming()


def gather(
    arguments: Sequence[str], *, recursive: bool = False, output: str | None = None
) -> tuple[list[Path], bool, list[Path]]:
    """The images that the arguments name (files, folders, globs), each once, and whether a folder was among them.

    recursive : folders with the folders in them, but for hidden ones and `output`; no links to folders are followed.

    Last come the links in folders and of globs that lead nowhere. Hidden files are left out, as a shell's `*` leaves them.

    Raises BadInputError for a folder without images and a glob that matches none. A file need not exist.
    """
    images: dict[str, Path] = {}
    dangling: list[Path] = []
    folders = False
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            folders = True
            paths = _below(path, output, dangling) if recursive else list_images(path, dangling)
            if not paths:
                raise BadInputError(f"{argument}: there are no images in this folder{_but(dangling)}")
        elif _MAGIC & set(argument) and not path.exists():
            names = sorted(glob.glob(argument, recursive=True))
            dangling += [Path(name) for name in names if leads_nowhere(name)]
            paths = [Path(name) for name in names if os.path.isfile(name)]
            if not paths:
                raise BadInputError(f"{argument}: no file matches{_but(dangling)}")
        else:
            paths = [path]
        for path in paths:
            images.setdefault(os.path.realpath(path), path)
    return list(images.values()), folders, dangling


def _but(dangling: Sequence[Path]) -> str:
    return f", but a link to what is not there, {dangling[-1]}" if dangling else ""


def _below(folder: Path, output: str | None, dangling: list[Path]) -> list[Path]:
    """The images in a folder and its folders; `dangling` as for `list_images`."""

    def refuse(error: OSError) -> None:
        raise BadInputError(f"{error.filename}: {error.strerror}") from error

    left_out = None if output is None else os.path.realpath(output)
    images = []
    for parent, folders, _ in os.walk(folder, onerror=refuse):
        kept = [name for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [name for name in kept if os.path.realpath(os.path.join(parent, name)) != left_out]
        images += list_images(parent, dangling)
    return images


def without_record(folder: str) -> int:
    """How many images are in a folder and its folders that are no results of a run."""
    jobs = (Job(image, image) for image in _below(Path(folder), None, []))
    return sum(not os.path.lexists(job.record) for job in jobs)


def plan(
    sources: Sequence[Path],
    output: str | None,
    task: str,
    *,
    folder: bool = False,
    reference: str | None = None,
    naming: Naming = PLAIN,
) -> list[Job]:
    """Where each result goes.

    Parameters
    ----------
    sources : the images.
    output : a file for one image, or a folder (which need not exist) for any number; None for ./NAME_TASK.png; "-" for
        standard output.
    folder : whether the sources are those of a folder, which need an output.
    reference : the clean image of one, or the folder of all: NAME.*, or SCENE.* for NAME = SCENE_LEVEL.
    naming : what results are called.

    Inputs whose results would have one name get a `problem` that names them all.

    Raises
    ------
    UsageError
        no input whose result has a name of its own, a result that would replace an input, an output that does not suit.
    BadInputError
        a reference that is missing.
    """
    if output == STREAM:
        if len(sources) > 1 or folder:
            raise UsageError("only one image fits into standard output; give -o FOLDER")
        return [Job(sources[0], Path(f"{STREAM}{naming.extension}"), _reference(reference, sources[0], several=False))]
    if output is None and folder:
        raise UsageError("the images of a folder need -o FOLDER, which is made if it does not exist")
    into = Path(output) if output is not None and _is_folder(output, len(sources) > 1 or folder) else None
    recorded = into is not None or len(sources) > 1
    jobs = []
    for source in sources:
        if into is not None:
            target = into / naming.folder(source) / naming.name(source, "")
        else:
            target = Path(output) if output is not None else Path(naming.name(source, f"_{task}"))
        jobs.append(Job(source, target, _reference(reference, source, len(sources) > 1), recorded))
    return _check_names(jobs)


def _is_folder(output: str, several: bool) -> bool:
    path = Path(output)
    if path.is_dir() or output.endswith(("/", os.sep)):
        return True
    known = path.suffix.lower() in WRITE_SUFFIXES
    if several:
        if path.exists() or known:
            raise UsageError(f"-o {output}: several images need a folder, not a file")
        return True
    if not known:
        raise UsageError(
            f"-o {output}: expected an image's name ({', '.join(WRITE_SUFFIXES)}), or a folder, ending in a slash if new"
        )
    return False


def _check_names(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, with a problem where several would write one file."""
    inputs = {os.path.realpath(path): path for job in jobs for path in (job.source, job.reference) if path is not None}
    writers: dict[str, list[Job]] = {}
    for job in jobs:
        name = os.path.realpath(job.target)
        if name in inputs:
            raise UsageError(f"{job.source}: its result {job.target} would replace an input; give another -o")
        writers.setdefault(name, []).append(job)
    checked = []
    for job in jobs:
        others = writers[os.path.realpath(job.target)]
        problem = None
        if len(others) > 1:
            names = " and ".join(str(other.source) for other in others)
            problem = (
                f"{names} would {'both' if len(others) == 2 else 'all'} be written to {job.target}; run them apart"
            )
        checked.append(replace(job, problem=problem))
    if checked and all(job.problem for job in checked):
        raise UsageError(str(checked[0].problem))
    return checked


def _reference(reference: str | None, source: Path, several: bool) -> Path | None:
    if reference is None:
        return None
    path = Path(reference)
    if not path.is_dir():
        if several:
            raise UsageError(f"--reference {reference}: several images need the folder of their clean images")
        return path
    clean = {image.stem: image for image in reversed(list_images(path))}
    scene = source.stem
    while scene not in clean and "_" in scene:
        scene = scene.rpartition("_")[0]
    if scene not in clean:
        raise BadInputError(f"{source}: its clean image is not in {reference}")
    return clean[scene]


def check_target(job: Job) -> None:
    """Raise OutputError, before the work, where no result can be: a folder has its name, or no file can be made there."""
    for path in (job.target, job.record) if job.recorded else (job.target,):
        check_writable(path, [path.parent])


State = Literal["new", "done", "replace"]


def state(job: Job, settings: Mapping[str, Any], *, overwrite: bool) -> State:
    """Whether a job is to be done: "new", "done" already, or its result is to be replaced.

    Parameters
    ----------
    settings : everything that decides the result: digests of input and model, and what else its record holds of them.

    Raises ExistsError where the result is there, and is another, and `overwrite` is false.
    """
    if not os.path.lexists(job.target):
        return "new"
    why = "it exists already"
    if job.recorded:
        record = _read(job.record)
        if record is not None and record.get("settings") == _as_json(settings):
            written = record.get("output")
            if written is None:
                return "replace"  # ours, and stopped before it was complete
            if written == {"sha256": file_digest(job.target)}:
                return "done"
            why = "it has been changed since it was made"
        elif record is not None:
            why = f"it was made with other settings ({_difference(record.get('settings'), _as_json(settings))})"
        else:
            why = "it exists already, and has no record of how it was made"
    if overwrite:
        return "replace"
    raise ExistsError(f"{job.target}: {why}; --overwrite replaces it")


@contextlib.contextmanager
def recording(job: Job, settings: Mapping[str, Any], report: Mapping[str, Any], version: str) -> Iterator[None]:
    """Write a job's record around the writing of its image: before it without, after it with the report.

    Where the image cannot be written, the record is again what it was before: none, or that of the image that is there.
    """
    try:
        before = read_bytes(job.record, _LARGEST_RECORD)
    except (Refused, OSError):
        before = None
    write_record(job, settings, None, version)
    try:
        yield
    except Exception:
        with contextlib.suppress(OutputError, OSError):
            if before is None:
                job.record.unlink()
            else:
                write_bytes(job.record, before)
        raise
    kept = {name: value for name, value in report.items() if name not in ("input", "output", "state", "reference")}
    write_record(job, settings, kept, version)


def write_record(job: Job, settings: Mapping[str, Any], report: Mapping[str, Any] | None, version: str) -> None:
    """Write a job's record; with report None, that of an image that is not written yet."""
    record = {
        "format": FORMAT,
        "nspike": version,
        "settings": dict(settings),
        "output": None if report is None else {"sha256": file_digest(job.target)},
        "report": report,
    }
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(job.record, text.encode(errors="backslashreplace"))  # names that are not UTF-8


def recorded_report(job: Job) -> dict[str, Any]:
    """What was reported of a job that is done."""
    report = (_read(job.record) or {}).get("report")
    return report if isinstance(report, dict) else {}


def file_digest(path: Path) -> str:
    """The SHA-256 of a file. Raises BadInputError if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error


def make_folder(path: Path) -> None:
    """Make a folder for results if it is not there. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror or error}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {path}: permission denied")


def _read(path: Path) -> dict[str, Any] | None:
    """A record, or None where there is none that can be read."""
    try:
        record = json.loads(read_bytes(path, _LARGEST_RECORD))
    except (Refused, OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def _as_json(values: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(dict(values)))


def _difference(old: object, new: Mapping[str, Any]) -> str:
    """The first setting that differs."""
    if isinstance(old, dict):
        for name in [*new, *old]:
            if old.get(name) != new.get(name):
                return f"another {name}"
    return "unknown ones"
