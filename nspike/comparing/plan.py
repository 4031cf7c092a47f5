"""What is to be measured: the rows of a comparison, each of one method at one T, checked before any work.

A row is of the plain network, of a method applied to it, or of a model that is there already.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nspike.contracts.method import Method
from nspike.errors import PluginError, UsageError, nearest
from nspike.fitting.reading import read_recipe
from nspike.integer.grid import MOST_STEPS
from nspike.model.file import digest
from nspike.model.model import Model, check_plain
from nspike.registry.parts import neuron_of
from nspike.registry.plugins import registry
from nspike.restoration.batch import file_digest
from nspike.restoration.opening import load
from nspike.runtime.arguments import whole
from nspike.runtime.caller import way

PLAIN = "plain"
"""The label of the plain network's row."""

_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")

Given = str | os.PathLike[str] | Model
"""A model: a shipped one's name, a file, or the model itself."""


@dataclass(frozen=True)
class Entry:
    """A row to be measured.

    label : the method's name, or the model's; timesteps : T, None for the plain network.
    method, model, recipe : what its model is made from. made : the same as plain values, which a resumed row must share.
    """

    label: str
    timesteps: int | None
    method: Method | None
    model: Model | None
    recipe: "Recipe | None"
    made: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What its files are called."""
        return self.label if self.timesteps is None else f"{self.label}-T{self.timesteps}"

    @property
    def name(self) -> str:
        """The same for people."""
        return "plain network" if self.timesteps is None else f"{self.label} T = {self.timesteps}"


@dataclass(frozen=True)
class Recipe:
    """A recipe that trains a method's network: its file as typed, its values, and the digest of its text."""

    path: str
    values: Mapping[str, Any]
    sha256: str


def plan(
    network: Model | None,
    methods: Sequence[str],
    timesteps: Sequence[int] | None,
    models: Mapping[str, Given],
    recipes: Mapping[str, str | os.PathLike[str]],
    timesteps_of: Mapping[str, Sequence[int]] | None = None,
) -> list[Entry]:
    """The rows, the plain network's first, then method by method and T by T.

    Parameters
    ----------
    network : what methods are applied to; None where only models are compared.
    methods : names. timesteps : of all but those in `timesteps_of`, by label; by default each method's and model's own.
    models, recipes : by method; a model under a label that is no method's is measured as it is.

    Raises
    ------
    PluginError
        an unknown method, with the nearest.
    UsageError
        T out of range, a method that needs training without model or recipe, what does not fit together.
    ModelError, BadInputError
        a model or a recipe that cannot be read.
    """
    known = registry().methods
    chosen = {name: known[name] for name in dict.fromkeys(methods)}
    _check_labels(chosen, models, recipes)
    if network is not None:
        own_row = way("--model LABEL=FILE", 'models={"LABEL": model}')
        check_plain(network, f"methods have nothing to convert: give it as a row of its own, {own_row}")
    own = timesteps_of or {}
    for label in own:
        if label not in (labels := {*chosen, *models}):
            raise UsageError(f"T of {label}: there is no such method in this comparison.{nearest(label, labels)}")
    for steps in (() if timesteps is None else timesteps, *own.values()):
        if not isinstance(steps, list | tuple | range):
            raise UsageError(f"timesteps = {steps!r}; expected a list of whole numbers")
    for t in [*(timesteps or ()), *(t for steps in own.values() for t in steps)]:
        whole(T=t)
        if t < 1:
            raise UsageError(f"T = {t} is out of range: a spiking network needs at least 1 step")
    entries = [] if network is None else [Entry(PLAIN, None, None, network, None, {"by": "plain"})]
    for label in dict.fromkeys([*chosen, *models]):
        given = models.get(label)
        model = None if given is None else (given if isinstance(given, Model) else load(given))
        recipe = _recipe(recipes[label]) if label in recipes else None
        entries += _entries(label, chosen.get(label), network, model, recipe, own.get(label, timesteps))
    if not entries:
        raise UsageError("there is nothing to compare: give a network and methods, or models as LABEL=FILE")
    return entries


