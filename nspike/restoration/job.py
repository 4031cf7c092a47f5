"""One image of a run, from its file to its result's file, with what it cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.energy import EnergyModel, break_even
from nspike.degradations.protocols import compare
from nspike.errors import BadInputError
from nspike.files.atomic import write_bytes
from nspike.images import file as images
from nspike.model.result import Result
from nspike.restoration.batch import STREAM, Job, check_target, make_folder, recorded_report, recording, state
from nspike.restoration.choice import Choice, Chooser
from nspike.restoration.estimate import Estimate, estimated
from nspike.restoration.execute import MEMORY, Progress
from nspike.restoration.image import restore
from nspike.restoration.inputs import enlarged
from nspike.runtime.version import VERSION


@dataclass(frozen=True)
class Options:
    """How images are run, and written.

    inexact : a neuron that computes with floats may be run.
    strength : the share of what is restored in the result; quality : of JPEG and WebP files, 1 to 100.
    The others change no result.
    """

    energy: Sequence[EnergyModel] = ()
    tile: int | None = None
    memory: int = MEMORY
    threads: int | None = None
    max_pixels: int = images.MAX_PIXELS
    overwrite: bool = False
    inexact: bool = False
    strength: float = 1.0
    quality: int | None = None


def process(
    job: Job,
    chooser: Chooser,
    options: Options,
    progress: Progress | None = None,
    announce: Callable[[Estimate], None] | None = None,
) -> dict[str, Any]:
    """Restore one image, or find that it is done.

    announce : is told, before the work, how long it will take, where that is long.

    Returns
    -------
    dict
        plain values: input, output, state ("restored", "unchanged" where there is too little noise, or "skipped" with what the
        record says), model, changes, notes,
        warnings, size, quality, counts, energy, seconds.

    Raises
    ------
    NspikeError
        as reading, `Chooser.choose`, `state`, `nspike.restore` and writing do; nothing half-written is left.
    """
    if job.problem is not None:
        raise BadInputError(job.problem)
    if job.stream is None:
        check_target(job)
    if job.stream is None and not job.recorded:
        state(job, {}, overwrite=options.overwrite)  # before the work
    original = _read(job, options.max_pixels)
    choice = chooser.choose(original.pixels, original.blocks)
    settings = _settings(original, choice, chooser, options)
    report: dict[str, Any] = {
        "input": str(job.source),
        "output": STREAM if job.stream is not None else str(job.target),
    }
    if job.recorded and state(job, settings, overwrite=options.overwrite) == "done":
        return {**recorded_report(job), **report, "state": "skipped"}
    if job.stream is None:
        make_folder(job.target.parent)
    kind = images.check_kept(job.target, original, choice.scale or 1)
    clean = None if job.reference is None else _clean(job, original.pixels, choice.scale or 1, options.max_pixels)
    if choice.enough is not None:
        image = original.pixels
        report |= {"state": "unchanged", **_unchanged(choice, chooser, image)}
    else:
        ann = chooser.request.ann
        if announce is not None:
            estimate = estimated(
                choice.model,
                original.pixels,
                choice.scale,
                ann=ann,
                inexact=options.inexact,
                memory=options.memory,
                threads=options.threads,
            )
            if estimate is not None:
                announce(estimate)
        result = restore(
            choice.model,
            original.pixels,
            scale=choice.scale,
            tile=options.tile,
            ann=ann,
            progress=progress,
            inexact=options.inexact,
            strength=options.strength,
            memory=options.memory,
            threads=options.threads,
        )
        image = result.image
        report |= {"state": "restored", **_report(choice, chooser, options, result)}
    if clean is not None:
        report |= {"reference": str(job.reference), "quality": _quality(original.pixels, image, clean)}
        if choice.changes and choice.enough is None:
            report["quality"]["shipped"] = _shipped(choice, original.pixels, clean, options)
    restored = finished(original, image, choice.scale)
    if lost := images.left_out(job.target, restored):
        report["warnings"] = [*report.get("warnings", ()), f"left out: {' and '.join(lost)}, which {kind} cannot hold"]
    data = images.encode(job.target, restored, quality=options.quality)
    if job.stream is not None:
        job.stream.write(data)
        job.stream.flush()
    elif not job.recorded:
        write_bytes(job.target, data)
    else:
        with recording(job, settings, report, VERSION):
            write_bytes(job.target, data)
    return report


def _read(job: Job, max_pixels: int) -> images.ImageData:
    if job.data is not None:
        return images.decode(job.data, Path("standard input"), max_pixels=max_pixels)
    return images.read(job.source, max_pixels=max_pixels)


def finished(original: images.ImageData, image: NDArray[Any], scale: int | None) -> images.ImageData:
    """The image with the result in it; its alpha enlarged as the result is."""
    alpha = original.alpha
    if alpha is not None and scale not in (None, 1):
        alpha = enlarged(alpha, scale or 1)
    return replace(original, pixels=image, alpha=alpha)


def _settings(original: images.ImageData, choice: Choice, chooser: Chooser, options: Options) -> dict[str, Any]:
    """Everything that decides a result."""
    spiking = choice.model.spiking
    parts = {} if chooser.request.ann or spiking is None else {
        "neuron": spiking.neuron,
        "head": spiking.head,
        "T": spiking.timesteps,
    }  # fmt: skip
    if chooser.request.parameters:
        parts["parameters"] = dict(chooser.request.parameters)
    if choice.enough is not None:
        parts["unchanged"] = True
    if choice.told is not None:
        parts["sigma"] = choice.told
    if options.strength != 1:
        parts["strength"] = options.strength
    if options.quality is not None:
        parts["quality"] = options.quality
    return {
        "input": original.sha256,
        "model": choice.digest,
        "network": "ann" if chooser.request.ann else "snn",
        **parts,
        "scale": choice.scale,
    }


def _unchanged(choice: Choice, chooser: Chooser, image: NDArray[Any]) -> dict[str, Any]:
    """The report of an image that is written as it is."""
    note = f"below {choice.enough:.1f} no model is worth running: the image is unchanged; --sigma {choice.enough:.0f} runs it"
    return {
        "task": chooser.task,
        "notes": [f"noise estimated: {choice.noise}", note],
        "sigma": choice.sigma,
        "size": list(image.shape),
    }


def _report(choice: Choice, chooser: Chooser, options: Options, result: Result) -> dict[str, Any]:
    ledger, spiking, ann = result.ledger, choice.model.spiking, chooser.request.ann
    height, width = result.image.shape[:2]
    report: dict[str, Any] = {
        "task": chooser.task,
        "model": choice.name,
        "model_digest": choice.digest,
        "network": "ann" if ann else "snn",
        "trained": choice.model.info.trained,
        "changes": list(choice.changes),
        "notes": list(choice.notes),
        "warnings": list(choice.warnings),
        "sigma": choice.sigma,
        "scale": choice.scale,
        "strength": options.strength,
        "size": list(result.image.shape),
        "seconds": result.seconds,
        "megapixels_per_second": height * width / 1e6 / result.seconds,
    }
    if not ann and spiking is not None:
        report |= {
            "neuron": spiking.neuron,
            "head": spiking.head,
            "T": ledger.timesteps,
            "post_steps": ledger.post_steps,
            "spikes": ledger.spikes,
            "synops": ledger.synops,
            "synops_paper": ledger.synops_paper,
            "firing_rate": ledger.firing_rate,
            "most_spikes": ledger.most_spikes,
        }
    report["energy"] = {
        model.name: {
            "source": model.source,
            "note": "modelled, not measured",
            "columns": {
                column.name: {"ann": column.ann}
                | ({} if ann else {"snn": column.snn, "ratio": column.ratio, "break_even": rate})
                for column, rate in zip(model.price(ledger), break_even(model, ledger), strict=True)
            },
        }
        for model in options.energy
    }
    return report


def _clean(job: Job, source: NDArray[Any], scale: int, max_pixels: int) -> NDArray[Any]:
    """The clean image, of the size that the result will have."""
    assert job.reference is not None
    clean = images.read(job.reference, max_pixels=max_pixels).pixels
    expected = (scale * source.shape[0], scale * source.shape[1], *source.shape[2:])
    if clean.shape != expected:
        raise BadInputError(
            f"{job.reference}: is {_shape(clean.shape)}, but the result of {job.source} will be {_shape(expected)}"
        )
    return clean


def _quality(source: NDArray[Any], image: NDArray[Any], clean: NDArray[Any]) -> dict[str, Any]:
    """Of the input and of the output against the clean image; an input that is smaller is enlarged by bicubic."""
    if source.shape != image.shape:
        scale, channels = image.shape[0] // source.shape[0], source.reshape(*source.shape[:2], -1)
        larger = [enlarged(channels[..., c], scale) for c in range(channels.shape[2])]
        source = np.stack(larger, axis=-1).reshape(image.shape)
    unit = float(np.iinfo(clean.dtype).max)
    return {
        name: compare(pixels, clean, 1.0, unit=unit).figures()
        for name, pixels in (("input", source), ("output", image))
    }


def _shipped(choice: Choice, source: NDArray[Any], clean: NDArray[Any], options: Options) -> dict[str, float | None]:
    """The quality of the result of the shipped configuration, which is run for that."""
    result = restore(
        choice.shipped,
        source,
        scale=choice.scale,
        tile=options.tile,
        memory=options.memory,
        threads=options.threads,
    )
    return compare(result.image, clean, 1.0, unit=float(np.iinfo(clean.dtype).max)).figures()


def _shape(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} {'grey' if len(shape) == 2 else 'RGB'}"
