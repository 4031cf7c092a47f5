"""Training from a recipe to a file: prepare the model, run, validate, describe, write. One way, from Python and the shell.

A recipe may start from what another recipe makes, `model = "other.toml"`, and may be compared with it, `baseline`: that one
is carried out first, into OUT.other.h5. The same call again resumes from the saved states. With a validation folder the
result is the model of the best validation, else that of the last step.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nspike.converting.importing import import_checkpoint
from nspike.degradations.sources import find_sources
from nspike.errors import UsageError
from nspike.files.atomic import same_file
from nspike.fitting.direct import DirectTraining
from nspike.fitting.distilling import Distillation, TeacherKeys
from nspike.fitting.finetuning import FineTuning
from nspike.fitting.memory import check_memory
from nspike.fitting.preparing import batches_of, directly, from_scratch, named, settings_of, spiking
from nspike.fitting.provenance import described, with_baseline
from nspike.fitting.reading import read_recipe
from nspike.fitting.recipe import (
    COMMON,
    DirectRecipe,
    FineTuningRecipe,
    Recipe,
    TrainingRecipe,
    is_recipe,
    recipe_of,
    with_plugins,
)
from nspike.fitting.run import TrainingRun
from nspike.fitting.runs import NOBODY, Files, Trained, Watch, carry_out, quality_of
from nspike.fitting.training import Training
from nspike.restoration.method import Model
from nspike.restoration.opening import load, save
from nspike.runtime.caller import without
from nspike.runtime.parallel import set_threads

Source = str | os.PathLike[str] | Mapping[str, Any]

PLUGINS: Mapping[type[Recipe], tuple[str, ...]] = {
    TrainingRecipe: ("network", "loss"),
    FineTuningRecipe: ("neuron", "head", "converter", "loss"),
    DirectRecipe: ("network", "neuron", "head", "loss"),
}
"""The kinds of plugins that a recipe may name."""


def finetune(
    recipe: Source | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
    **keys: Any,
) -> Trained:
    """Fine-tune a spiking network, as SpikingIR does.

    Parameters
    ----------
    recipe : a recipe file, or its values; see `nspike.fitting.recipe.FineTuningRecipe` and
        `nspike.fitting.finetuning.FineTuningOptions`.
    output : the model file to write, others beside it; by default nothing is written, and nothing can be resumed.
    overwrite : replace an existing model. watch : called as training proceeds.
    keys : keys of the recipe, which replace those of `recipe`; data, validation and threads also those of the recipes that
        it starts from.

    Returns
    -------
    Trained

    Raises
    ------
    UsageError
        an unknown key, a value out of range or too large for the machine, a state of another recipe.
    BadInputError
        a recipe, a state or images that cannot be used.
    ModelError
        a model that cannot be trained, or a loss that diverges.
    PluginError
        a part that is unknown or broken.
    OutputError
        what cannot be written, or is there already.
    """
    _keep_apart(output, recipe)
    work = _Work(output, overwrite, watch or NOBODY, {key: keys[key] for key in COMMON if key in keys})
    return work.carry_out(FineTuningRecipe.of(_gathered(recipe, keys, FineTuningRecipe)), output)


def train(
    recipe: Source | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
    **keys: Any,
) -> Trained:
    """Train a plain network, from scratch or from a model; or, with `spiking`, a spiking network from scratch.

    Parameters
    ----------
    recipe : a recipe file, or its values; see `nspike.fitting.recipe.TrainingRecipe` and
        `nspike.fitting.training.TrainingOptions`, with `spiking` `nspike.fitting.recipe.DirectRecipe` and
        `nspike.fitting.direct.DirectOptions`.
    output, overwrite, watch, keys : as `finetune` takes them.

    Returns
    -------
    Trained
        whose model is an ANN without a spiking form, unless the recipe says `spiking`.

    Raises
    ------
    UsageError, BadInputError, ModelError, PluginError, OutputError
        as `finetune` does.
    """
    _keep_apart(output, recipe)
    work = _Work(output, overwrite, watch or NOBODY, {key: keys[key] for key in COMMON if key in keys})
    values = _values(recipe)
    direct = keys.get("spiking", values.get("spiking", False))
    if not isinstance(direct, bool):
        raise UsageError(f"the recipe has spiking = {direct!r}; expected true or false")
    if direct:
        return work.carry_out(DirectRecipe.of(_gathered(values, keys, DirectRecipe)), output)
    values, keys = ({key: value for key, value in each.items() if key != "spiking"} for each in (values, keys))
    return work.carry_out(TrainingRecipe.of(_gathered(values, keys, TrainingRecipe)), output)


def _keep_apart(output: str | os.PathLike[str] | None, *read: Any) -> None:
    """Raise UsageError where the output is a file to read: a recipe, or a model that it names."""
    for given in read:
        if (
            output is not None
            and isinstance(given, str | os.PathLike)
            and same_file(os.fspath(output), os.fspath(given))
        ):
            raise UsageError(f"the output {os.fspath(output)} would replace an input; give another name")


def _values(recipe: Source | None) -> dict[str, Any]:
    """The values of a recipe, read if it is a file."""
    return dict(recipe or {}) if recipe is None or isinstance(recipe, Mapping) else read_recipe(recipe)


def _gathered(recipe: Source | None, keys: Mapping[str, Any], kind: type[Recipe]) -> dict[str, Any]:
    """The values of a recipe, and in their place those of `keys`; plugins under the keys that they are for."""
    values = with_plugins(_values(recipe), PLUGINS[kind])
    if "model" in keys:
        values.pop("network_options", None)  # the model's are what they are
    return values | with_plugins(keys, PLUGINS[kind], beside=values)


@dataclass(frozen=True)
class _Work:
    """A recipe carried out, and before it those that it starts from: `recipes`, and `made`, their models, by their files."""

    output: str | os.PathLike[str] | None
    overwrite: bool
    watch: Watch
    common: Mapping[str, Any]
    recipes: dict[Path, Recipe] = field(default_factory=dict)
    made: dict[Path, Model] = field(default_factory=dict)

    @without("memory")
    def carry_out(self, recipe: Recipe, output: str | os.PathLike[str] | None) -> Trained:
        """Train as the recipe says and write the model to `output`, if given."""
        start = time.monotonic()
        files = None if output is None else Files(Path(output))
        if files is not None:
            teacher = None if recipe.teacher is None else recipe.teacher["model"]
            _keep_apart(files.model, recipe.model, getattr(recipe, "baseline", None), teacher)
            files.check(self.overwrite)
        self.check(recipe)
        given = named(self.start_of(recipe), recipe)
        baseline = None
        if isinstance(recipe, FineTuningRecipe) and recipe.baseline is not None:
            baseline = self.model(recipe.baseline)
        set_threads(recipe.threads)  # the runs before had their own
        check_memory(recipe, given)
        run = self.run(recipe, given, files)
        trained = carry_out(run, recipe, files, self.watch, start)
        more = {"gradient": run.network.gradient} if isinstance(run, FineTuning) else {}
        model = described(trained, recipe, given, more)
        if baseline is not None:
            model = with_baseline(model, baseline)
        model = replace(model, info=replace(model.info, quality=quality_of(model, recipe)))
        if files is not None:
            save(files.model, model)
        return replace(trained, model=model)

    def run(self, recipe: Recipe, given: Model, files: Files | None) -> TrainingRun:
        """The run of a recipe, where its saved state left it."""
        batches = batches_of(given, recipe)
        kind: Any = Training
        more: dict[str, Any] = {}
        if isinstance(recipe, DirectRecipe):
            start: Any = replace(directly(recipe), model=given)
            kind, more["threshold"] = DirectTraining, recipe.threshold
        elif isinstance(recipe, FineTuningRecipe):
            given = start = spiking(given, recipe, self.watch)
            kind = FineTuning
        else:
            start = given = replace(given, spiking=None)
        if recipe.teacher is not None:
            keys = TeacherKeys.of(recipe.teacher)
            more["distillation"] = Distillation(
                self.model(keys.model), given, keys.taps, match=keys.match, seed=recipe.seed, patch=batches.patch
            )
        state = None if files is None else files.adopted()
        more |= {"settings": settings_of(recipe, batches), "sigmas": batches.sigmas}
        run: TrainingRun = kind(start, recipe.options, batches, state=state, **more)
        return run

    def check(self, recipe: Recipe, *within: Path) -> None:
        """Raise UsageError or BadInputError for what can be known before the first step, of the recipes before it too."""
        degradation = recipe.undoes()
        for folder in recipe.data:
            find_sources(folder, pairs=degradation is None or degradation.kind == "pairs")
        teacher = None if recipe.teacher is None else recipe.teacher["model"]
        for given in (recipe.model, getattr(recipe, "baseline", None), teacher):
            if is_recipe(given):
                path = Path(given).resolve()
                if path in within:
                    raise UsageError(f"{given}: starts from itself")
                self.check(self.recipe(path, given), *within, path)

    def recipe(self, path: Path, given: str) -> Recipe:
        """The recipe of a file that another names, read once."""
        if path not in self.recipes:
            values = {**read_recipe(given), **self.common}
            kinds = tuple(dict.fromkeys(kind for each in PLUGINS.values() for kind in each))
            self.recipes[path] = recipe_of(with_plugins(values, kinds))
        return self.recipes[path]

    def start_of(self, recipe: Recipe) -> Model:
        """What training starts from: a model, an imported checkpoint, or a network from scratch."""
        if isinstance(recipe, DirectRecipe):
            return directly(recipe).model
        network = recipe.network if isinstance(recipe, TrainingRecipe) else None
        if isinstance(recipe, TrainingRecipe) and not recipe.model:
            return from_scratch(recipe)
        model = self.model(recipe.model, network)
        if network not in (None, model.network.name):
            raise UsageError(f"model {model.info.name} is the network {model.network.name}, not {network}")
        return model

    def model(self, given: str | Model, network: str | None = None) -> Model:
        """A model that a recipe names: shipped, a file's, or what another recipe makes."""
        if isinstance(given, Model):
            return given
        if is_recipe(given):
            path = Path(given).resolve()
            if path not in self.made:
                beside = None if self.output is None else Path(self.output)
                output = None if beside is None else beside.with_name(f"{beside.stem}.{path.stem}.h5")
                self.made[path] = self.carry_out(self.recipe(path, given), output).model
            return self.made[path]
        if network is None or given.endswith(".h5") or not Path(given).is_file():
            return load(given)
        return import_checkpoint(given, network)
