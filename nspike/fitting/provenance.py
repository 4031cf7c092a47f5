"""The provenance of a trained model; no other module of training writes it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nspike.converting.lowering import lower
from nspike.errors import UsageError
from nspike.fitting.recipe import DirectRecipe, FineTuningRecipe, Recipe, TrainingRecipe
from nspike.fitting.runs import Trained
from nspike.model.model import Model
from nspike.registry.parts import spiking_of

KEYS = {TrainingRecipe: "training", FineTuningRecipe: "fine_tuning", DirectRecipe: "direct_training"}
"""Under which key of the provenance a recipe of each kind stands."""


def described(trained: Trained, recipe: Recipe, given: Model, more: Mapping[str, Any]) -> Model:
    """The model with recipe and `more` in its provenance and, nested, the provenance of an earlier training of `given`."""
    model, key = trained.model, KEYS[type(recipe)]
    values = {**recipe.to_dict(), **more, "done": trained.done, "step": trained.step}
    if (earlier := given.info.provenance.get(key)) is not None:
        values["before"] = earlier
    return model.with_provenance(**{key: values})


def with_baseline(model: Model, baseline: Model) -> Model:
    """`model` with the plain ANN of another one, of the same network, to be compared with.

    Raises UsageError if the networks differ or the spiking form still follows from the ANN.
    """
    network, parameters = lower(baseline.network, baseline.parameters)
    spiking = spiking_of(model)
    if network.rectified() != model.network.rectified():
        raise UsageError(f"the baseline {baseline.info.name} is another network than {model.info.name}")
    if any(conv.name not in spiking.weights for conv in network.convs):
        raise UsageError(f"the spiking form of {model.info.name} follows from its own ANN, which must stay")
    origin = baseline.info.provenance
    of_spikes = ("converter", "converter_options", "fitted", "fine_tuning", "baseline")
    of_ann = origin.get("baseline") or {key: value for key, value in origin.items() if key not in of_spikes}
    info = replace(model.info, trained=baseline.info.trained)
    compared = replace(model, info=info, network=network, parameters=parameters)
    return compared.with_provenance(baseline={"name": baseline.info.name, **of_ann})
