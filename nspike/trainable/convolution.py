"""Convolutions in training, of the image or of spikes, each source of spikes with its own channels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd import correlation
from nspike.autograd.tensor import Tensor
from nspike.images.plane import UNIT
from nspike.integer.currents import image_current
from nspike.integer.normalise import normalised_conv
from nspike.model.model import Model
from nspike.runtime.buffers import give, take
from nspike.trainable.layer import Floats, Layer
from nspike.trainable.worth import Worth, worth_read

SPIKES_ARE_ONE = False


def floats(model: Model, name: str) -> tuple[Tensor | None, Tensor | None]:
    """The normalised kernel float32 (C, C_in, k, k), and the bias (C,) if the convolution has one."""
    assert model.spiking is not None
    weight, bias = normalised_conv(model.network, model.parameters, model.spiking, name)
    biased = next(conv.bias for conv in model.network.convs if conv.name == name)
    kernel = Tensor(weight.astype(np.float32), requires_grad=True)
    return kernel, Tensor(bias.astype(np.float32), requires_grad=True) if biased else None


def worth(layer: Layer) -> list[Worth]:
    """What trains the worth of the spikes that are read."""
    return worth_read(layer)


# ----- Forward -----


def currents(layer: Layer) -> NDArray[np.int32] | None:
    """What the image brings at every step up to T, int32 (1, N, H, W, C); None for spikes."""
    if layer.sources:
        return None
    kernel = layer.prepared.stage.integer.weights[0].astype(np.float64)  # whole numbers: exact sums in any order
    total = correlation.convolve(layer.shared.plane.astype(np.float64), kernel, pad=layer.prepared.radius)
    return np.asarray(image_current(total).astype(np.int32)[None])


# ----- Back through time -----


def back_in_time(layer: Layer, currents: Floats) -> tuple[list[Any], Floats | None, list[Any]]:
    """∂L/∂s(t) = Ŵᵀ ∂L/∂I(t); ∂L/∂W = Σ a·s ⋆ ∂L/∂I; ∂L/∂a = ⟨W, Σ s ⋆ ∂L/∂I⟩."""
    shared, p = layer.shared, layer.prepared
    integer, count = p.stage.integer, shared.timesteps
    if not layer.sources:
        total = currents[:count].sum(axis=0)
        image = (shared.plane / UNIT).astype(np.float32)
        return [], correlation.kernel_gradient(image, total, p.size, pad=p.radius), []
    worthy = worth_read(layer)
    one = len(integer.weights) == 1 and not worthy
    phases = [(0, shared.steps)] if one or count == shared.steps else [(0, count), (count, shared.steps)]
    channels = sum(train.channels for train in layer.trains)
    gradient = take((shared.steps, *shared.shape, channels) if len(phases) > 1 else (0,))
    products = []
    for phase, (first, last) in enumerate(phases):
        weights = integer.weights[min(phase, len(integer.weights) - 1)]
        kernel = np.ldexp(weights.astype(np.float32), -integer.exponent[:, None, None, None])
        images = currents[first:last].reshape(-1, *currents.shape[2:])
        _, height, width = shared.shape
        part = correlation.input_gradient(images, kernel, height, width, pad=p.radius)
        part = part.reshape(last - first, *shared.shape, channels)
        if len(phases) == 1:
            gradient = part
        else:
            gradient[first:last] = part
            give(part)
        products.append(_kernel_products(layer, currents, first, last))
    ends = np.cumsum([train.channels for train in layer.trains])[:-1]
    parts = [gradient] if not len(ends) else [part.copy() for part in np.split(gradient, ends, axis=4)]
    of_kernel, of_worth = _back_to_worth(layer, worthy, products, [first for first, _ in phases])
    return [(part, None) for part in parts], of_kernel, of_worth


def _back_to_worth(
    layer: Layer, worthy: list[Worth], products: list[Floats], firsts: list[int]
) -> tuple[Floats, list[Any]]:
    """∂L/∂W, and the gradients of what trains the worth of the spikes that are read."""
    assert layer.parameters.weight is not None
    weight = layer.parameters.weight.data
    of_kernel, at = np.zeros_like(weight), 0
    for train, course in zip(layer.trains, layer.courses_read(), strict=True):
        amplitudes = course.amplitudes.astype(np.float32)
        part = np.s_[:, at : at + train.neurons]
        at += train.neurons
        for product, first in zip(products, firsts, strict=True):
            of_kernel[part] += amplitudes[first] * product[part]
    of_worth = []
    for a, b, _, slope in worthy:
        along = [np.sum(weight[:, a:b] * product[:, a:b], dtype=np.float64) for product in products]
        of_worth.append(np.asarray(sum(slope[f] * w for f, w in zip(firsts, along, strict=True))))
    return of_kernel, of_worth


def _kernel_products(layer: Layer, currents: Floats, first: int, last: int) -> Floats:
    """Σ s ⋆ ∂L/∂I over steps first .. last-1, float32 (C, C_in, k, k), s being the sum of the planes times their gains."""
    return _by_neuron(layer, _plane_products(layer, currents, first, last))


def _by_neuron(layer: Layer, products: Floats) -> Floats:
    """Sum over the planes of each source, by their gains."""
    if all(train.planes == (1,) for train in layer.trains):
        return products
    parts, at = [], 0
    for train in layer.trains:
        part = products[:, at : at + train.channels]
        at += train.channels
        by_plane = part.reshape(len(part), len(train.planes), train.neurons, *part.shape[2:])
        parts.append(np.einsum("p,opikl->oikl", np.array(train.planes, np.float32), by_plane))
    return np.concatenate(parts, axis=1)


def _plane_products(layer: Layer, currents: Floats, first: int, last: int) -> Floats:
    """The same for every plane by itself, (C, Σplanes·C_in, k, k)."""
    size, pad, trains = layer.prepared.size, layer.prepared.radius, layer.trains
    shape = (layer.channels, sum(train.channels for train in trains), size, size)
    if len(trains) == 1 and correlation.winograd_serves(shape, currents.dtype, 1, pad):
        none, images = np.zeros(0, np.float32), currents[first:last].reshape(-1, *currents.shape[2:])
        return correlation.tile_products(none, trains[0].data, trains[0].pad, first, shape[1], images)
    total = np.zeros(shape, np.float32)
    for t in range(first, last):
        spikes = np.concatenate([train.floats(t) for train in trains], axis=3)
        total += correlation.kernel_gradient(spikes, currents[t], size, pad=pad)
    return total


# ----- Back through the rate -----


def charge(layer: Layer, read: Floats, bias: Floats) -> Floats:
    """The charge Ŵ * n + b of spike counts n."""
    return np.asarray(correlation.convolve(read, _kernel(layer), bias, pad=layer.prepared.radius), np.float32)


def back_to_sources(layer: Layer, of_charge: Floats) -> list[Any]:
    """The gradient ∂L/∂n = Ŵᵀ ∂L/∂Q in the spike counts."""
    if not layer.sources:
        return []
    _, height, width = layer.shared.shape
    gradient = correlation.input_gradient(of_charge, _kernel(layer), height, width, pad=layer.prepared.radius)
    ends = np.cumsum([train.neurons for train in layer.trains])[:-1]
    parts = [gradient] if not len(ends) else [part.copy() for part in np.split(gradient, ends, axis=3)]
    return [(part, None) for part in parts]


def _kernel(layer: Layer) -> Floats:
    """Ŵ for spikes worth 1, float32 (C, C_in, k, k); of a neuron with several planes, the first's."""
    integer = layer.prepared.stage.integer
    kernel: Floats = np.ldexp(integer.weights[0].astype(np.float32), -integer.exponent[:, None, None, None])
    if not layer.sources:
        return kernel
    planes, first, parts = layer.source_neuron.planes, 0, []
    for train, course in zip(layer.trains, layer.courses_read(), strict=True):
        worth = planes[0] * course.amplitudes[0]
        parts.append(kernel[:, first : first + train.neurons] / np.float32(worth))
        first += train.channels
    return np.concatenate(parts, axis=1)
