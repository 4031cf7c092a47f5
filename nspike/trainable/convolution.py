"""Convolutions in training, of the image or of spikes, each source of spikes with its own channels."""

from typing import Any

import numpy as np

from nspike.autograd import correlation
from nspike.autograd.tensor import Tensor
from nspike.images.plane import UNIT
from nspike.integer.normalise import normalised_conv
from nspike.model.model import Model
from nspike.runtime.buffers import give, take
from nspike.trainable.layer import Floats
from nspike.trainable.worth import worth_read
from nspike.trainable.written import Worth, Written

WORTH_IS_FIXED = False


def floats(model: Model, name: str) -> tuple[Tensor | None, Tensor | None]:
    """The normalised kernel float32 (C, C_in/groups, k, k), and the bias (C,) if the convolution has one."""
    assert model.spiking is not None
    weight, bias = normalised_conv(model.network, model.parameters, model.spiking, name)
    biased = next(conv.bias for conv in model.network.convs if conv.name == name)
    kernel = Tensor(weight.astype(np.float32), requires_grad=True)
    return kernel, Tensor(bias.astype(np.float32), requires_grad=True) if biased else None


def read(written: Written, n: int) -> Any:
    """The image or what is like it, or spikes."""
    return written.spikes_of(n) if written.sources else written.plane_of(n)


def worth(written: Written) -> list[Worth]:
    """What trains the worth of the spikes that are read."""
    return worth_read(written)


def _form(written: Written) -> dict[str, Any]:
    """Stride, padding, groups and dilation as `nspike.autograd.correlation` takes them."""
    conv: Any = written.layer
    return {"stride": conv.stride, "pad": conv.pads, "groups": conv.groups, "dilation": conv.dilation}


# ----- Back through time -----


def back_in_time(written: Written, currents: Floats) -> tuple[list[Any], Floats | None, list[Any]]:
    """∂L/∂s(t) = Ŵᵀ ∂L/∂I(t); ∂L/∂W = Σ a·s ⋆ ∂L/∂I; ∂L/∂a = ⟨W, Σ s ⋆ ∂L/∂I⟩."""
    shared, integer, count = written.shared, written.integer, written.shared.timesteps
    conv: Any = written.layer
    if not written.sources:
        total = currents[:count].sum(axis=0)
        image = (written.image / UNIT).astype(np.float32)
        return [], correlation.kernel_gradient(image, total, conv.kernel, **_form(written)), []
    worthy = worth_read(written)
    one = len(integer.weights) == 1 and not worthy
    phases = [(0, shared.steps)] if one or count == shared.steps else [(0, count), (count, shared.steps)]
    channels = sum(train.channels for train in written.trains)
    shape = (written.shape[0], *written.read_size)
    gradient = take((shared.steps, *shape, channels) if len(phases) > 1 else (0,))
    products = []
    for phase, (first, last) in enumerate(phases):
        weights = integer.weights[min(phase, len(integer.weights) - 1)]
        kernel = np.ldexp(weights.astype(np.float32), -integer.exponent[:, None, None, None])
        images = currents[first:last].reshape(-1, *currents.shape[2:])
        part = correlation.input_gradient(images, kernel, *shape[1:], **_form(written))
        part = _spread(written, part).reshape(last - first, *shape, channels)
        if len(phases) == 1:
            gradient = part
        else:
            gradient[first:last] = part
            give(part)
        products.append(_plane_products(written, currents, first, last))
    ends = np.cumsum([train.channels for train in written.trains])[:-1]
    parts = [gradient] if not len(ends) else [part.copy() for part in np.split(gradient, ends, axis=4)]
    back_to_worth = _back_to_worth if conv.groups == 1 else _back_to_worth_in_groups
    of_kernel, of_worth = back_to_worth(written, worthy, products, [first for first, _ in phases])
    return [(part, None) for part in parts], of_kernel, of_worth


def _spread(written: Written, gradient: Floats) -> Floats:
    """From the spike channels of each group, one group after the other, to those of the sources."""
    assert written.inputs is not None
    read = written.inputs
    if read.in_order:
        return gradient
    out = np.zeros((*gradient.shape[:-1], sum(train.channels for train in written.trains)), np.float32)
    there = read.gains.ravel() != 0
    out[..., read.places.ravel()[there]] = gradient[..., there]
    return out


def _back_to_worth(
    written: Written, worthy: list[Worth], by_plane: list[Floats], firsts: list[int]
) -> tuple[Floats, list[Any]]:
    """∂L/∂W, and the gradients of what trains the worth of the spikes that are read."""
    assert written.parameters.weight is not None
    products = [_by_neuron(written, product) for product in by_plane]
    weight = written.parameters.weight.data
    of_kernel, at = np.zeros_like(weight), 0
    for train, course in zip(written.trains, written.courses_read(), strict=True):
        amplitudes = course.amplitudes.astype(np.float32)
        part = np.s_[:, at : at + train.neurons]
        at += train.neurons
        for product, first in zip(products, firsts, strict=True):
            of_kernel[part] += amplitudes[first] * product[part]
    of_worth = []
    for _, a, b, _, slope in worthy:
        along = [np.sum(weight[:, a:b] * product[:, a:b], dtype=np.float64) for product in products]
        of_worth.append(np.asarray(sum(slope[f] * w for f, w in zip(firsts, along, strict=True))))
    return of_kernel, of_worth


