"""Small networks with random weights, the engine over them, and the same spikes by definition, in whole integers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.authoring.conformance.subject import of_stage
from nspike.authoring.conformance.walk import Walk, walk
from nspike.contracts.head import Head, OutputLayer
from nspike.contracts.ledger import Ledger
from nspike.contracts.neuron import Neuron
from nspike.engine import run as engine
from nspike.engine.program import build as build_program
from nspike.engine.tile import LayerSpikes
from nspike.engine.window import Part
from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.images.plane import UNIT
from nspike.integer.rounding import INTEGRATE_AND_FIRE, IntegerNetwork, Stage, build
from nspike.model.model import OUTPUT, Info, Model, Spiking

WIDTHS = {"few channels": (3, 2), "many channels": (24, 12)}
"""The widths of each network's two layers of neurons: the engine packs the spikes of few and of many channels differently."""

TIMESTEPS = 5


def _read(layer: OutputLayer, _: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return layer.to_units(layer.charge) / layer.timesteps


def _gradient(
    layer: OutputLayer, _: Mapping[str, NDArray[np.float64]], g: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    return {"charge": g / layer.timesteps}


HEAD = Head(
    "conformance", "the mean current of the output layer", "nspike.testing", fires=False, read=_read, gradient=_gradient
)


@dataclass(frozen=True)
class Run:
    """spikes: layer -> bool (steps, planes·C, H, W); output float64 (C, H, W); ledger with digests."""

    spikes: Mapping[str, NDArray[np.bool_]]
    output: NDArray[np.float64]
    ledger: Ledger


def model(neuron: Neuron, values: Mapping[str, float], widths: tuple[int, ...], seed: int = 0) -> Model:
    """A chain of 3×3 convolutions whose neurons have thresholds of 0.6 to 1.6 and fire now and then."""
    draw = np.random.default_rng(seed)
    layers: list[Conv | Activation] = []
    parameters: dict[str, NDArray[np.float32]] = {}
    source, read = IMAGE, 1
    for i, width in enumerate((*widths, 1), start=1):
        layers.append(Conv(f"conv{i}", source, read, width, 3))
        spread = 1.5 / np.sqrt(9 * read)
        parameters[f"conv{i}.weight"] = draw.normal(0, spread, (width, read, 3, 3)).astype(np.float32)
        parameters[f"conv{i}.bias"] = draw.normal(0.3, 0.2, width).astype(np.float32)
        if i <= len(widths):
            source, read = f"layer{i}", width
            layers.append(Activation(source, f"conv{i}", width))
    network = Network("conformance", 1, tuple(layers), layers[-1].name, "image")
    sizes = {a.name: a.channels for a in network.activations} | {OUTPUT: 1}
    scales = {name: draw.uniform(0.7, 1.4, n) for name, n in sizes.items()}
    thresholds = {name: draw.uniform(0.6, 1.6, n) for name, n in sizes.items()}
    own = {neuron.name: {a.name: dict(values) for a in network.activations}}
    spiking = Spiking(neuron.name, HEAD.name, TIMESTEPS, scales, thresholds, own)
    return Model(Info("conformance", "denoise", "gray"), network, parameters, spiking)


def image(height: int, width: int, seed: int = 0) -> NDArray[np.int32]:
    """A random image on the input plane's grid, int32 (1, H, W), values outside [0, 1] too."""
    return np.random.default_rng(seed).integers(-UNIT // 4, 3 * UNIT // 2, (1, height, width), dtype=np.int32)


def run(model: Model, neuron: Neuron, plane: NDArray[np.int32], *, tile: int | None = None, threads: int = 1) -> Run:
    """The engine over one image."""
    spikes: dict[str, NDArray[np.bool_]] = {}
    output = np.zeros(plane.shape)

    def sink(part: Part) -> None:
        output[:, *part.core.slices] = part.output

    def observer(seen: LayerSpikes) -> None:
        dense = seen.dense()
        whole = spikes.setdefault(seen.layer, np.zeros((*dense.shape[:2], *plane.shape[1:]), np.bool_))
        whole[:, :, *seen.core.slices] = dense

    ledger = engine.run(
        build_program(model, neuron, HEAD),
        plane[None],
        sink=sink,
        observer=observer,
        digest=True,
        tile=tile,
        threads=threads,
    )
    return Run(spikes, output, ledger)


def integers(model: Model, neuron: Neuron) -> IntegerNetwork:
    """The model in integers."""
    return build(model, neuron, HEAD)


def currents(
    network: IntegerNetwork, stage: Stage, plane: NDArray[np.int32], spikes: Mapping[str, NDArray[np.bool_]]
) -> NDArray[np.int64]:
    """What arrives in a layer at each step, int64 (steps, C, H, W), given the spikes of the layer before."""
    by_step = []
    for t in range(network.steps):
        post = t >= network.timesteps
        if not stage.sources:
            exact = _convolve(plane, stage.integer.weights[0])
            arriving = (2 * exact + UNIT) // (2 * UNIT) * (not post)  # UNIT is odd: no quotient is half-way
        else:
            kernel = stage.integer.weights[min(int(post), len(stage.integer.weights) - 1)]
            arriving = _convolve(spikes[stage.sources[0]][t], kernel)
        by_step.append(arriving + (0 if post else stage.integer.bias[:, None, None]))
    return np.stack(by_step).astype(np.int64)


def by_definition(network: IntegerNetwork, plane: NDArray[np.int32]) -> dict[str, Walk]:
    """The course of every layer of neurons, pixels in raster order; slow, for small images."""
    spikes: dict[str, NDArray[np.bool_]] = {}
    courses: dict[str, Walk] = {}
    for stage in network.stages:
        if stage.neuron is INTEGRATE_AND_FIRE:
            continue  # the output layer
        arriving = currents(network, stage, plane, spikes)
        steps, channels = arriving.shape[:2]
        rows = arriving.reshape(steps, channels, -1).transpose(0, 2, 1).astype(np.int32)
        course = walk(of_stage(stage, network.timesteps), np.ascontiguousarray(rows))
        courses[stage.name] = course
        spikes[stage.name] = as_layer(course.spikes, plane.shape[1:])
    return courses


def as_layer(spikes: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(steps, P, C, planes) as the engine shows it, (steps, planes·C, H, W)."""
    steps, _, channels, planes = spikes.shape
    return spikes.transpose(0, 3, 2, 1).reshape(steps, planes * channels, *shape)


def worth(stage: Stage) -> NDArray[np.int64]:
    """What a spike of each plane takes from the membrane at each step, int64 (steps, planes, C)."""
    gains = np.array(stage.neuron.planes, np.int64)
    return gains[None, :, None] * stage.reset[:, None, :].astype(np.int64)


def _convolve(x: NDArray[np.generic], weights: NDArray[np.int16]) -> NDArray[np.int64]:
    """Zero-padded convolution of (C_in, H, W) with (C, C_in, k, k), tap by tap."""
    radius = weights.shape[-1] // 2
    _, height, width = x.shape
    padded = np.pad(x.astype(np.int64), ((0, 0), (radius, radius), (radius, radius)))
    total = np.zeros((len(weights), height, width), np.int64)
    for dy, dx in np.ndindex(*weights.shape[2:]):
        window = padded[:, dy : dy + height, dx : dx + width]
        total += np.tensordot(weights[:, :, dy, dx].astype(np.int64), window, 1)
    return total
