"""Training from a recipe to files: prepare the model, run, validate, and write what came of it.

Beside the model OUT.h5 lie OUT.checkpoint.npz, OUT.history.jsonl and OUT.curves.svg. The same call again goes on from the
checkpoint. With a validation folder the result is the model of the best validation, else that of the last step.
"""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from nspike.api import HEAD, HEADS, NEURON, load, save
from nspike.architecture import Architecture
from nspike.atomic import write_bytes
from nspike.batch import ExistsError
from nspike.batches import CropBatches
from nspike.converting import convert
from nspike.curves import Curve, Panel, draw
from nspike.degradation import KINDS, Degradation
from nspike.errors import OutputError, UsageError
from nspike.evaluation import evaluate
from nspike.finetuning import FineTuning
from nspike.history import HistoryFile
from nspike.importing import import_checkpoint
from nspike.initialise import initial_parameters, without_batch_norm
from nspike.learning import Record, Run, Validation
from nspike.model import Info, Model
from nspike.parallel import set_threads
from nspike.parts import spiking_of, swap
from nspike.plan import FineTuningPlan, Plan, TrainingPlan, read_recipe
from nspike.plugins import registry
from nspike.regression import fit
from nspike.training import Training

CONVERTER = "rueckauer"


class Watch(Protocol):
    """Told how a run goes: that it begins, `done` steps having been taken before; each step; each validation."""

    def began(self, done: int, steps: int) -> None:
        """A run begins."""

    def stepped(self, record: Record, steps: int) -> None:
        """A step was taken."""

    def validated(self, validation: Validation) -> None:
        """The model was measured."""


class _Nobody:
    """Does not look."""

    def began(self, done: int, steps: int) -> None: ...

    def stepped(self, record: Record, steps: int) -> None: ...

    def validated(self, validation: Validation) -> None: ...


