"""The Python API's way in and out: models by name or file, conversion by the names of plugins.

`nspike.restore`, `evaluate`, `import_checkpoint`, `audit` and `verify` are the functions of their modules.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nspike.model import Model

if TYPE_CHECKING:
    from nspike.conversion_report import Report

NEURON = "if"
CONVERTER = "rueckauer"
HEAD = "membrane"
HEADS = {"mprn": "cpm"}
"""The head that goes with a neuron, where it is not `HEAD`."""


def load(name_or_path: str | os.PathLike[str]) -> Model:
    """A model that is shipped with nspike, by its name, or that of a model file.

    Raises
    ------
    ModelError
        an unknown name (the nearest one is suggested), or a file that is missing, damaged or of a newer version.

    Examples
    --------
    >>> import nspike
    >>> model = nspike.load("dncnn-s25")  # doctest: +SKIP
    >>> result = model.run(pixels)  # doctest: +SKIP
    >>> result.image, result.ledger.spikes  # doctest: +SKIP
    """
    from nspike import models, weights

    return weights.load(models.find(name_or_path))


def save(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model file, with its integers if it is a spiking one; complete, or not at all.

    Raises
    ------
    ModelError
        the model is inconsistent.
    OutputError
        the file cannot be written.
    PluginError
        the model's neuron or head is unknown.
    """
    from nspike import weights
    from nspike.integers import as_arrays, build
    from nspike.parts import head_of, neuron_of

    integers = None if model.spiking is None else as_arrays(build(model, neuron_of(model), head_of(model)))
    weights.save(path, model, integers)


def convert(
    model: Model,
    pictures: str | os.PathLike[str] | Sequence[NDArray[np.float32]],
    *,
    converter: str = CONVERTER,
    options: Mapping[str, Any] | None = None,
    neuron: str = NEURON,
    neuron_parameters: Mapping[str, float] | None = None,
    head: str | None = None,
    timesteps: int = 10,
    targets: Sequence[NDArray[np.float32]] | None = None,
    crops: int = 64,
    crop_size: int = 64,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Model, "Report"]:
    """Convert an ANN to a spiking network.

    Parameters
    ----------
    model : an ANN, as `import_checkpoint` gives it.
    pictures : a folder, from which `crops` squares of `crop_size` pixels are drawn by `seed` and degraded as the model's
        info says; or what the network will be given, float32 (C, H, W) each, in [0, 1].
    converter, options : how scales are found, by name, and its options.
    neuron, neuron_parameters : by name, and its parameters, the same for every layer.
    head : by name; default: the one that goes with the neuron.
    timesteps : T.
    targets : the clean pictures, where `pictures` are arrays; only the report needs them.
    progress : called with (done, total).

    Returns
    -------
    (Model, Report)
        the model with a spiking form, and how well each layer's spikes carry the ANN's activations.

    Raises
    ------
    UsageError
        options, parameters or T out of range.
    BadInputError
        pictures that are missing, cannot be read or do not fit.
    PluginError
        unknown names.
    """
    from nspike.calibration import calibration_crops
    from nspike.converting import convert as convert_with
    from nspike.plugins import registry

    kinds = registry()
    neurons, method = kinds.neurons[neuron], kinds.converters[converter]
    reader = kinds.heads[head or HEADS.get(neuron, HEAD)]
    drawn = {}
    if isinstance(pictures, str | os.PathLike):
        drawn = {"crops": crops, "crop_size": crop_size, "seed": seed}
        pictures, targets = calibration_crops(model, pictures, crops=crops, size=crop_size, seed=seed)
    converted, report = convert_with(
        model,
        pictures,
        converter=method,
        neuron=neurons,
        head=reader,
        options=options,
        neuron_parameters=neuron_parameters,
        timesteps=timesteps,
        targets=targets,
        threads=threads,
        progress=progress,
    )
    if drawn:
        provenance = {**converted.info.provenance, "calibration": drawn}
        converted = replace(converted, info=replace(converted.info, provenance=provenance))
    return converted, report
