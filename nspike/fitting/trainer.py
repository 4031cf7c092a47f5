"""Training from a recipe to files: prepare the model, run, validate, and write what came of it.

A recipe may start from what another recipe makes, `model = "other.toml"`, and may be compared with it, `baseline`: that one
is carried out first, into OUT.other.h5. The same call again goes on from the checkpoints. With a validation folder the
result is the model of the best validation, else that of the last step.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nspike.contracts.architecture import Architecture
from nspike.converting.by_name import HEAD, HEADS, NEURON
from nspike.converting.conversion import convert
from nspike.converting.importing import import_checkpoint
from nspike.converting.regression import fit
from nspike.degradations.batches import CropBatches
from nspike.degradations.kinds import KINDS, Degradation
from nspike.degradations.sources import find_sources
from nspike.errors import UsageError
from nspike.fitting.finetuning import FineTuning
from nspike.fitting.plan import FineTuningPlan, Plan, TrainingPlan, is_recipe, plan_of, read_recipe
from nspike.fitting.runs import NOBODY, Files, Trained, Watch, carry_out, finished
from nspike.fitting.training import Training
from nspike.graph.initialise import initial_parameters, without_batch_norm
from nspike.model.model import Info
from nspike.registry.parts import spiking_of, swap
from nspike.registry.plugins import registry
from nspike.restoration.method import Model
from nspike.restoration.opening import load
from nspike.runtime.parallel import set_threads

CONVERTER = "rueckauer"


def finetune(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
    common: Mapping[str, Any] | None = None,
) -> Trained:
    """Fine-tune a spiking network, as SpikingIR does.

    Parameters
    ----------
    recipe : a recipe file, or its values; see `nspike.fitting.plan.FineTuningPlan` and `nspike.fitting.finetuning.Recipe`.
    output : the model file to write, others beside it; by default nothing is written, and nothing can be resumed.
    overwrite : replace a model that is there already. watch : told how it goes.
    common : values that replace the recipe's, and those of the recipes that it starts from.

    Returns
    -------
    Trained

    Raises
    ------
    UsageError
        an unknown key, a value out of range, a checkpoint of another recipe.
    BadInputError
        a recipe or images that cannot be used.
    ModelError
        a model that cannot be trained, or a loss that diverges.
    OutputError
        what cannot be written, or is there already.
    """
    return _Work(output, overwrite, watch or NOBODY, common or {}).finetune(recipe, output)


def with_baseline(model: Model, baseline: Model) -> Model:
    """`model` with the plain ANN of another one, of the same network, to be compared with.

    Raises UsageError if the networks differ or the spiking form still follows from the ANN.
    """
    from nspike.graph.folding import fold_batch_norm

    network, parameters = fold_batch_norm(baseline.network, baseline.parameters)
    spiking = spiking_of(model)
    if network.rectified() != model.network.rectified():
        raise UsageError(f"the baseline {baseline.info.name} is another network than {model.info.name}")
    if any(conv.name not in spiking.weights for conv in network.convs):
        raise UsageError(f"the spiking form of {model.info.name} follows from its own ANN, which must stay")
    origin = baseline.info.provenance
    of_spikes = ("converter", "converter_options", "fine_tuning", "baseline")
    of_ann = origin.get("baseline") or {key: value for key, value in origin.items() if key not in of_spikes}
    provenance = {**model.info.provenance, "baseline": {"name": baseline.info.name, **of_ann}}
    return replace(model, network=network, parameters=parameters, info=replace(model.info, provenance=provenance))


def train(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
    common: Mapping[str, Any] | None = None,
) -> Trained:
    """Train a plain network, from scratch or from a model.

    Parameters
    ----------
    recipe : a recipe file, or its values; see `nspike.fitting.plan.TrainingPlan` and `nspike.fitting.training.Recipe`.
    output, overwrite, watch, common : as `finetune` takes them.

    Returns
    -------
    Trained
        whose model is an ANN without a spiking form.

    Raises
    ------
    UsageError, BadInputError, ModelError, OutputError
        as `finetune` does.
    """
    return _Work(output, overwrite, watch or NOBODY, common or {}).train(recipe, output)


@dataclass(frozen=True)
class _Work:
    """A recipe carried out, and before it those that it starts from; `made` are the models of these, by their files."""

    output: str | os.PathLike[str] | None
    overwrite: bool
    watch: Watch
    common: Mapping[str, Any]
    made: dict[Path, Model] = field(default_factory=dict)

    def finetune(
        self, recipe: str | os.PathLike[str] | Mapping[str, Any], output: str | os.PathLike[str] | None
    ) -> Trained:
        """What `finetune` does."""
        start = time.monotonic()
        plan = FineTuningPlan.of(self.values(recipe))
        files = self.files(output)
        self.check(plan)
        given = _named(self.model(plan.model), plan)
        baseline = None if plan.baseline is None else self.model(plan.baseline)
        set_threads(plan.threads)  # the runs before had their own
        batches = _batches(given, plan)
        model = _spiking(given, plan, self.watch)
        run: FineTuning = self.begun(FineTuning, model, plan, batches, files)
        trained = carry_out(run, plan, files, self.watch, start)
        tuned = {**plan.to_dict(), "gradient": run.network.gradient, "done": trained.done, "step": trained.step}
        result = _described(trained.model, "fine_tuning", tuned, given.info.provenance.get("fine_tuning"))
        if baseline is not None:
            result = with_baseline(result, baseline)
        return finished(replace(trained, model=result), plan, files)

    def train(
        self, recipe: str | os.PathLike[str] | Mapping[str, Any], output: str | os.PathLike[str] | None
    ) -> Trained:
        """What `train` does."""
        start = time.monotonic()
        plan = TrainingPlan.of(self.values(recipe))
        files = self.files(output)
        self.check(plan)
        given = _named(self.plain(plan), plan)
        set_threads(plan.threads)  # the runs before had their own
        batches = _batches(given, plan)
        run: Training = self.begun(Training, given, plan, batches, files)
        trained = carry_out(run, plan, files, self.watch, start)
        learnt = {**plan.to_dict(), "done": trained.done, "step": trained.step}
        result = _described(trained.model, "training", learnt, given.info.provenance.get("training"))
        return finished(replace(trained, model=result), plan, files)

    def begun(self, kind: Any, model: Model, plan: Plan, batches: CropBatches, files: Files | None) -> Any:
        """A run of this kind."""
        checkpoint = None if files is None else files.checkpoint
        return kind(model, plan.recipe, batches, checkpoint=checkpoint, settings=_settings(plan, batches))

    def values(self, recipe: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
        """The recipe's values."""
        return {**(recipe if isinstance(recipe, Mapping) else read_recipe(recipe)), **self.common}

    def files(self, output: str | os.PathLike[str] | None) -> Files | None:
        """Where to write. Raises OutputError where that cannot be."""
        if output is None:
            return None
        files = Files(Path(output))
        files.check(self.overwrite)
        return files

    def check(self, plan: Plan, *within: Path) -> None:
        """Raise UsageError or BadInputError for what can be known before the first step about a plan and those before it."""
        degradation = plan.undoes()
        for folder in plan.data:
            find_sources(folder, pairs=degradation is None or degradation.kind == "pairs")
        for given in (plan.model, getattr(plan, "baseline", None)):
            if is_recipe(given):
                path = Path(given).resolve()
                if path in within:
                    raise UsageError(f"{given}: starts from itself")
                self.check(plan_of(self.values(given)), *within, path)

    def model(self, given: str | Model, network: str | None = None) -> Model:
        """A model that a plan names: shipped, a file's, or what another recipe makes."""
        if isinstance(given, Model):
            return given
        if is_recipe(given):
            path = Path(given).resolve()
            if path not in self.made:
                beside = None if self.output is None else Path(self.output)
                output = None if beside is None else beside.with_name(f"{beside.stem}.{path.stem}.h5")
                tuned = isinstance(plan_of(self.values(given)), FineTuningPlan)
                self.made[path] = (self.finetune if tuned else self.train)(given, output).model
            return self.made[path]
        if network is None or given.endswith(".h5") or not Path(given).is_file():
            return load(given)
        return import_checkpoint(given, network)

    def plain(self, plan: TrainingPlan) -> Model:
        """What training starts from: a model, an imported checkpoint, or a network from scratch."""
        if plan.model:
            model = self.model(plan.model, plan.network)
            if plan.network not in (None, model.network.name):
                raise UsageError(f"model {model.info.name} is the network {model.network.name}, not {plan.network}")
            return model
        assert plan.network is not None
        architecture: Architecture = registry().networks[plan.network]
        network = without_batch_norm(architecture.network(plan.network_options))
        degradation = plan.undoes()
        task = (degradation and KINDS[degradation.kind].task) or architecture.task
        info = Info(
            plan.name or architecture.name,
            task,
            architecture.colour_of(network),
            provenance={"architecture": architecture.name},
        )
        return Model(info, network, initial_parameters(network, plan.seed))


