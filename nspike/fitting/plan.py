"""What a recipe file says: everything that a training run needs, as plain values under flat keys, checked.

A file is TOML. Its keys are the fields of a plan (below) and those of the plan's recipe (`nspike.fitting.learning`,
`nspike.fitting.finetuning`, `nspike.fitting.training`). Paths are relative to the recipe's folder where they exist there,
else to the current one.
"""

import dataclasses
import os
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeGuard, Union, get_args, get_origin, get_type_hints

from nspike.degradations.kinds import Degradation
from nspike.errors import BadInputError, UsageError, nearest
from nspike.fitting import finetuning, learning, training
from nspike.model.model import Model

_PATHS = ("data", "validation", "model", "baseline")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all plans have.

    Parameters
    ----------
    model : what to start from: a shipped model's name, a model file, a `nspike.Model`, or the recipe (.toml) that
        makes it first.
    data : the folders to train on. degradation : a kind and its numbers, see `nspike.degradations.kinds`; by default what the
        model was trained to undo.
    batch, patch, seed : crops in a batch, their side, and the seed of everything.
    validation : a folder, measured every `validation_every` steps (0: at both ends alone); `validation_limit` images of
        it, at `validation_scale` for super-resolution, with noise of `validation_sigma` for denoising.
    name, licence : of the model that comes out. threads : all by default. minutes : between checkpoints.
    recipe : how to train.
    """

    RECIPE: ClassVar[type[learning.Recipe]] = learning.Recipe

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
    name: str | None = None
    licence: str | None = None
    threads: int | None = None
    minutes: float = learning.MINUTES
    recipe: learning.Recipe = field(default_factory=learning.Recipe)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The plan of plain values. Raises UsageError for an unknown key, naming the nearest, or a value of another type."""
        own = {name: hint for name, hint in get_type_hints(cls).items() if name not in ("recipe", "RECIPE")}
        of_recipe = get_type_hints(cls.RECIPE)
        for key in values:
            if key not in own and key not in of_recipe:
                raise UsageError(f"the recipe has an unknown key {key!r}.{nearest(key, [*own, *of_recipe])}")
        checked = {key: _typed(key, value, (own | of_recipe)[key]) for key, value in values.items()}
        recipe = cls.RECIPE.from_dict({key: value for key, value in checked.items() if key in of_recipe})
        plan = cls(**{key: value for key, value in checked.items() if key in own}, recipe=recipe)
        plan.check()
        return plan

    def check(self) -> None:
        """Raise UsageError for what cannot be."""
        if not self.data:
            raise UsageError("the recipe has no data: give folders of images, data = [...] or --data FOLDER")
        if min(self.seed, self.validation_every, self.minutes) < 0:
            raise UsageError("a recipe needs seed, validation_every and minutes from 0")
        if self.degradation is not None:
            self.undoes()

    def undoes(self) -> Degradation | None:
        """The degradation, if the plan says one."""
        if self.degradation is None:
            return None
        numbers = dict(self.degradation)
        if "kind" not in numbers:
            raise UsageError(
                "the recipe's degradation has no kind: noise, haze, bicubic, rain, motion, defocus or pairs"
            )
        return Degradation(numbers.pop("kind"), numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model file: what decides the result, folders and files by their names alone."""
        left_out = ("recipe", "name", "licence", "threads", "minutes")
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}
        for key in _PATHS:
            if isinstance(own.get(key), str):
                own[key] = Path(own[key]).name
            elif isinstance(own.get(key), Model):
                own[key] = own[key].info.name
        own["data"] = [Path(folder).name for folder in self.data]
        known = {f.name: f.default for f in dataclasses.fields(self)}
        kept = {key: value for key, value in own.items() if value is not None and value not in ({}, known[key])}
        return {**kept, "batch": self.batch, "patch": self.patch, "seed": self.seed, **dataclasses.asdict(self.recipe)}


@dataclass(frozen=True, kw_only=True)
class FineTuningPlan(Plan):
    """How to fine-tune.

    Parameters
    ----------
    model : a plain ANN is converted first, and a spiking model too if a converter is named here.
    converter, converter_options, calibration : the converter, its options, and on how many crops.
    neuron, neuron_parameters, head, timesteps : instead of the model's.
    warm_start : "regression" fits the kernels layer by layer first (`nspike.converting.regression`), on `warm_crops` crops.
    overshoot : that the plain network was trained with, which the fit has to know.
    baseline : the model, named as `model` is, whose plain ANN the result holds beside the spiking network; by default its own.
    """

    RECIPE: ClassVar[type[learning.Recipe]] = finetuning.Recipe

    converter: str | None = None
    converter_options: dict[str, Any] = field(default_factory=dict)
    calibration: int = 64
    neuron: str | None = None
    neuron_parameters: dict[str, float] = field(default_factory=dict)
    head: str | None = None
    timesteps: int | None = None
    warm_start: Literal["none", "regression"] = "none"
    warm_crops: int = 64
    overshoot: float = 0.0
    baseline: str | Model | None = None

    def check(self) -> None:
        """Raise UsageError for what cannot be."""
        super().check()
        if self.warm_start not in ("none", "regression"):
            raise UsageError(f"there is no warm_start {self.warm_start!r}; expected none or regression")
        if self.model == "":
            raise UsageError('the recipe has no model: give a name or a file, model = "..." or MODEL')


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(Plan):
    """How to train a plain network.

    Parameters
    ----------
    network : the architecture to train from scratch, with `network_options`; or that of `model`.
    model : instead of from scratch; with `network`, any trained network's file that `nspike import` reads, too.
    """

    RECIPE: ClassVar[type[learning.Recipe]] = training.Recipe

    network: str | None = None
    network_options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise UsageError for what cannot be."""
        super().check()
        if self.model == "" and self.network is None:
            raise UsageError(
                'the recipe has neither network nor model: give an architecture, network = "...", or a model'
            )
        if self.model != "" and self.network_options:
            raise UsageError("network_options are for networks from scratch; the model has its own")


def plan_of(values: Mapping[str, Any]) -> "TrainingPlan | FineTuningPlan":
    """The plan of a recipe: of fine-tuning if it has a key that training does not know. Raises UsageError."""
    training_keys = {*get_type_hints(TrainingPlan), *get_type_hints(TrainingPlan.RECIPE)}
    own = {*get_type_hints(FineTuningPlan), *get_type_hints(FineTuningPlan.RECIPE)} - training_keys
    return (FineTuningPlan if own & {*values} else TrainingPlan).of(values)


def is_recipe(model: Any) -> TypeGuard[str]:
    """Whether what a plan names as a model is the recipe of one."""
    return isinstance(model, str) and model.endswith(".toml")


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values of a recipe file, paths made relative to the current folder.

    Raises BadInputError for a file that cannot be read or is no TOML.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{path}: is no TOML: {error}") from error

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(each) for each in value]
        beside = path.parent / value if isinstance(value, str) else None
        return os.fspath(beside) if beside is not None and beside.exists() else value

    return {key: placed(value) if key in _PATHS else value for key, value in values.items()}


def parse(text: str) -> Any:
    """The value of a KEY=VALUE option: as TOML has it, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _typed(key: str, value: Any, hint: Any) -> Any:
    """`value` if it is of the type `hint`, whole numbers as floats where those are meant. Raises UsageError."""
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
            return [os.fspath(each) for each in value if isinstance(each, str | os.PathLike)]
        elif origin is dict and isinstance(value, Mapping):
            return dict(value)
        elif origin is str and isinstance(value, os.PathLike):
            return os.fspath(value)
        elif isinstance(value, origin):
            return value
    raise UsageError(f"the recipe has {key} = {value!r}; expected {_in_words(hint)}")


def _in_words(hint: Any) -> str:
    names = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        list: "a list",
        dict: "a table",
    }
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    known = [names[kind] for part in parts if (kind := get_origin(part) or part) in names]
    return " or ".join(known) or str(hint)