def _by_neuron(written: Written, products: Floats) -> Floats:
    """Sum over the planes of each source, by their gains."""
    if all(train.planes == (1,) for train in written.trains):
        return products
    parts, at = [], 0
    for train in written.trains:
        part = products[:, at : at + train.channels]
        at += train.channels
        by_plane = part.reshape(len(part), len(train.planes), train.neurons, *part.shape[2:])
        parts.append(np.einsum("p,opikl->oikl", np.array(train.planes, np.float32), by_plane))
    return np.concatenate(parts, axis=1)


def _back_to_worth_in_groups(
    written: Written, worthy: list[Worth], by_plane: list[Floats], firsts: list[int]
) -> tuple[Floats, list[Any]]:
    """As `_back_to_worth`, of a convolution in groups."""
    assert written.parameters.weight is not None
    weight, sources = written.parameters.weight.data, range(len(written.sources))
    by_source = [[_in_group(written, product, part) for part in sources] for product in by_plane]
    amplitudes = [course.amplitudes.astype(np.float32) for course in written.courses_read()]
    of_kernel = np.zeros_like(weight)
    for products, first in zip(by_source, firsts, strict=True):
        for part, product in zip(sources, products, strict=True):
            of_kernel += amplitudes[part][first] * product
    of_worth = []
    for part, _, _, _, slope in worthy:
        along = [np.sum(weight * products[part], dtype=np.float64) for products in by_source]
        of_worth.append(np.asarray(sum(slope[f] * w for f, w in zip(firsts, along, strict=True))))
    return of_kernel, of_worth


def _in_group(written: Written, products: Floats, part: int) -> Floats:
    """Σ s ⋆ ∂L/∂I of source `part` alone, (C, C_in/groups, k, k), the planes summed by their gains."""
    assert written.inputs is not None
    assert written.parameters.weight is not None
    read = written.inputs
    if read.in_order and len(written.sources) == 1 and written.trains[0].planes == (1,):
        return products
    out = np.zeros_like(written.parameters.weight.data)
    groups, each = len(read.places), out.shape[1]
    kept = len(out) // groups
    for group in range(groups):
        rows = slice(group * kept, (group + 1) * kept)
        gains = (read.gains[group] * (read.part[group] == part)).astype(np.float32)
        local = read.channels[group] - group * each
        np.add.at(out[rows].swapaxes(0, 1), local, (gains[None, :, None, None] * products[rows]).swapaxes(0, 1))
    return out


def _plane_products(written: Written, currents: Floats, first: int, last: int) -> Floats:
    """Σ s ⋆ ∂L/∂I over steps first .. last-1, for every spike channel that a group reads: float32 (C, I, k, k)."""
    assert written.inputs is not None
    conv: Any = written.layer
    trains, size, form = written.trains, conv.kernel, _form(written)
    shape = (written.channels, written.inputs.places.shape[1], size, size)
    plain = {"groups": conv.groups, "dilation": conv.dilation}
    if len(trains) == 1 and correlation.winograd_serves(shape, currents.dtype, conv.stride, conv.pads, **plain):
        none, images = np.zeros(0, np.float32), currents[first:last].reshape(-1, *currents.shape[2:])
        return correlation.tile_products(none, trains[0].data, trains[0].pad, first, shape[1], images)
    total = np.zeros(shape, np.float32)
    places = written.inputs.places.ravel()
    for t in range(first, last):
        each = [train.floats(t) for train in trains]
        spikes = each[0] if len(each) == 1 else np.concatenate(each, axis=3)
        read = spikes if written.inputs.in_order else np.ascontiguousarray(spikes[..., places])
        total += correlation.kernel_gradient(read, currents[t], size, **form)
    return total


# ----- Back through the rate -----


def charge(written: Written, read: Floats, bias: Floats) -> Floats:
    """The charge Ŵ * n + b of spike counts n."""
    return np.asarray(correlation.convolve(read, _kernel(written), bias, **_form(written)), np.float32)


def back_to_sources(written: Written, of_charge: Floats) -> list[Any]:
    """The gradient ∂L/∂n = Ŵᵀ ∂L/∂Q in the spike counts."""
    if not written.sources:
        return []
    gradient = correlation.input_gradient(of_charge, _kernel(written), *written.read_size, **_form(written))
    ends = np.cumsum([train.neurons for train in written.trains])[:-1]
    parts = [gradient] if not len(ends) else [part.copy() for part in np.split(gradient, ends, axis=3)]
    return [(part, None) for part in parts]


def rate_products(written: Written, read: Floats, of_charge: Floats) -> Floats:
    """∂L/∂W = n ⋆ ∂L/∂Q."""
    conv: Any = written.layer
    return correlation.kernel_gradient(read, of_charge, conv.kernel, **_form(written))


def _kernel(written: Written) -> Floats:
    """Ŵ for spikes worth 1, float32 (C, C_in/groups, k, k); of a neuron with several planes, the first's."""
    integer = written.integer
    kernel: Floats = np.ldexp(integer.weights[0].astype(np.float32), -integer.exponent[:, None, None, None])
    if not written.sources:
        return kernel
    assert written.inputs is not None
    read = written.inputs
    worth = np.array(
        [s.train.planes[0] * c.amplitudes[0] for s, c in zip(written.sources, written.courses_read(), strict=True)],
        np.float32,
    )
    parts = []
    for group, rows in enumerate(np.split(kernel, len(read.places))):
        first = np.unique(read.channels[group], return_index=True)[1]  # of each channel, its first plane
        parts.append(rows[:, first] / worth[read.part[group][first], None, None])
    return np.concatenate(parts)
