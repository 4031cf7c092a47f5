"""From a trained network's file to a model: the format reads it, the network's plugin recognises it."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nspike.contracts.architecture import Architecture, Task
from nspike.contracts.format import Checkpoint, check_finite, read_checkpoint, strip_prefixes
from nspike.errors import BadInputError, NspikeError, PluginError
from nspike.model.model import Info
from nspike.registry.plugins import registry
from nspike.restoration.method import Model
from nspike.runtime.explain import explain


def import_checkpoint(
    path: str | os.PathLike[str],
    network: str,
    *,
    format: str | None = None,
    name: str | None = None,
    task: Task | None = None,
    degradation: Mapping[str, Any] | None = None,
    licence: str = "",
    training: Mapping[str, Any] | None = None,
) -> Model:
    """Read a trained network.

    Parameters
    ----------
    path : the checkpoint.
    network : the name of its architecture.
    format : the name of the file's format; by default it is recognised by its content.
    name : of the model; by default the file's, without its suffix.
    task : by default the architecture's usual one.
    degradation : what it was trained to undo, such as {"sigma": 25.0} or {"scales": [2, 3, 4]}.
    licence, training : of the weights, and what they were trained on and how; kept in the model.

    Returns
    -------
    Model
        An ANN, without a spiking form; batch norm is not folded yet. Its provenance names the file, its SHA-256, format
        and architecture.

    Raises
    ------
    BadInputError
        that names the file: it cannot be read, is damaged or unsafe, is not of this network, or holds NaN.
    PluginError
        an unknown network or format.
    """
    path = Path(path)
    architecture: Architecture = registry().networks[network]
    checkpoint = _read(path, format)
    try:
        graph, parameters = architecture.read(checkpoint.tensors)
        for parameter, array in parameters.items():
            check_finite(parameter, array)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
    except (NspikeError, MemoryError):
        raise
    except Exception as error:
        raise PluginError(f"{path}: network {architecture.name} failed: {explain(error)}") from error
    provenance: dict[str, Any] = {
        "checkpoint": _utf8(path.name),
        "checkpoint_sha256": _sha256(path),
        "format": checkpoint.format,
        "architecture": architecture.name,
    }
    if training:
        provenance["training"] = dict(training)
    info = Info(
        name=_utf8(name or path.stem),
        task=task or architecture.task,
        colour=architecture.colour_of(graph),
        degradation=dict(degradation or {}),
        licence=licence,
        provenance=provenance,
    )
    return Model(info, graph, parameters)


def assumptions(model: Model) -> list[str]:
    """What an imported network is taken to be without its file saying so, a sentence each."""
    kernels = sorted({conv.kernel for conv in model.network.convs})
    sizes = " and ".join(f"{kernel}×{kernel}" for kernel in kernels)
    lines = [f"assumed: {sizes} kernels of stride 1 and dilation 1, padded with zeros; the file does not say"]
    architecture = registry().networks[model.info.provenance["architecture"]]
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
        checkpoint = chosen.read(path)
    except (NspikeError, MemoryError):
        raise
    except Exception as error:
        raise PluginError(f"{path}: a format's plugin failed: {explain(error)}") from error
    return Checkpoint(strip_prefixes(checkpoint.tensors), checkpoint.metadata, checkpoint.format or chosen.name)


def _utf8(name: str) -> str:
    """A file's name, with what is not UTF-8 in it escaped."""
    return name.encode(errors="backslashreplace").decode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
