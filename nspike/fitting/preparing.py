"""From a recipe to what training starts from: the model, converted and warmed up if it is to spike, and the batches."""

from dataclasses import replace
from typing import Any

import numpy as np

from nspike.contracts.architecture import Architecture
from nspike.converting.by_name import HEAD, HEADS, NEURON
from nspike.converting.conversion import convert
from nspike.converting.regression import fit
from nspike.converting.stretching import stretched
from nspike.degradations.batches import CropBatches
from nspike.degradations.kinds import NOISY, Degradation, degradation_of
from nspike.errors import UsageError
from nspike.fitting.direct import Start, start
from nspike.fitting.recipe import DirectRecipe, FineTuningRecipe, Recipe, TrainingRecipe
from nspike.fitting.runs import Watch
from nspike.graph.initialise import initial_parameters, without_batch_norm
from nspike.graph.network import Network
from nspike.model.model import Info, Model
from nspike.registry.parts import spiking_of, swap
from nspike.registry.plugins import registry

CONVERTER = "rueckauer"
TAU = 2.0
"""The time constant of leaky neurons in a network that is trained directly: SpikingJelly's default."""


def from_scratch(recipe: TrainingRecipe) -> Model:
    """The recipe's architecture with initial parameters."""
    info, network = _architecture(recipe)
    network = without_batch_norm(network)
    return Model(info, network, initial_parameters(network, recipe.seed))


def directly(recipe: DirectRecipe) -> Start:
    """The recipe's architecture as a spiking network with random kernels."""
    info, network = _architecture(recipe)
    neuron = registry().neurons[recipe.neuron]
    leak = {"tau": TAU} if any(parameter.name == "tau" for parameter in neuron.parameters) else {}
    return start(
        network,
        replace(info, trained="spiking"),
        neuron,
        head=registry().heads[recipe.head].name,
        timesteps=recipe.timesteps,
        threshold=recipe.threshold,
        parameters={**leak, **recipe.neuron_parameters},
        seed=recipe.seed,
    )


def _architecture(recipe: TrainingRecipe | DirectRecipe) -> tuple[Info, Network]:
    """The recipe's network, and what a model of it says of itself."""
    assert recipe.network is not None
    architecture: Architecture = registry().networks[recipe.network]
    network = architecture.network(recipe.network_options)
    degradation = recipe.undoes()
    task = (degradation and degradation.task) or architecture.task
    name = recipe.name or architecture.name
    provenance = {"architecture": architecture.name}
    return Info(name, task, architecture.colour_of(network), provenance=provenance), network


def batches_of(model: Model, recipe: Recipe) -> CropBatches:
    """The recipe's batches, every image read once. Raises BadInputError."""
    batches = CropBatches(
        model, recipe.data, degradation=recipe.undoes(), batch=recipe.batch, patch=recipe.patch, seed=recipe.seed
    )
    batches.check()
    return batches


def settings_of(recipe: Recipe, batches: CropBatches) -> dict[str, Any]:
    """What the run depends on beside options and parameters; the validation too, for it chooses the result."""
    validation = {key: value for key, value in recipe.to_dict().items() if key.startswith("validation")}
    return {
        "batch": recipe.batch,
        "patch": recipe.patch,
        "seed": recipe.seed,
        "data": batches.fingerprint,
        **validation,
    }


def spiking(model: Model, recipe: FineTuningRecipe, watch: Watch) -> Model:
    """The model converted or with swapped parts, stretched and warmed up, as the recipe specifies."""
    model, degradation = at_one_level(model, recipe.undoes())
    model = stretched(_converted(model, recipe, degradation), recipe.stretch)
    if recipe.warm_start == "none":
        return model
    if model.info.trained == "spiking":
        raise UsageError(
            f"warm_start fits kernels to the plain network, and model {model.info.name} was trained as a spiking one; "
            "leave it out"
        )
    if recipe.converter is None and "baseline" in model.info.provenance:
        raise UsageError(
            f"warm_start fits kernels to the plain network that a model was converted from, and that of {model.info.name} is "
            "another, to be compared with; leave it out, or name a converter to convert anew"
        )
    crops = CropBatches(
        model, recipe.data, degradation=degradation, batch=recipe.warm_crops, patch=recipe.patch, seed=recipe.seed
    )
    return fit(model, *crops(0), overshoot=recipe.overshoot, progress=watch.fitted)


def at_one_level(model: Model, degradation: Degradation | None) -> tuple[Model, Degradation | None]:
    """A network that is told the noise level, and the degradation, at the middle of the levels: conversion knows one level."""
    if not model.network.takes_noise_level:
        return model, degradation
    known = degradation or degradation_of(model.info, training=True)
    if known.kind not in NOISY:
        return model, degradation
    sigma = float(np.mean(known.numbers["sigma"]))
    return model.at_noise(sigma), Degradation(known.kind, {**known.numbers, "sigma": sigma})


def _converted(model: Model, recipe: FineTuningRecipe, degradation: Degradation | None) -> Model:
    if model.spiking is not None and recipe.converter is None:
        changed, _ = swap(model, neuron=recipe.neuron, head=recipe.head, timesteps=recipe.timesteps)
        if recipe.neuron_parameters:
            spiking = spiking_of(changed)
            values = registry().neurons[spiking.neuron].values(recipe.neuron_parameters)
            each = {layer.name: values for layer in changed.network.activations}
            changed = changed.with_spiking(
                replace(spiking, neuron_parameters={**spiking.neuron_parameters, spiking.neuron: each})
            )
        return changed
    kinds = registry()
    neuron, converter = recipe.neuron or NEURON, kinds.converters[recipe.converter or CONVERTER]
    images: Any = ()
    targets: Any = None
    if converter.calibrates:
        crops = CropBatches(
            model, recipe.data, degradation=degradation, batch=recipe.calibration, patch=recipe.patch, seed=recipe.seed
        )
        images, targets = (list(planes) for planes in crops(0))
    converted, _ = convert(
        model,
        images,
        targets=targets,
        converter=converter,
        neuron=kinds.neurons[neuron],
        head=kinds.heads[recipe.head or HEADS.get(neuron, HEAD)],
        options=recipe.converter_options,
        neuron_parameters=recipe.neuron_parameters,
        timesteps=recipe.timesteps,
        report=False,
        threads=recipe.threads,
    )
    return converted


def named(model: Model, recipe: Recipe) -> Model:
    """The model with the recipe's name, licence and degradation, for the degradation's task."""
    info = replace(model.info, name=recipe.name or model.info.name, licence=recipe.licence or model.info.licence)
    undoes = recipe.undoes()
    if undoes is not None and undoes.kind != "pairs":
        info = replace(info, task=undoes.task or info.task, degradation=undoes.to_dict())
    return replace(model, info=info)
