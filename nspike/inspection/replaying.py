"""Replaying: the recorded spikes of one layer, fed into the rest of the network.

What the output still needs is run, as in `nspike.engine.run`, on the same image; the recorded layer, and layers that only it
reads, are not. So the ledger begins with what is run: of the recorded layer it has the spikes and the operations that they
cause, but no updates of neurons. Where the rest of the network has another neuron, the network has the most post steps of
both, and a neuron does not fire in post steps that it does not have. A trace made elsewhere is taken to be of the model's
neuron.
"""

import os
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.neuron import Neuron
from nspike.engine.given import Given
from nspike.engine.run import plane_digest
from nspike.engine.window import Rect
from nspike.errors import BadInputError, UsageError
from nspike.images import file as images
from nspike.inspection.traces import Trace, damage, read_trace
from nspike.inspection.tracing import ImageSource, read_image
from nspike.inspection.trains import Train
from nspike.model import file as weights
from nspike.model.model import OUTPUT, Model, expect_model
from nspike.model.result import Result
from nspike.registry.parts import check, neuron_of, spiking_of
from nspike.registry.plugins import registry
from nspike.restoration.execute import MEMORY, Progress, prepare
from nspike.runtime.caller import way


def replay(
    trace: Trace | str | os.PathLike[str],
    model: Model,
    image: ImageSource,
    *,
    layer: str | None = None,
    model_digest: str | None = None,
    scale: int | None = None,
    tile: int | None = None,
    memory: int | str = MEMORY,
    threads: int | None = None,
    max_pixels: int = images.MAX_PIXELS,
    progress: Progress | None = None,
) -> Result:
    """Feed the recorded spikes of a layer into the rest of a network.

    Parameters
    ----------
    trace : of the whole image, or its file; nspike's own or one made elsewhere, and perhaps changed since.
    model : what the rest is; its neuron and head may have been swapped.
    image : the traced one, a file or pixels.
    layer : which; needed where the trace holds several.
    model_digest : of the model as it is in its file, if that is not what `model` is now.
    scale : of a super-resolution; by default the trace's.
    tile, memory, threads, progress : as for `nspike.restore`.

    Returns
    -------
    Result
        the restored image, and the ledger with digests of all that was replayed and run.

    Raises BadInputError for a trace of a window, another image or another model, or one that does not fit; UsageError for
    an unknown layer, or a neuron that cannot go on from these spikes; ModelError, PluginError.
    """
    expect_model(model)
    check(model)
    if not isinstance(trace, Trace):
        with read_trace(trace) as opened:
            return replay(
                opened,
                model,
                image,
                layer=layer,
                model_digest=model_digest,
                scale=scale,
                tile=tile,
                memory=memory,
                threads=threads,
                max_pixels=max_pixels,
                progress=progress,
            )
    name = _layer(trace, layer, model)
    _check_model(trace, model, model_digest)
    pixels, _ = read_image(image, max_pixels)
    if scale is None and trace.info is not None:
        scale = trace.info["input"].get("scale")
    train = trace.trains[name]
    given = Given(name, _neuron(trace, model), train.shape, partial(_read, trace.name, train))
    ready = prepare(model, pixels, scale=scale, tile=tile, memory=memory, threads=threads, given=given)
    if trace.info is not None and plane_digest(ready.planes) != trace.info["input"]["plane_sha256"]:
        raise BadInputError(f"{trace.name} is of another image than this one; replay it on the one that was traced")
    return ready.run(digest=True, progress=progress)


def changed_steps(trace: Trace, layer: str, result: Result) -> list[int]:
    """The steps, from 1, at which what was replayed is no longer what was recorded; none where that is not known."""
    if trace.info is None:
        return []
    entry: dict[str, Any] = next(entry for entry in trace.info["layers"] if entry["name"] == layer)
    replayed = next(each.digests for each in result.ledger.layers if each.name == layer)
    recorded = entry.get("sha256") or []
    return [step for step, (old, new) in enumerate(zip(recorded, replayed, strict=False), start=1) if old != new]


def _layer(trace: Trace, layer: str | None, model: Model) -> str:
    if layer is None:
        if len(trace.layers) != 1:
            which = way("--layer NAME", "layer=NAME")
            raise UsageError(f"{trace.name} holds several layers; say which ({which}): {', '.join(trace.layers)}")
        layer = trace.layers[0]
    trace.train(layer)
    if layer == OUTPUT:
        raise UsageError(
            "the output layer cannot be replayed: the head reads its membranes too, which no trace holds; take a layer "
            "before it"
        )
    known = [activation.name for activation in model.network.activations]
    if layer not in known:
        raise BadInputError(f"model {model.info.name} has no layer {layer!r}; it has: {', '.join(known)}")
    if not trace.whole:
        raise BadInputError(
            f"{trace.name} holds a window of the image; a replay needs the whole layer: trace it without a window"
        )
    return layer


def _check_model(trace: Trace, model: Model, model_digest: str | None) -> None:
    if trace.info is None:
        return
    recorded, digest = trace.info["model"], model_digest or weights.digest(model)
    if recorded["digest"] != digest:
        raise BadInputError(
            f"{trace.name} is of another model: {recorded['name']!r}, {recorded['digest']}; this is "
            f"{model.info.name!r}, {digest}"
        )
    traced, timesteps = trace.info["parameters"]["timesteps"], spiking_of(model).timesteps
    if traced != timesteps:
        raise UsageError(f"{trace.name} has T = {traced}, and the model T = {timesteps}; they must be the same")


def _neuron(trace: Trace, model: Model) -> Neuron:
    """The neuron that fired the recorded spikes."""
    if trace.info is None:
        return neuron_of(model)
    return registry().neurons[trace.info["parameters"]["neuron"]]


def _read(name: str, train: Train, n: int, step: int, where: Rect) -> NDArray[np.bool_]:
    with damage(name):
        return train.read(n, step, (where.y0, where.y1), (where.x0, where.x1))
