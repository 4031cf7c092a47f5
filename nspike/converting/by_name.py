"""Conversion by the names of plugins, and the parts that are taken where none is named."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.converting.report import ConversionReport
from nspike.errors import UsageError
from nspike.model.model import expect_model
from nspike.restoration.method import Model
from nspike.runtime.arguments import mappings, whole

NEURON = "if"
CONVERTER = "rueckauer"
HEAD = "membrane"
HEADS = {"mprn": "cpm"}
"""The head that goes with a neuron, where it is not `HEAD`."""


def convert(
    model: Model,
    images: str | os.PathLike[str] | Sequence[NDArray[np.float32]] = (),
    *,
    converter: str = CONVERTER,
    options: Mapping[str, Any] | None = None,
    neuron: str = NEURON,
    neuron_parameters: Mapping[str, float] | None = None,
    head: str | None = None,
    timesteps: int | None = None,
    targets: Sequence[NDArray[np.float32]] | None = None,
    fast: bool = False,
    report: bool = True,
    crops: int = 64,
    crop_size: int = 64,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Model, ConversionReport]:
    """Convert an ANN to a spiking network.

    By default as well as is possible without training: one scale for each channel, v(0) = θ/2 and the release threshold that
    goes with it, where nothing else is said and converter and neuron have them; then kernels and biases are fitted layer by
    layer to what the spikes before them carry, which takes minutes for a deep network.

    Parameters
    ----------
    model : an ANN, as `import_checkpoint` gives it.
    images : a folder, from which `crops` squares of `crop_size` pixels are drawn by `seed` and degraded as the model's
        info says; or what the network will be given, float32 (C, H, W) each, in [0, 1]. None for a converter that does
        not calibrate.
    converter, options : how scales are found, by name, and its options.
    neuron, neuron_parameters : by name, and its parameters, the same for every layer.
    head : by name; default: the one that goes with the neuron.
    timesteps : T; by default what the converter says, 10 of most.
    targets : the clean images, where `images` are arrays: what the output layer is fitted to, and the report's PSNR
        taken against; without them the ANN's output.
    fast : find scales and thresholds with the options' own defaults, and fit nothing: seconds.
    report : False for an empty report, where only the model is wanted; measuring takes most of the time of `fast`.
    progress : called with (done, total).

    Returns
    -------
    (Model, ConversionReport)
        the model with a spiking form, and how well each layer's spikes carry the ANN's activations.

    Raises
    ------
    UsageError
        options, parameters or T out of range.
    BadInputError
        images that are missing, cannot be read or do not fit.
    PluginError
        unknown names.
    """
    expect_model(model)
    whole(1, threads=threads)
    whole(timesteps=timesteps)
    mappings(options=options, neuron_parameters=neuron_parameters)
    from nspike.converting.calibration import calibration_crops
    from nspike.converting.conversion import convert as convert_with
    from nspike.registry.plugins import registry

    kinds = registry()
    neurons, method = kinds.neurons[neuron], kinds.converters[converter]
    reader = kinds.heads[head or HEADS.get(neuron, HEAD)]
    drawn = {}
    if not method.calibrates and isinstance(images, str | os.PathLike):
        raise UsageError(f"converter {method.name} takes no images: it finds nothing on them; leave them out")
    if isinstance(images, str | os.PathLike):
        drawn = {"crops": crops, "crop_size": crop_size, "seed": seed}
        images, targets = calibration_crops(model, images, crops=crops, size=crop_size, seed=seed)
    converted, found = convert_with(
        model,
        images,
        converter=method,
        neuron=neurons,
        head=reader,
        options=options,
        neuron_parameters=neuron_parameters,
        timesteps=timesteps,
        targets=targets,
        fit=not fast,
        report=report,
        threads=threads,
        progress=progress,
    )
    if drawn:
        converted = converted.with_provenance(calibration=drawn)
    return converted, found
