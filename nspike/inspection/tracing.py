"""Tracing: a run whose spikes are kept in a file, whole layers or a window of the image."""

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from nspike.engine.window import Rect
from nspike.errors import UsageError, nearest
from nspike.files.atomic import replacing, same_file
from nspike.images import file as images
from nspike.inspection.auditing import model_of, with_parts
from nspike.inspection.certificate import certificate
from nspike.inspection.trace_file import Shape, Writer, describe
from nspike.inspection.traces import Trace
from nspike.integer.rounding import IntegerNetwork
from nspike.model import file as weights
from nspike.model.model import OUTPUT, Model, expect_model
from nspike.model.result import Result
from nspike.registry.parts import swap
from nspike.restoration.execute import MEMORY, Progress, prepare
from nspike.restoration.opening import load
from nspike.runtime.arguments import names, whole
from nspike.runtime.caller import either

ImageSource = str | os.PathLike[str] | NDArray[Any]


def trace(
    model: Model,
    image: ImageSource,
    path: str | os.PathLike[str],
    *,
    layers: Sequence[str] | None = None,
    window: tuple[int, int, int, int] | None = None,
    model_digest: str | None = None,
    scale: int | None = None,
    tile: int | None = None,
    memory: int | str = MEMORY,
    threads: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
    progress: Progress | None = None,
) -> Result:
    """Run `model` on an image and write the spikes to the file `path`, which is complete or not there.

    Parameters
    ----------
    model : with a spiking form; its parts may have been swapped.
    image : a file, or pixels as `nspike.restore` takes them.
    layers : the names of those to keep; by default all that fire.
    window : x, y, width, height of what to keep of the network's image (which super-resolution has enlarged, and which is
        padded where layers have several sizes); by default all of it. Of layers of another size the same part is kept.
    model_digest : of the model as it is in its file, if that is not what `model` is now.
    scale, tile, memory, threads, progress : as for `nspike.restore`; but for `scale`, none changes the trace.

    Returns
    -------
    Result
        the restored image, and the ledger with digests.

    Raises BadInputError, ModelError, UsageError, PluginError, OutputError.
    """
    expect_model(model)
    names(layers=layers)
    if isinstance(image, str | os.PathLike) and same_file(os.fspath(image), os.fspath(path)):
        raise UsageError(f"the trace {os.fspath(path)} would replace the image; give another name")
    pixels, file_digest = read_image(image, max_pixels)
    ready = prepare(model, pixels, scale=scale, tile=tile, memory=memory, threads=threads)
    integers, (count, _, height, width) = ready.program.integers, ready.planes.shape
    network = integers.network
    chosen, part = _chosen(integers, layers), _window(window, width, height, network.size_multiple)
    stages = [stage for stage in integers.stages if stage.name in chosen]
    sizes = {s.name: network.scales[network.output if s.name == OUTPUT else s.name] or Fraction(1) for s in stages}
    shapes = {s.name: Shape(count, integers.steps, s.channels * len(s.neuron.planes), sizes[s.name]) for s in stages}
    with replacing(path) as beside, Writer(beside, os.fspath(path), shapes, part) as writer:
        result = ready.run(digest=True, progress=progress, observer=writer.record)
        values = certificate(
            model,
            model_digest or weights.digest(model),
            ready.neuron,
            ready.head,
            result.ledger,
            file_digest=file_digest,
            scale=ready.scale,
            image=result.image,
        )
        gains = {stage.name: stage.neuron.planes for stage in stages}
        whole = part == Rect(0, height, 0, width)
        writer.finish(describe(values, part, shapes, gains, writer.events, whole=whole))
    return result


def read_image(image: ImageSource, max_pixels: int) -> tuple[NDArray[Any], str | None]:
    """The pixels of an image, and the SHA-256 of its file, None for an array."""
    if isinstance(image, str | os.PathLike):
        opened = images.read(image, max_pixels=max_pixels)
        return opened.pixels, opened.sha256
    return image, None


def _chosen(integers: IntegerNetwork, layers: Sequence[str] | None) -> set[str]:
    known = [stage.name for stage in integers.stages if stage.name != OUTPUT or integers.head.fires]
    for name in layers or ():
        if name not in known:
            why = (
                f"head {integers.head.name} has no neuron in the output layer, which therefore has no spikes."
                if name == OUTPUT
                else f"the model has no layer {name!r}.{nearest(name, known)}"
            )
            raise UsageError(f"{why} Layers that fire: {', '.join(known)}")
    return set(layers or known)


def _window(window: tuple[int, int, int, int] | None, width: int, height: int, multiple: int) -> Rect:
    if window is None:
        return Rect(0, height, 0, width)
    if not isinstance(window, list | tuple) or len(window) != 4:
        raise UsageError(f"window = {window!r}; expected x, y, width and height")
    x, y, w, h = window
    whole(x=x, y=y, width=w, height=h)
    if w < 1 or h < 1:
        raise UsageError(f"the window is {w}x{h} pixels; expected at least 1x1")
    if x < 0 or y < 0 or x + w > width or y + h > height:
        raise UsageError(
            f"the window, {w}x{h} from ({x}, {y}) on, lies outside the image, which is {width}x{height} for the network"
        )
    if any(side % multiple for side in window):
        raise UsageError(
            f"the window, {w}x{h} from ({x}, {y}) on, must lie on multiples of {multiple} pixels: this network has layers of "
            f"other sizes than the image, which is {width}x{height} for it"
        )
    return Rect(y, y + h, x, x + w)


def model_of_trace(
    trace: Trace,
    name: str | None = None,
    *,
    neuron: str | None = None,
    head: str | None = None,
    timesteps: int | None = None,
    parameters: Mapping[str, float] | None = None,
) -> tuple[Model, str]:
    """The model that a trace was made with, and its digest as in its file; or another by name, or with other parts.

    The neuron's parameters are those of the trace, unless the model is another one.

    Raises ModelError where it is not shipped and not named.
    """
    if trace.info is None:
        raise UsageError(f"{trace.name} does not say of which model it is; name one{either(' with --model', '')}")
    model = load(name) if name is not None else model_of(trace.info)
    recorded = trace.info["parameters"]
    digest = weights.digest(model)
    if name is None:
        model = with_parts(model, recorded)
    swapped, _ = swap(
        model,
        neuron=neuron or recorded["neuron"],
        head=head or recorded["head"],
        timesteps=timesteps or recorded["timesteps"],
        parameters=parameters,
    )
    return swapped, digest
