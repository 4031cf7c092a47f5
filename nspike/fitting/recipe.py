"""Recipes: everything that a training run needs, as plain values under flat keys, checked.

The keys are the fields of a recipe (below) and those of its options (`nspike.fitting.options`, `nspike.fitting.finetuning`,
`nspike.fitting.training`). They come from a TOML file (`nspike.fitting.reading`), from keyword arguments, or from the
options of `nspike train` and `nspike finetune`, which replace a file's.
"""

import dataclasses
import os
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeGuard, Union, get_args, get_origin, get_type_hints

from nspike.degradations.kinds import KINDS, Degradation
from nspike.errors import UsageError, nearest
from nspike.fitting.direct import DirectOptions
from nspike.fitting.distilling import TeacherKeys
from nspike.fitting.finetuning import FineTuningOptions
from nspike.fitting.options import Options
from nspike.fitting.reading import PATHS
from nspike.fitting.run import MINUTES
from nspike.fitting.training import TrainingOptions
from nspike.model.model import Model
from nspike.registry.plugins import registry
from nspike.runtime.caller import either

COMMON = ("data", "validation", "threads")
"""The keys that, given beside a recipe, are for the recipes too that it starts from."""
_LARGEST = 2**53
"""Whole numbers up to this are numbers as floats too."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all recipes have.

    Parameters
    ----------
    model : what to start from: a shipped model's name, a model file, a `nspike.Model`, or the recipe (.toml) that
        makes it first.
    data : the folders to train on. degradation : a kind and its numbers, see `nspike.degradations.kinds`; by default what the
        model was trained to undo.
    batch, patch, seed : crops in a batch, their side, and the seed of everything.
    validation : a folder, measured every `validation_every` steps (0: at both ends alone); `validation_limit` images of
        it, at `validation_scale` for super-resolution, with noise of `validation_sigma` for denoising.
    teacher : a plain network to learn features from: its model, taps and match (`nspike.fitting.distilling`).
    name, licence : of the model that comes out. threads : all by default. minutes : after which the state is saved again.
    options : how to train.
    """

    OPTIONS: ClassVar[type[Options]] = Options

    model: str | Model = ""
    data: list[str] = field(default_factory=list)
    degradation: dict[str, Any] | None = None
    batch: int = 8
    patch: int = 48
    seed: int = 0
    validation: str | None = None
    validation_every: int = 0
    validation_limit: int | None = None
    validation_scale: int | None = None
    validation_sigma: float | None = None
    teacher: dict[str, Any] | None = None
    name: str | None = None
    licence: str | None = None
    threads: int | None = None
    minutes: float = MINUTES
    options: Options = field(default_factory=Options)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The recipe of plain values. Raises UsageError for an unknown key, naming the nearest, or a value of another type."""
        own = {name: hint for name, hint in get_type_hints(cls).items() if name not in ("options", "OPTIONS")}
        of_options = get_type_hints(cls.OPTIONS)
        for key in values:
            if key not in own and key not in of_options:
                raise UsageError(f"the recipe has an unknown key {key!r}.{nearest(key, [*own, *of_options])}")
        checked = {key: _typed(key, value, (own | of_options)[key]) for key, value in values.items()}
        options = cls.OPTIONS.from_dict({key: value for key, value in checked.items() if key in of_options})
        recipe = cls(**{key: value for key, value in checked.items() if key in own}, options=options)
        recipe.check()
        return recipe

    def check(self) -> None:
        """Raise UsageError for values out of range or settings that exclude each other."""
        if not self.data:
            give = either("data = [...] or --data FOLDER", "data=[...]")
            raise UsageError(f"the recipe has no data: give folders of images, {give}")
        if min(self.seed, self.validation_every) < 0 or not self.minutes >= 0:
            raise UsageError("a recipe needs seed, validation_every and minutes from 0")
        if self.degradation is not None:
            self.undoes()
        if self.teacher is not None:
            TeacherKeys.of(self.teacher)

    def undoes(self) -> Degradation | None:
        """The degradation that the network learns to undo, or None if the recipe names none."""
        if self.degradation is None:
            return None
        numbers = dict(self.degradation)
        if "kind" not in numbers:
            raise UsageError(f"the recipe's degradation has no kind: {', '.join(KINDS)}")
        return Degradation(_typed("degradation.kind", numbers.pop("kind"), str), numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model file: what decides the result, folders and files by their names alone."""
        left_out = ("options", "name", "licence", "threads", "minutes")
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}
        for key in PATHS:
            if isinstance(own.get(key), str):
                own[key] = Path(own[key]).name
            elif isinstance(own.get(key), Model):
                own[key] = own[key].info.name
        if self.teacher is not None:
            given = self.teacher["model"]
            named = given.info.name if isinstance(given, Model) else Path(given).name
            own["teacher"] = {**self.teacher, "model": named}
        undoes = self.undoes()
        if undoes is not None and undoes.has_files:  # of paths the names alone
            own["degradation"] = {"kind": undoes.kind, **undoes.to_dict()}
        own["data"] = [Path(folder).name for folder in self.data]
        known = {f.name: f.default for f in dataclasses.fields(self)}
        kept = {key: value for key, value in own.items() if value is not None and value not in ({}, known[key])}
        return {**kept, "batch": self.batch, "patch": self.patch, "seed": self.seed, **dataclasses.asdict(self.options)}