def _batches(model: Model, plan: Plan) -> CropBatches:
    """The plan's batches, every image read once. Raises BadInputError."""
    batches = CropBatches(
        model, plan.data, degradation=plan.undoes(), batch=plan.batch, patch=plan.patch, seed=plan.seed
    )
    batches.check()
    return batches


def _settings(plan: Plan, batches: CropBatches) -> dict[str, Any]:
    """What the run depends on beside recipe and parameters; the validation too, for it chooses the result."""
    validation = {key: value for key, value in plan.to_dict().items() if key.startswith("validation")}
    return {"batch": plan.batch, "patch": plan.patch, "seed": plan.seed, "data": batches.fingerprint, **validation}


def _described(model: Model, what: str, values: dict[str, Any], earlier: Any) -> Model:
    """The model with `values` in its provenance, and inside what an earlier training said there."""
    values = values if earlier is None else {**values, "before": earlier}
    return model.with_provenance(**{what: values})


def _spiking(model: Model, plan: FineTuningPlan, watch: Watch) -> Model:
    """The model converted, or its parts swapped, and warmed up, as the plan says."""
    degradation = plan.undoes()
    model = _converted(model, plan, degradation)
    if plan.warm_start == "none":
        return model
    crops = CropBatches(
        model, plan.data, degradation=degradation, batch=plan.warm_crops, patch=plan.patch, seed=plan.seed
    )
    return fit(model, *crops(0), overshoot=plan.overshoot, progress=watch.fitted)


