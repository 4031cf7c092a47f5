"""What a recipe needs of memory at least, compared with what there is before anything is allocated."""

import os
from fractions import Fraction
from typing import Any

from nspike.errors import UsageError
from nspike.fitting.recipe import DirectRecipe, FineTuningRecipe, Recipe
from nspike.model.model import Model

_GIB = 2**30


def check_memory(recipe: Recipe, model: Model) -> None:
    """Raise UsageError for a recipe whose crops, or what a step keeps of its layers, cannot fit into the machine."""
    there = _memory()
    crops = {"batch": recipe.batch}
    if isinstance(recipe, FineTuningRecipe):
        converts = model.spiking is None or recipe.converter is not None
        crops |= {"calibration": recipe.calibration} if converts else {}
        crops |= {"warm_crops": recipe.warm_crops} if recipe.warm_start != "none" else {}
    for key, count in crops.items():
        of_a_crop = 4 * model.network.channels * recipe.patch**2 * (1 + model.network.scale**2)
        needs = count * max(of_a_crop, _of_layers(recipe, model) if key == "batch" and recipe.options.steps else 0)
        if there is not None and needs > there:
            raise UsageError(
                f"{key} = {count} crops of {recipe.patch}x{recipe.patch} need at least {needs / _GIB:.3g} GiB of memory, "
                f"and this machine has {there / _GIB:.3g}; make {key} or patch smaller"
            )


def _of_layers(recipe: Recipe, model: Model) -> int:
    """The bytes that a step keeps for each crop: a float32 of every neuron, at every step in time if it goes back there."""
    steps = 1
    options: Any = recipe.options
    if isinstance(recipe, DirectRecipe) and not options.recompute and options.gradient != "rate":
        steps = recipe.timesteps
    if isinstance(recipe, FineTuningRecipe) and not options.recompute and options.gradient == "time":
        steps = recipe.timesteps or (model.spiking.timesteps if model.spiking is not None else 1)
    scales = model.network.scales
    neurons = sum(layer.channels * Fraction(scales[layer.name] or 0) ** 2 for layer in model.network.activations)
    return int(4 * steps * recipe.patch**2 * neurons)


def _memory() -> int | None:
    """The machine's memory in bytes, where the system says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