def _check_labels(chosen: Mapping[str, Method], models: Mapping[str, Any], recipes: Mapping[str, Any]) -> None:
    for label in [*models, *recipes]:
        if not _LABEL.fullmatch(label) or label == PLAIN:
            raise UsageError(f"{label!r}: a label consists of letters, digits and any of _ . + -, and is not {PLAIN!r}")
    for label in recipes:
        if label not in chosen:
            raise UsageError(f"recipe {label}: there is no such method in this comparison.{nearest(label, chosen)}")
        if label in models:
            raise UsageError(f"method {label}: give a model or a recipe, not both")
    for label in models:
        if label not in chosen and (hint := nearest(label, registry().methods)) and label not in registry().methods:
            raise UsageError(f"model {label}: there is no such method.{hint} A label of your own must be less like one")


def _entries(
    label: str,
    method: Method | None,
    network: Model | None,
    model: Model | None,
    recipe: Recipe | None,
    timesteps: Sequence[int] | None,
) -> list[Entry]:
    if model is not None and model.spiking is not None:
        _check_fits(label, network, model)
        steps = list(dict.fromkeys(timesteps or [model.spiking.timesteps]))
        _check_steps(label, steps, neuron_of(model).post_steps)
        made = {"by": "model", "model": digest(model)}
        return [Entry(label, t, method, model, None, made) for t in steps]
    if method is None:
        raise UsageError(f"model {label}: is a plain network, without spikes; name a method that converts it")
    if model is not None:
        _check_fits(label, network, model)
        if method.trained_by == "finetune" and method.needs_training:
            raise UsageError(f"method {label}: its model must be a spiking one; the one that was given is plain")
    elif network is None:
        give = way(f"--network, or --model {label}=FILE", f'network, or models={{"{label}": model}}')
        raise UsageError(f"method {label}: there is no network to apply it to; give {give}")
    elif recipe is None:
        _check_needs_none(method, network)
    elif method.trained_by == "none":
        raise UsageError(f"method {label}: nothing is trained, so it takes no recipe")
    start = network if model is None else model
    assert start is not None
    steps = list(dict.fromkeys(timesteps or [method.timesteps]))
    _check_steps(label, steps, _post_steps(method))
    return [Entry(label, t, method, model, recipe, _made(method, start, recipe, t)) for t in steps]


def _made(method: Method, start: Model, recipe: Recipe | None, timesteps: int) -> dict[str, Any]:
    """What decides a converted or trained model."""
    made = {"by": "conversion", "network": digest(start), **method.conversion(timesteps)}
    if recipe is None:
        return made
    return {**made, "by": "recipe", "recipe": recipe.sha256, "training": method.training(timesteps)}


def _check_steps(label: str, steps: Sequence[int], post_steps: int) -> None:
    for t in steps:
        if t + post_steps > MOST_STEPS:
            raise UsageError(f"{label}: T = {t} is out of range; expected 1 to {MOST_STEPS - post_steps}")


def _post_steps(method: Method) -> int:
    try:
        return int(registry().neurons[method.neuron].post_steps)
    except PluginError as error:
        raise PluginError(f"method {method.name}: {error}") from error


def _check_needs_none(method: Method, network: Model) -> None:
    """Raise UsageError for a method that is of no use on this network without training."""
    if not method.needs_training:
        return
    trained = any(activation.ceiling is not None for activation in network.network.activations)
    if method.trained_by == "train" and trained:
        return
    why = (
        f"its network must be trained for it, and {network.info.name} is not"
        if method.trained_by == "train"
        else "it trains its own spiking network"
    )
    name = method.name
    model = way(f"--model {name}=FILE", f'models={{"{name}": model}}')
    recipe = way(f"--recipe {name}=FILE.toml", f'recipes={{"{name}": "FILE.toml"}}')
    raise UsageError(f"method {name}: {why}; give a model, {model}, or a recipe, {recipe}")


def _check_fits(label: str, network: Model | None, model: Model) -> None:
    if network is None:
        return
    ours, theirs = (f"{m.info.task}, {m.info.colour}" for m in (network, model))
    if ours != theirs:
        raise UsageError(f"model {label} is for {theirs}, but the network {network.info.name} for {ours}")


def _recipe(path: str | os.PathLike[str]) -> Recipe:
    return Recipe(os.fspath(path), read_recipe(path), file_digest(Path(path)))