@dataclass(frozen=True)
class Files:
    """The files beside a model that is being trained."""

    model: Path

    @property
    def checkpoint(self) -> Path:
        """What a run goes on from."""
        return self.model.with_suffix(".checkpoint.npz")

    @property
    def history(self) -> Path:
        """A line of JSON for each step and validation."""
        return self.model.with_suffix(".history.jsonl")

    @property
    def curves(self) -> Path:
        """The curves as a picture."""
        return self.model.with_suffix(".curves.svg")

    def check(self, overwrite: bool) -> None:
        """Raise OutputError where there is no folder, and where a result is in the way that no checkpoint belongs to."""
        if not self.model.parent.is_dir():
            raise OutputError(f"cannot write {self.model}: the folder {self.model.parent} does not exist")
        if self.model.exists() and not overwrite and not self.checkpoint.exists():
            raise ExistsError(f"{self.model}: is there already; --overwrite replaces it")


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    model : the best by validation, or the last. step : whose it is. done : steps taken in all, `before` of them by earlier
    calls. best : its validation. last : the last step's record. seconds : what this call took.
    """

    model: Model
    step: int
    done: int
    before: int
    best: Validation | None
    last: Record | None
    validations: tuple[Validation, ...]
    seconds: float


def finetune(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Trained:
    """Fine-tune a spiking network, as SpikingIR does.

    Parameters
    ----------
    recipe : a recipe file, or its values; see `nspike.plan.FineTuningPlan` and `nspike.finetuning.Recipe`.
    output : the model file to write, others beside it; by default nothing is written, and nothing can be resumed.
    overwrite : replace a model that is there already. watch : told how it goes.

    Returns
    -------
    Trained

    Raises
    ------
    UsageError
        an unknown key, a value out of range, a checkpoint of another recipe.
    BadInputError
        a recipe or pictures that cannot be used.
    ModelError
        a model that cannot be trained, or a loss that diverges.
    OutputError
        what cannot be written, or is there already.
    """
    start = time.monotonic()
    plan = FineTuningPlan.of(recipe if isinstance(recipe, Mapping) else read_recipe(recipe))
    files = _files(output, overwrite)
    set_threads(plan.threads)
    given = plan.model if isinstance(plan.model, Model) else load(plan.model)
    given = _named(given, plan)
    degradation = plan.undoes()
    batches = CropBatches(given, plan.data, degradation=degradation, batch=plan.batch, patch=plan.patch, seed=plan.seed)
    batches.check()
    model = _spiking(given, plan, degradation)
    assert isinstance(plan.recipe, type(plan).RECIPE)
    run = FineTuning(
        model,
        plan.recipe,  # type: ignore[arg-type]
        batches,
        checkpoint=None if files is None else files.checkpoint,
        settings=_settings(plan, batches),
    )
    trained = _carry_out(run, plan, files, watch or _Nobody(), start)
    baseline = load(plan.baseline) if isinstance(plan.baseline, str) else plan.baseline
    tuned = {**plan.to_dict(), "gradient": run.network.gradient, "done": trained.done, "step": trained.step}
    result = _described(trained.model, "fine_tuning", tuned, given.info.provenance.get("fine_tuning"))
    if baseline is not None:
        result = with_baseline(result, baseline)
    return _finished(replace(trained, model=result), plan, files)


def with_baseline(model: Model, baseline: Model) -> Model:
    """`model` with the plain ANN of another one, of the same network, to be compared with.

    Raises UsageError if the networks differ or the spiking form still follows from the ANN.
    """
    from nspike.folding import fold_batch_norm

    network, parameters = fold_batch_norm(baseline.network, baseline.parameters)
    spiking = spiking_of(model)
    if network.rectified() != model.network.rectified():
        raise UsageError(f"the baseline {baseline.info.name} is another network than {model.info.name}")
    if any(conv.name not in spiking.weights for conv in network.convs):
        raise UsageError(f"the spiking form of {model.info.name} follows from its own ANN, which must stay")
    provenance = {**model.info.provenance, "baseline": baseline.info.provenance | {"name": baseline.info.name}}
    return replace(model, network=network, parameters=parameters, info=replace(model.info, provenance=provenance))


def train(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    output: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Trained:
    """Train a plain network, from scratch or from a model.

    Parameters
    ----------
    recipe : a recipe file, or its values; see `nspike.plan.TrainingPlan` and `nspike.training.Recipe`.
    output, overwrite, watch : as `finetune` takes them.

    Returns
    -------
    Trained
        whose model is an ANN without a spiking form.

    Raises
    ------
    UsageError, BadInputError, ModelError, OutputError
        as `finetune` does.
    """
    start = time.monotonic()
    plan = TrainingPlan.of(recipe if isinstance(recipe, Mapping) else read_recipe(recipe))
    files = _files(output, overwrite)
    set_threads(plan.threads)
    given = _plain(plan)
    degradation = plan.undoes()
    batches = CropBatches(given, plan.data, degradation=degradation, batch=plan.batch, patch=plan.patch, seed=plan.seed)
    batches.check()
    run = Training(
        given,
        plan.recipe,  # type: ignore[arg-type]
        batches,
        checkpoint=None if files is None else files.checkpoint,
        settings=_settings(plan, batches),
    )
    trained = _carry_out(run, plan, files, watch or _Nobody(), start)
    learnt = {**plan.to_dict(), "done": trained.done, "step": trained.step}
    result = _described(trained.model, "training", learnt, given.info.provenance.get("training"))
    return _finished(replace(trained, model=result), plan, files)


def _plain(plan: TrainingPlan) -> Model:
    """What training starts from: a model, an imported checkpoint, or a network from scratch."""
    if plan.model:
        model = _given(plan.model, plan.network)
        if plan.network not in (None, model.network.name):
            raise UsageError(f"model {model.info.name} is the network {model.network.name}, not {plan.network}")
        return _named(model, plan)
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
    return _named(Model(info, network, initial_parameters(network, plan.seed)), plan)


def _given(model: str | Model, network: str | None) -> Model:
    if isinstance(model, Model):
        return model
    if network is None or model.endswith(".h5") or not Path(model).is_file():
        return load(model)
    return import_checkpoint(model, network)


def _spiking(model: Model, plan: FineTuningPlan, degradation: Degradation | None) -> Model:
    """The model converted, or its parts swapped, and warmed up, as the plan says."""
    model = _converted(model, plan, degradation)
    if plan.warm_start == "none":
        return model
    crops = CropBatches(
        model, plan.data, degradation=degradation, batch=plan.warm_crops, patch=plan.patch, seed=plan.seed
    )
    return fit(model, *crops(0))


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
    pictures, targets = crops(0)
    converted, _ = convert(
        model,
        list(pictures),
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


def _files(output: str | os.PathLike[str] | None, overwrite: bool) -> Files | None:
    if output is None:
        return None
    files = Files(Path(output))
    files.check(overwrite)
    return files


def _settings(plan: Plan, batches: CropBatches) -> dict[str, Any]:
    """What the run depends on beside recipe and parameters; the validation too, for it chooses the result."""
    validation = {key: value for key, value in plan.to_dict().items() if key.startswith("validation")}
    return {"batch": plan.batch, "patch": plan.patch, "seed": plan.seed, "data": batches.fingerprint, **validation}


def _carry_out(run: Run, plan: Plan, files: Files | None, watch: Watch, start: float) -> Trained:
    """Run, writing history and curves."""
    before = run.done
    watch.began(before, run.recipe.steps)
    known: list[Record | Validation] = [*run.history, *run.validations]
    known.sort(key=lambda entry: (entry.step, isinstance(entry, Validation)))

    def validate(model: Model, step: int) -> Validation:
        return _validation(model, plan, step)

    checked = validate if plan.validation is not None else None
    if files is None:
        run.run(watch.stepped, validate=checked, every=plan.validation_every, validated=watch.validated)
    else:
        with HistoryFile(files.history, known) as history:

            def stepped(record: Record, steps: int) -> None:
                history.add(record)
                watch.stepped(record, steps)

            def validated(validation: Validation) -> None:
                history.add(validation)
                _draw(run, files)
                watch.validated(validation)

            try:
                run.run(
                    stepped,
                    minutes=plan.minutes,
                    validate=checked,
                    every=plan.validation_every,
                    validated=validated,
                )
            finally:
                _draw(run, files)
    return Trained(
        model=run.best_model,
        step=run.done if run.best is None else run.best.step,
        done=run.done,
        before=before,
        best=run.best,
        last=run.history[-1] if run.history else None,
        validations=tuple(run.validations),
        seconds=time.monotonic() - start,
    )


def _finished(trained: Trained, plan: Plan, files: Files | None) -> Trained:
    """The result with its quality measured anew, what was measured before being of another model; written."""
    quality: dict[str, Any] = {}
    if trained.best is not None and plan.validation is not None:
        found = _evaluate(trained.model, plan, baseline=True)
        name = Path(plan.validation).name
        quality[f"{name} x{found.settings.scale}" if found.settings.scale else name] = found.summary()
    model = replace(trained.model, info=replace(trained.model.info, quality=quality))
    if files is not None:
        save(files.model, model)
    return replace(trained, model=model)


def _described(model: Model, what: str, values: dict[str, Any], earlier: Any) -> Model:
    """The model with `values` in its provenance, and inside what an earlier training said there."""
    values = values if earlier is None else {**values, "before": earlier}
    return replace(model, info=replace(model.info, provenance={**model.info.provenance, what: values}))


def _evaluate(model: Model, plan: Plan, *, baseline: bool) -> Any:
    assert plan.validation is not None
    return evaluate(
        model,
        plan.validation,
        sigma=plan.validation_sigma,
        scale=plan.validation_scale,
        limit=plan.validation_limit,
        ann=model.spiking is None,
        baseline=baseline,
        threads=plan.threads,
    )


def _validation(model: Model, plan: Plan, step: int) -> Validation:
    found = _evaluate(model, plan, baseline=False)
    mean, before = found.mean(), found.mean("input")
    if found.ann:
        return Validation(step, mean.psnr, before.psnr)
    rate = math.fsum(picture.firing_rate for picture in found.pictures) / len(found.pictures)
    return Validation(step, mean.psnr, before.psnr, rate, found.mean_energy[0].ratio)


def _draw(run: Run, files: Files) -> None:
    """Write the curves."""
    records, validations = run.history, run.validations
    panels = [
        Panel("loss", (Curve("batch", [(r.step, r.loss) for r in records]),), logarithmic=True),
        Panel(
            "PSNR, dB",
            (
                Curve("batch", [(r.step, r.psnr) for r in records]),
                Curve("validation", [(v.step, v.psnr) for v in validations]),
            ),
        ),
        Panel(
            "firing rate",
            (
                Curve("batch", [(r.step, r.firing_rate) for r in records]),
                Curve("validation", [(v.step, v.firing_rate) for v in validations]),
            ),
        ),
        Panel("energy, SNN / ANN", (Curve("validation", [(v.step, v.energy_ratio) for v in validations]),)),
    ]
    write_bytes(files.curves, draw(panels).encode())
