"""The provenance of a trained model; no other module of training writes it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nspike.converting.lowering import lower
from nspike.converting.origin import of_plain
from nspike.errors import UsageError
from nspike.fitting.recipe import DirectRecipe, FineTuningRecipe, Recipe, TrainingRecipe
from nspike.fitting.runs import Trained
from nspike.integer.normalise import normalised_conv
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


def check_baseline(model: Model, baseline: Model) -> None:
    """Raise UsageError unless both are of one network."""
    (network, _), (own, _) = (lower(each.network, each.parameters) for each in (baseline, model))
    if network.rectified() != own.rectified():
        raise UsageError(f"the baseline {baseline.info.name} is another network than {model.info.name}")


def with_baseline(model: Model, baseline: Model) -> Model:
    """`model` with the plain ANN of another one, of the same network, to be compared with.

    What of the spiking form follows from its own ANN is kept beside it. Raises UsageError if the networks differ.
    """
    spiking = spiking_of(model)
    check_baseline(model, baseline)
    network, parameters = lower(baseline.network, baseline.parameters)
    own = {
        conv.name: normalised_conv(model.network, model.parameters, spiking, conv.name) for conv in model.network.convs
    }
    weights = {name: weight.astype(np.float32) for name, (weight, _) in own.items()} | dict(spiking.weights)
    biases = {conv.name: own[conv.name][1].astype(np.float32) for conv in model.network.convs if conv.bias}
    model = model.with_spiking(replace(spiking, weights=weights, biases=biases | dict(spiking.biases)))
    info = replace(model.info, trained=baseline.info.trained)
    compared = replace(model, info=info, network=network, parameters=parameters)
    name = baseline.info.provenance.get("baseline", {}).get("name", baseline.info.name)
    return compared.with_provenance(baseline={"name": name, **of_plain(baseline)})