def _converted(model: Model, plan: FineTuningPlan, degradation: Degradation | None) -> Model:
    if model.spiking is not None and plan.converter is None:
        changed, _ = swap(model, neuron=plan.neuron, head=plan.head, timesteps=plan.timesteps)
        if plan.neuron_parameters:
            spiking = spiking_of(changed)
            values = registry().neurons[spiking.neuron].values(plan.neuron_parameters)
            each = {layer.name: values for layer in changed.network.activations}
            changed = changed.with_spiking(
                replace(spiking, neuron_parameters={**spiking.neuron_parameters, spiking.neuron: each})
            )
        return changed
    kinds = registry()
    neuron = plan.neuron or NEURON
    crops = CropBatches(
        model, plan.data, degradation=degradation, batch=plan.calibration, patch=plan.patch, seed=plan.seed
    )
    images, targets = crops(0)
    converted, _ = convert(
        model,
        list(images),
        targets=list(targets),
        converter=kinds.converters[plan.converter or CONVERTER],
        neuron=kinds.neurons[neuron],
        head=kinds.heads[plan.head or HEADS.get(neuron, HEAD)],
        options=plan.converter_options,
        neuron_parameters=plan.neuron_parameters,
        timesteps=plan.timesteps or 10,
        threads=plan.threads,
    )
    return converted


def _named(model: Model, plan: Plan) -> Model:
    info = replace(model.info, name=plan.name or model.info.name, licence=plan.licence or model.info.licence)
    undoes = plan.undoes()
    if undoes is not None and undoes.kind != "pairs":
        info = replace(info, degradation=undoes.to_dict())
    return replace(model, info=info)
