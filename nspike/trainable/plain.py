"""A plain network that can be trained: its layers as differentiable operations, in float32, on whole batches.

Batch norm is folded first. An ANN that ends in a ReLU is trained without it: an image is clipped at 0 anyway, and what is
below would not learn.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nspike.ann import run as ann
from nspike.autograd.activation import clipped_relu, qcfs, relu, signed_clip
from nspike.autograd.tensor import Tensor
from nspike.graph.layer import IMAGE, Activation, Constant
from nspike.graph.mode import restored
from nspike.graph.network import Network
from nspike.model.model import Model
from nspike.trainable.noise_map import planes
from nspike.trainable.operations import OPERATIONS

Kind = Literal["relu", "clipped", "qcfs"]

LEAST_CEILING = 1e-3


class DifferentiableAnn:
    """A model's plain network for training.

    Parameters
    ----------
    model : its spiking form, if it has one, does not matter and is not kept.
    kind : of activations: ReLU, ReLU with a ceiling that is trained, or QCFS.
    levels : of QCFS.
    ceilings : activation name -> where the ceilings start, one number or one for each channel; not for ReLU.
    overshoot : of QCFS, the mean, in levels, of what spikes give too much, see `nspike.fitting.training`.
    """

    def __init__(
        self,
        model: Model,
        *,
        kind: Kind = "relu",
        levels: int = 8,
        ceilings: Mapping[str, NDArray[Any]] | None = None,
        overshoot: float = 0.0,
    ) -> None:
        network, parameters = ann.fold_batch_norm(model.network, model.parameters)
        self.network, self.kind, self.levels, self.overshoot = network, kind, levels, overshoot
        self._model = replace(model, info=replace(model.info, trained="plain"), network=network, spiking=None)
        self._parameters = {
            name: Tensor(np.array(array, np.float32), requires_grad=True) for name, array in parameters.items()
        }
        self._steady = {layer.name for layer in network.activations if _is_steady(network, layer.source)}
        self._ceilings: dict[str, Tensor] = {}
        if kind != "relu":
            assert ceilings is not None
            self._ceilings = {
                layer.name: Tensor(np.array(ceilings[layer.name], np.float32).reshape(-1, 1, 1), requires_grad=True)
                for layer in network.activations
            }

    def parameters(self) -> dict[str, Tensor]:
        """Everything that is trained, by name: CONV.weight, CONV.bias, LAYER.ceiling."""
        return self._parameters | {f"{name}.ceiling": tensor for name, tensor in self._ceilings.items()}

    def constrain(self) -> None:
        """Keep ceilings above 0."""
        for tensor in self._ceilings.values():
            tensor.data = np.maximum(tensor.data, np.float32(LEAST_CEILING))

    def to_model(self) -> Model:
        """The model with the parameters as they are now."""
        limited = {layer.name: self._limited(layer) for layer in self.network.activations}
        layers = tuple(limited.get(layer.name, layer) for layer in self.network.layers)
        network: Network = replace(self.network, layers=layers)
        arrays = {name: np.ascontiguousarray(tensor.data) for name, tensor in self._parameters.items()}
        return replace(self._model, network=network, parameters=arrays)

    def run(
        self,
        plane: NDArray[np.float32],
        *,
        seed: int | None = None,
        sigmas: NDArray[np.float64] | None = None,
        features: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """The restored images (N, C, H, W), not clipped; with the overshoot that `seed` gives, or without.

        plane : float32 (N, C, H, W), its sides multiples of the network's `size_multiple`. A network that enlarges gives
        images that are larger by its `scale`. sigmas : the noise level of each image, of 255, (N,), for a network that is
        told it; None for what the network says. features : for each layer's name among its keys, is given that layer's values.
        """
        values = self._values(np.asarray(plane, np.float32), seed, sigmas)
        if features is not None:
            features.update({name: values[name] for name in features})
        restored_image: Tensor = restored(self.network.mode, values[IMAGE], values[self.network.output])
        return restored_image

    def activations(self, plane: NDArray[np.float32], *, seed: int | None = None) -> dict[str, NDArray[np.float32]]:
        """What each activation gives, float32 (N, C, H, W)."""
        values = self._values(np.asarray(plane, np.float32), seed)
        return {layer.name: values[layer.name].data for layer in self.network.activations}

    def _values(
        self, plane: NDArray[Any], seed: int | None, sigmas: NDArray[np.float64] | None = None
    ) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {IMAGE: Tensor(plane)}
        running = _Running(self, seed, sigmas)
        for layer in self.network.layers:
            read = [values[source] for source in layer.sources]
            values[layer.name] = OPERATIONS[type(layer)](running, layer, read, values)
        return values

    def activate(self, layer: Activation, value: Tensor, seed: int | None) -> Tensor:
        """What an activation makes of what it reads, with the overshoot that `seed` gives, or without."""
        if self.kind == "relu":
            return value if layer.signed else relu(value)
        ceiling = self._ceilings[layer.name]
        if self.kind == "clipped":
            return signed_clip(value, ceiling) if layer.signed else clipped_relu(value, ceiling)
        if seed is None or layer.signed or layer.name in self._steady:
            return qcfs(value, ceiling, levels=self.levels, signed=layer.signed)
        layer_seed = zlib.crc32(f"{layer.name} {seed}".encode())
        return qcfs(value, ceiling, levels=self.levels, overshoot=self.overshoot, seed=layer_seed)

    def _limited(self, layer: Activation) -> Activation:
        if self.kind == "relu":
            return replace(layer, ceiling=None, levels=None)
        ceiling = tuple(float(value) for value in self._ceilings[layer.name].data.ravel())
        return replace(layer, ceiling=ceiling, levels=self.levels if self.kind == "qcfs" else None)


@dataclass(frozen=True)
class _Running:
    """A network for one run: its parameters, what decides its overshoot, and the images' noise levels."""

    network: DifferentiableAnn
    seed: int | None
    sigmas: NDArray[np.float64] | None

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        return self.network._parameters

    def activate(self, layer: Activation, value: Tensor) -> Tensor:
        return self.network.activate(layer, value, self.seed)

    def planes(self, layer: Constant, count: int) -> NDArray[np.float64]:
        return planes(layer, count, self.sigmas)