@dataclass(frozen=True, kw_only=True)
class FineTuningRecipe(Recipe):
    """How to fine-tune.

    Parameters
    ----------
    model : a plain ANN is converted first, and a spiking model too if a converter is named here.
    converter, converter_options, calibration : the converter, its options, and on how many crops.
    neuron, neuron_parameters, head, timesteps : instead of the model's.
    stretch : activation -> what its scale is multiplied by: it fires so many times less (`nspike.converting.stretching`).
    warm_start : "regression" fits the kernels layer by layer first (`nspike.converting.regression`), on `warm_crops` crops.
    overshoot : that the plain network was trained with, which the fit has to know.
    baseline : the model, named as `model` is, whose plain ANN the result holds beside the spiking network; by default its own.
    """

    OPTIONS: ClassVar[type[Options]] = FineTuningOptions

    converter: str | None = None
    converter_options: dict[str, Any] = field(default_factory=dict)
    calibration: int = 64
    neuron: str | None = None
    neuron_parameters: dict[str, float] = field(default_factory=dict)
    head: str | None = None
    timesteps: int | None = None
    stretch: dict[str, float] = field(default_factory=dict)
    warm_start: Literal["none", "regression"] = "none"
    warm_crops: int = 64
    overshoot: float = 0.0
    baseline: str | Model | None = None

    def check(self) -> None:
        """Raise UsageError for values out of range or settings that exclude each other."""
        super().check()
        if self.warm_start not in ("none", "regression"):
            raise UsageError(f"there is no warm_start {self.warm_start!r}; expected none or regression")
        if self.model == "":
            raise UsageError('the recipe has no model: give a name or a file, model = "..." or MODEL')


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe(Recipe):
    """How to train a plain network.

    Parameters
    ----------
    network : the architecture to train from scratch, with `network_options`; or that of `model`.
    model : instead of from scratch; with `network`, any trained network's file that `nspike import` reads, too.
    """

    OPTIONS: ClassVar[type[Options]] = TrainingOptions

    network: str | None = None
    network_options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise UsageError for values out of range or settings that exclude each other."""
        super().check()
        if self.model == "" and self.network is None:
            raise UsageError(
                'the recipe has neither network nor model: give an architecture, network = "...", or a model'
            )
        if self.model != "" and self.network_options:
            raise UsageError("network_options are for networks from scratch; the model has its own")


@dataclass(frozen=True, kw_only=True)
class DirectRecipe(Recipe):
    """How to train a spiking network from scratch.

    Parameters
    ----------
    spiking : true; what tells this recipe from that of a plain network.
    network, network_options : the architecture.
    neuron, neuron_parameters, head, timesteps : its neurons and their parameters, of which `tau` is 2 here, its head, T.
    threshold : of every layer of neurons, in units of what a spike is worth.
    """

    OPTIONS: ClassVar[type[Options]] = DirectOptions

    spiking: bool = True
    network: str | None = None
    network_options: dict[str, Any] = field(default_factory=dict)
    neuron: str = "if"
    neuron_parameters: dict[str, float] = field(default_factory=dict)
    head: str = "membrane"
    timesteps: int = 4
    threshold: float = 0.15

    def check(self) -> None:
        """Raise UsageError for values out of range or settings that exclude each other."""
        super().check()
        if self.network is None or self.model != "":
            raise UsageError(
                'a spiking network from scratch needs an architecture, network = "...", and no model; a model is trained on by '
                "`nspike finetune`"
            )
        if self.timesteps < 1 or not self.threshold > 0:
            raise UsageError("a spiking network needs timesteps of 1 or more, and a threshold above 0")


def recipe_of(values: Mapping[str, Any]) -> TrainingRecipe | FineTuningRecipe | DirectRecipe:
    """The recipe of plain values: direct training if they say `spiking`, else fine-tuning if they have a key that training does
    not know. Raises UsageError.
    """
    if values.get("spiking") is True:
        return DirectRecipe.of(values)
    values = {key: value for key, value in values.items() if key != "spiking"}
    training_keys = {*get_type_hints(TrainingRecipe), *get_type_hints(TrainingRecipe.OPTIONS)}
    own = {*get_type_hints(FineTuningRecipe), *get_type_hints(FineTuningRecipe.OPTIONS)} - training_keys
    return (FineTuningRecipe if own & {*values} else TrainingRecipe).of(values)


def with_plugins(
    values: Mapping[str, Any], kinds: Sequence[str], beside: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The values with each of their `plugins` under the key that it is for: NAME, KIND:NAME or a path to a file.

    A loss becomes `pixel`, or `energy` if it prices spikes, but not where the values, or those `beside` them, name it among
    other losses already.
    Raises PluginError for one that is unknown, broken or of none of `kinds`, UsageError for two of one kind.
    """
    values = dict(values)
    given = _typed("plugins", values.pop("plugins", []), list[str])
    known: dict[str, str] = {}
    for spec in given:
        kind, plugin = registry().resolve(spec, kinds)
        if kind in known:
            raise UsageError(f"two plugins of kind {kind} are given; give one")
        known[kind] = plugin.name
    for kind, name in known.items():
        if kind == "loss":
            key = "energy" if registry().losses[name].of_spikes else "pixel"
            among = values.get(key, (beside or {}).get(key))
            if not (isinstance(among, Mapping) and name in among):
                values[key] = name
        elif kind == "network" and values.get(kind, name) != name:
            raise UsageError(f"{values[kind]} and {name} are two networks; give one")
        else:
            values[kind] = name
    return values


