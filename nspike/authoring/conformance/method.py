"""Checks of a method: its parts are there and take its settings, its recipe is one, it converts, runs and trains."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nspike.authoring.conformance import networks
from nspike.authoring.conformance.report import Fault, Skip
from nspike.contracts.converter import Converter
from nspike.contracts.head import Head
from nspike.contracts.method import Method
from nspike.contracts.neuron import Neuron
from nspike.converting.conversion import convert
from nspike.degradations.batches import Batch
from nspike.fitting.finetuning import FineTuning
from nspike.fitting.recipe import FineTuningRecipe, TrainingRecipe
from nspike.fitting.training import Training
from nspike.integer.grid import MOST_STEPS
from nspike.model.model import Model
from nspike.model.result import Result
from nspike.registry.plugins import registry
from nspike.restoration.image import restore

SIZE = (70, 67)
"""More than one tile of 64 in both directions."""
WAYS: tuple[tuple[int | None, int], ...] = ((64, 1), (None, 2))
"""Tiles and threads that must change nothing."""
TIMESTEPS = 5
"""T of the trials, unless the method's own is smaller."""


@dataclass(frozen=True)
class Parts:
    """The objects that a method's names stand for. Making it raises PluginError for names that no plugin has."""

    converter: Converter
    neuron: Neuron
    head: Head

    @classmethod
    def of(cls, method: Method) -> "Parts":
        """Those of a method."""
        kinds = registry()
        return cls(kinds.converters[method.converter], kinds.neurons[method.neuron], kinds.heads[method.head])


def parts(method: Method) -> str:
    """Converter, neuron and head are registered."""
    found = Parts.of(method)
    return f"{found.converter.name}, {found.neuron.name}, {found.head.name}"


def settings(method: Method) -> str:
    """The parts take the method's options and parameters, and its T is within an int32 membrane's reach."""
    found = Parts.of(method)
    found.converter.values(method.options)
    found.neuron.values(method.neuron_parameters)
    most = MOST_STEPS - found.neuron.post_steps
    if method.timesteps > most:
        raise Fault(f"timesteps is {method.timesteps}; with neuron {found.neuron.name} at most {most}")
    count = len(method.options) + len(method.neuron_parameters)
    return f"T = {method.timesteps}, {count} settings taken"


def recipe(method: Method) -> str:
    """The recipe has keys and values that `nspike train` or `nspike finetune` knows."""
    if method.trained_by == "none":
        raise Skip("it is not trained")
    _recipe(method)
    return f"{len(method.recipe)} keys of nspike {method.trained_by}"


def conversion(method: Method) -> str:
    """A small network is converted, fires, and gives the same bits in tiles and on threads."""
    pixels = _pixels()
    model = _converted(method)
    whole = _run(model, pixels, None, 1)
    if not whole.ledger.spikes:
        raise Fault("not one spike in a small network that it converted")
    ways = [(None, threads) for _, threads in WAYS] if Parts.of(method).neuron.scope == "layer" else WAYS
    for tile, threads in ways:
        if _digests(_run(model, pixels, tile, threads)) != _digests(whole):
            raise Fault(f"tile {tile} and {threads} threads change its spikes")
    return f"{whole.ledger.spikes} spikes, the same in {1 + len(WAYS)} ways"


def training(method: Method) -> str:
    """Two steps of its training move what is trained, and the loss stays finite."""
    if method.trained_by == "none":
        raise Skip("it is not trained")
    run = _finetuning(method) if method.trained_by == "finetune" else _training(method)
    before = {name: tensor.data.copy() for name, tensor in run.parameters.items()}
    for _ in range(2):
        run.step()
    if not all(np.isfinite(record.loss) for record in run.history):
        raise Fault("the loss is not finite")
    moved = sum(not np.array_equal(before[name], tensor.data) for name, tensor in run.parameters.items())
    if not moved:
        raise Fault("training moves nothing")
    return f"{moved} of {len(before)} parameters move"


CHECKS: dict[str, Callable[[Method], str]] = {
    "parts": parts,
    "settings": settings,
    "recipe": recipe,
    "conversion": conversion,
    "training": training,
}
"""Name -> check, in the order in which they run."""

NEEDED = ("parts", "settings", "recipe")
"""When one of these fails, what comes after it is not run: it could not."""


def _recipe(method: Method) -> TrainingRecipe | FineTuningRecipe:
    values = {"data": ["."], "steps": 2, **method.training(min(method.timesteps, TIMESTEPS))}
    if method.trained_by == "train":
        return TrainingRecipe.of({"network": "dncnn", **values})
    return FineTuningRecipe.of({"model": "ann.h5", **values})


def _plain(method: Method) -> Model:
    """A small plain network."""
    found = Parts.of(method)
    return replace(networks.model(found.neuron, found.neuron.values(), networks.WIDTHS["few channels"]), spiking=None)


def _converted(method: Method) -> Model:
    model = _plain(method)
    if method.trained_by == "train":
        run = _training(method)
        run.step()
        model = run.model
    found = Parts.of(method)
    images = [np.random.default_rng(seed).random((1, 48, 48), np.float32) for seed in range(2)]
    return convert(
        model,
        images,
        converter=found.converter,
        neuron=found.neuron,
        head=found.head,
        options=method.options,
        neuron_parameters=method.neuron_parameters,
        timesteps=min(method.timesteps, TIMESTEPS),
        report=False,
    )[0]


def _batch(_: int) -> Batch:
    draw = np.random.default_rng(0)
    clean = draw.random((2, 1, 16, 16), np.float32)
    return np.clip(clean + draw.normal(0, 0.1, clean.shape).astype(np.float32), 0, 1), clean


def _finetuning(method: Method) -> FineTuning:
    options = _recipe(method).options
    return FineTuning(_converted(method), options, _batch)  # type: ignore[arg-type]


def _training(method: Method) -> Training:
    options = _recipe(method).options
    return Training(_plain(method), options, _batch)  # type: ignore[arg-type]


def _pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


def _run(model: Model, pixels: NDArray[np.uint8], tile: int | None, threads: int) -> Result:
    return restore(model, pixels, digest=True, tile=tile, threads=threads)


def _digests(result: Result) -> list[object]:
    return [layer.digests for layer in result.ledger.layers]