def _is_steady(network: Network, name: str) -> bool:
    """Whether no neurons come before layer `name`: what it gives in spikes is the same at every step."""
    if name == IMAGE:
        return True
    if any(name == activation.name for activation in network.activations):
        return False
    return all(_is_steady(network, source) for source in network.layer(name).sources)


def initial_ceilings(
    model: Model,
    plane: NDArray[np.float32],
    *,
    percentile: float,
    per: Literal["layer", "channel"],
    sigmas: NDArray[np.float64] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Where ceilings start: those that the network has, else a percentile of its positive activations on `plane`.

    sigmas : as of `DifferentiableAnn.run`.
    """
    network, parameters = ann.fold_batch_norm(model.network, model.parameters)
    captured: dict[str, Any] = {activation.name: None for activation in network.activations}
    if sigmas is None:
        ann.run(network, parameters, plane, capture=captured)
    else:
        each = [dict(captured) for _ in plane]
        for image, sigma, own in zip(plane, sigmas, each, strict=True):
            ann.run(network.at_noise(float(sigma)), parameters, image[None], capture=own)
        captured = {name: np.concatenate([own[name] for own in each]) for name in captured}
    ceilings = {}
    for layer in network.activations:
        if layer.ceiling is not None:
            ceilings[layer.name] = np.array(layer.ceiling)
            if per == "channel":
                ceilings[layer.name] = np.broadcast_to(ceilings[layer.name], (layer.channels,)).copy()
            continue
        values = np.abs(captured[layer.name])  # what is not signed is positive
        whole = _percentile(values, percentile) or 1.0
        ceilings[layer.name] = np.array([whole])
        if per == "channel":
            channels = values.transpose(1, 0, 2, 3)
            ceilings[layer.name] = np.array([max(_percentile(each, percentile), 0.01 * whole) for each in channels])
    return ceilings


def _percentile(values: NDArray[np.float32], percentile: float) -> float:
    """The percentile of the positive values; 0 if there are none."""
    positive = values[values > 0]
    return float(np.percentile(positive.astype(np.float64), percentile)) if positive.size else 0.0