def is_recipe(model: Any) -> TypeGuard[str]:
    """Whether what a recipe names as a model is the recipe of one."""
    return isinstance(model, str) and model.endswith(".toml")


def _typed(key: str, value: Any, hint: Any) -> Any:
    """`value` if it is of the type `hint`, whole numbers as floats where those are meant. Raises UsageError."""
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise UsageError(f"the recipe has a {key} beyond 2^53; expected {_in_words(hint)} that is smaller")
    for kind in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
        origin = get_origin(kind) or kind
        if origin is Literal:
            if isinstance(value, str):
                return value  # the recipe names the nearest
        elif origin is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif origin is int and isinstance(value, bool):
            continue
        elif origin is list and isinstance(value, str | os.PathLike):
            return [os.fspath(value)]
        elif origin is list and isinstance(value, list | tuple):
            if all(isinstance(each, str | os.PathLike) for each in value):
                return [os.fspath(each) for each in value]
        elif origin is dict and isinstance(value, Mapping):
            return dict(value)
        elif origin is str and isinstance(value, os.PathLike):
            return os.fspath(value)
        elif isinstance(value, origin):
            return value
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    raise UsageError(f"the recipe has {key} = {shown}; expected {_in_words(hint)}")


def _in_words(hint: Any) -> str:
    names = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        list: "a list of texts",
        dict: "a table",
    }
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    known = [names[kind] for part in parts if (kind := get_origin(part) or part) in names]
    return " or ".join(known) or str(hint)
