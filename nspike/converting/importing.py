"""From a trained network's file to a model: the format reads it, the network's plugin recognises it."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.architecture import Architecture, Colour, Task
from nspike.contracts.format import Checkpoint, check_finite, read_checkpoint, tidied
from nspike.errors import BadInputError, ModelError, NspikeError, PluginError, UsageError
from nspike.graph.geometry import parameter_shapes
from nspike.graph.layer import Constant
from nspike.graph.mode import OutputMode
from nspike.graph.network import Network
from nspike.model.model import Info
from nspike.registry.plugins import registry
from nspike.restoration.method import Model
from nspike.runtime.caller import way
from nspike.runtime.explain import explain
from nspike.twin.state import is_twin, read_state


def import_checkpoint(
    path: str | os.PathLike[str],
    network: str | None = None,
    *,
    format: str | None = None,
    name: str | None = None,
    task: Task | None = None,
    mode: OutputMode | None = None,
    degradation: Mapping[str, Any] | None = None,
    licence: str = "",
    training: Mapping[str, Any] | None = None,
) -> Model:
    """Read a trained network.

    Parameters
    ----------
    path : the checkpoint.
    network : the name of its architecture; None for a file that says itself what is computed, as ONNX does.
    format : the name of the file's format; by default it is recognised by its content.
    name : of the model; by default the file's, without its suffix.
    task : by default the architecture's usual one; without one "superres" if the network enlarges, else "denoise". Of a network
        that is told the noise level, that plane is zeros for other tasks.
    mode : how its output becomes an image, if not as the architecture or the file says, see `nspike.graph.mode`.
    degradation : what it was trained to undo, such as {"sigma": 25.0} or {"scales": [2, 3, 4]}. A network that is told the
        noise level gets this one.
    licence, training : of the weights, and what they were trained on and how; kept in the model.

    Returns
    -------
    Model
        An ANN, without a spiking form; batch norm is not folded yet. Its provenance names the file, its SHA-256, format
        and architecture. Of the state dict of a module that `nspike.to_torch` made, the model with what was trained.

    Raises
    ------
    BadInputError
        that names the file: it cannot be read, is damaged or unsafe, is not of this network, or holds NaN.
    PluginError
        an unknown network or format.
    UsageError
        no network is named and the file does not say which it is, or both.
    """
    path = Path(path)
    architecture: Architecture | None = None if network is None else registry().networks[network]
    checkpoint = _read(path, format)
    if is_twin(checkpoint.tensors):
        told = {"network": network, "task": task, "mode": mode, "degradation": degradation or None}
        return _from_twin(path, checkpoint, name, licence, [key for key, value in told.items() if value is not None])
    undone = dict(degradation or {})
    graph, parameters = _network(path, checkpoint, architecture, undone)
    if mode is not None:
        try:
            graph = replace(graph, mode=mode)
        except ModelError as error:
            raise UsageError(f"{path}: {error}") from error
    if isinstance(undone.get("sigma"), int | float):
        graph = graph.changed(Constant, lambda layer: _told(layer, float(undone["sigma"])))
    provenance: dict[str, Any] = {
        "checkpoint": _utf8(path.name),
        "checkpoint_sha256": _sha256(path),
        "format": checkpoint.format,
    }
    if architecture is not None:
        provenance["architecture"] = architecture.name
    if checkpoint.assumed:
        provenance["assumed"] = list(checkpoint.assumed)
    if training:
        provenance["training"] = dict(training)
    usual: Task = architecture.task if architecture is not None else "superres" if graph.scale > 1 else "denoise"
    task = task or usual
    if task != "denoise":
        graph = graph.changed(Constant, _untold)
    info = Info(
        name=_utf8(name or path.stem),
        task=task,
        colour=architecture.colour_of(graph) if architecture is not None else _colour(graph, task),
        degradation=undone,
        licence=licence,
        provenance=provenance,
        trained=architecture.trained if architecture is not None else "plain",
    )
    return Model(info, graph, parameters)


def _from_twin(path: Path, checkpoint: Checkpoint, name: str | None, licence: str, told: list[str]) -> Model:
    """The model of a state dict of a module that `nspike export --format torch` or `to_torch` made."""
    if told:
        raise UsageError(f"{path}: the state dict holds its model, which says that itself; leave out the {told[0]}")
    try:
        model, _ = read_state(checkpoint.tensors)
    except NspikeError as error:
        raise type(error)(f"{path}: {error}") from error
    info = replace(model.info, name=_utf8(name or model.info.name), licence=licence or model.info.licence)
    return replace(model, info=info)


def _network(
    path: Path, checkpoint: Checkpoint, architecture: Architecture | None, degradation: Mapping[str, Any]
) -> tuple[Network, dict[str, NDArray[np.float32]]]:
    """The network of a file and its parameters, finite and of the right shapes."""
    if checkpoint.network is None and architecture is None:
        raise UsageError(
            f"{path}: {checkpoint.format} files hold weights alone; say which architecture it is: "
            f"{way('--network NAME', 'network=NAME')}, such as dncnn, aodnet or vdsr"
        )
    if checkpoint.network is not None and architecture is not None:
        raise UsageError(f"{path}: the file says itself what is computed; leave out the network {architecture.name}")
    try:
        if architecture is not None:
            graph, parameters = architecture.network_of(checkpoint.tensors, degradation)
        else:
            assert checkpoint.network is not None
            graph, parameters = checkpoint.network, cast(dict[str, NDArray[np.float32]], dict(checkpoint.tensors))
            expected = {name: shape for layer in graph.layers for name, shape in parameter_shapes(layer).items()}
            given = {name: array.shape for name, array in parameters.items()}
            if given != expected:
                raise PluginError(
                    f"{path}: format {checkpoint.format} gives parameters that are not those of its network"
                )
        for parameter, array in parameters.items():
            check_finite(parameter, array)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
    except (NspikeError, MemoryError):
        raise
    except Exception as error:
        name = checkpoint.format if architecture is None else architecture.name
        raise PluginError(f"{path}: network {name} failed: {explain(error)}") from error
    return graph, parameters


def _told(layer: Constant, sigma: float) -> Constant:
    """A plane of the noise level with this one, of 255."""
    return replace(layer, values=(sigma / 255,) * len(layer.values)) if layer.meaning == "sigma" else layer


def _untold(layer: Constant) -> Constant:
    """A noise level that the network was trained without: zeros."""
    return replace(layer, values=(0.0,) * len(layer.values), meaning="") if layer.meaning == "sigma" else layer


def _colour(graph: Network, task: Task) -> Colour:
    """The image that a network takes of which no architecture is known."""
    return "rgb" if graph.channels == 3 else "y" if task == "superres" else "gray"


def assumptions(model: Model) -> list[str]:
    """What an imported network is taken to be without its file saying so, a sentence each."""
    name = model.info.provenance.get("architecture")
    if name is None:
        return [f"assumed: {line}" for line in model.info.provenance.get("assumed", [])]
    kernels = sorted({conv.kernel for conv in model.network.convs})
    sizes = " and ".join(f"{kernel}×{kernel}" for kernel in kernels)
    lines = [f"assumed: {sizes} kernels of stride 1 and dilation 1, padded with zeros; the file does not say"]
    architecture = registry().networks[name]
    if architecture.same_keys:
        lines.append(
            f"files of {', '.join(architecture.same_keys)} have the same keys; if it may be one, compare its output: --check"
        )
    return lines


def _read(path: Path, format: str | None) -> Checkpoint:
    chosen = None if format is None else registry().formats[format]
    try:
        if chosen is None:
            return read_checkpoint(path, registry().formats.values())
        if not path.is_file():
            raise BadInputError(f"{path}: no such file")
        return tidied(chosen.read(path), chosen.name)
    except (NspikeError, MemoryError):
        raise
    except Exception as error:
        raise PluginError(f"{path}: a format's plugin failed: {explain(error)}") from error


def _utf8(name: str) -> str:
    """A file's name, with what is not UTF-8 in it escaped."""
    return name.encode(errors="backslashreplace").decode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
