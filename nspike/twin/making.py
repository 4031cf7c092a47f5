"""A model to a PyTorch module and back; PyTorch is loaded when one is made."""

import io
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nspike.errors import BadInputError, NspikeError, UsageError
from nspike.files.atomic import write_bytes
from nspike.graph.layer import Activation
from nspike.restoration.method import Model
from nspike.trainable.plain import initial_ceilings
from nspike.twin.state import is_twin, read_state

if TYPE_CHECKING:
    from nspike.twin.modules import Twin


def to_torch(
    model: Model | str | os.PathLike[str],
    *,
    ann: bool = False,
    activation: Literal["relu", "clipped", "qcfs"] | None = None,
    levels: int = 8,
    images: Any = None,
    percentile: float = 99.9,
    per: Literal["layer", "channel"] = "layer",
    **options: Any,
) -> "Twin":
    """A model as a `torch.nn.Module` with the same forward pass, in evaluation mode on the CPU.

    Parameters
    ----------
    model : a model, the name of one that is shipped, a model file, or the state dict of such a module.
    ann : the plain network of a converted model, without its spiking form, instead of the spiking one.
    activation : of a plain network, instead of its own: ReLUs, ReLUs with a ceiling that is trained, or QCFS of `levels`
        levels, which the converter `qcfs` makes neurons of. Batch norm is kept.
    images : for ceilings, floats (N, C, H, W) in [0, 1]: they start at that `percentile` of the positive activations, one
        for each layer or channel (`per`), unless the network has ceilings.
    options : of a spiking network `surrogate` (a name or function), `follow_reset` (True), and `dtype` (torch.float64, in which
        the spikes are the engine's; torch.float32 is faster on most GPUs, and changes a spike now and then).

    Returns
    -------
    torch.nn.Module
        `module(images, sigma=None)` gives the restored images (N, C, H, W), not clipped; a spiking one's `run` also the spikes
        and firing rates. Its `state_dict` holds the model that it was made from, so that `nspike import` and this function
        read it.

    Raises
    ------
    UsageError
        without PyTorch, or for options that a module of this form does not have.
    PluginError
        a neuron with a kernel of its own, or one or a head that no plugin has.
    ModelError, BadInputError
        a file that cannot be read.
    """
    _torch()
    given = _read(model)
    if given.spiking is not None and not ann:
        from nspike.twin.spiking import SpikingTwin

        if activation is not None:
            raise UsageError(
                "activation is of a plain network; this one is spiking: give ann=True for its plain network"
            )
        if unknown := sorted(set(options) - {"surrogate", "follow_reset", "dtype"}):
            raise UsageError(f"there is no option {unknown[0]!r}; a spiking module has: surrogate, follow_reset, dtype")
        return SpikingTwin(given, **options).eval()  # type: ignore[no-any-return]
    from nspike.twin.plain import PlainTwin

    if options:
        raise UsageError(f"{sorted(options)[0]!r} is an option of spiking modules; this one is of a plain network")
    plain = replace(given, spiking=None)
    if activation is not None:
        plain = _activated(plain, activation, levels, images, percentile, per)
    return PlainTwin(plain).eval()  # type: ignore[no-any-return]


def from_torch(module: Any) -> Model:
    """The model of a module that `to_torch` made, with its parameters as they are now; wrappers of PyTorch are seen through.

    Raises UsageError for another module, ModelError where a parameter is not finite.
    """
    _torch()
    from nspike.twin.modules import Twin

    inner = module
    while not isinstance(inner, Twin):
        inner = getattr(inner, "module", None) or getattr(inner, "_orig_mod", None)
        if inner is None:
            raise UsageError(f"not a module of nspike.to_torch: {type(module).__name__}")
    return inner.to_model()


def export_torch(model: Model, path: str | os.PathLike[str], *, ann: bool = False) -> list[str]:
    """Write the state dict of a model's module, as `torch.save` does; returns its keys.

    Raises as `to_torch` does, and OutputError.
    """
    module = to_torch(model, ann=ann)
    state, content = module.state_dict(), io.BytesIO()
    _torch().save(state, content)
    write_bytes(path, content.getvalue())
    return list(state)


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UsageError('this needs PyTorch, which is not installed; pip install "nspike[torch]"') from error
    return torch


def _read(model: Model | str | os.PathLike[str]) -> Model:
    """The model, or that of a name or file."""
    from nspike.contracts.format import read_checkpoint
    from nspike.registry.plugins import registry
    from nspike.restoration.opening import load

    if isinstance(model, Model):
        return model
    path = Path(model)
    if path.suffix.lower() not in (".pt", ".pth", ".safetensors") or not path.is_file():
        return load(model)
    tensors = read_checkpoint(path, registry().formats.values()).tensors
    if not is_twin(tensors):
        raise BadInputError(
            f"{path}: not a state dict of nspike's; import it first: nspike import {path} --network NAME"
        )
    try:
        return read_state(tensors)[0]
    except NspikeError as error:
        raise type(error)(f"{path}: {error}") from error


def _activated(
    model: Model, kind: str, levels: int, images: Any, percentile: float, per: Literal["layer", "channel"]
) -> Model:
    """A plain model with activations of one kind."""
    if kind not in ("relu", "clipped", "qcfs"):
        raise UsageError(f"there is no activation {kind!r}; expected relu, clipped or qcfs")
    if levels < 1 or not 50 <= percentile <= 100:
        raise UsageError(
            f"activations have levels of 1 or more and a percentile from 50 to 100, not {levels} and {percentile:g}"
        )
    ceilings: Mapping[str, Any] = {}
    if kind != "relu":
        ceilings = {layer.name: np.array(layer.ceiling) for layer in model.network.activations}
        if any(layer.ceiling is None for layer in model.network.activations):
            if images is None:
                raise UsageError(
                    f"activation {kind!r} needs images: ceilings start where the activations of some images end; give a "
                    "batch, floats (N, C, H, W) in [0, 1]"
                )
            batch = np.asarray(images, np.float32)
            ceilings = initial_ceilings(model, batch, percentile=percentile, per=per)

    def changed(layer: Activation) -> Activation:
        if kind == "relu":
            return replace(layer, ceiling=None, levels=None)
        ceiling = tuple(float(np.float32(value)) for value in ceilings[layer.name].ravel())
        return replace(layer, ceiling=ceiling, levels=levels if kind == "qcfs" else None)

    return replace(model, network=model.network.changed(Activation, changed))
