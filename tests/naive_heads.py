"""The slow, obvious heads: (spikes, charge, residual, theta, exponents, T, parameters) -> float64 in units of λ."""

import numpy as np

from tests.naive_layers import convolve
from tests.naive_neurons import on_grid


def membrane(n, charge, residual, theta, k, timesteps, parameters):
    return charge * 2.0 ** -np.array(k, np.float64)[:, None, None] / timesteps


def rate(n, charge, residual, theta, k, timesteps, parameters):
    return n / timesteps


def mapper(n, charge, residual, theta, k, timesteps, parameters):
    weight = parameters["weight"]
    mapped = np.zeros(n.shape)
    for c in range(len(weight)):
        largest = np.abs(weight[c]).max()
        k = 0
        if largest:  # 15 bits: the largest lies in [2^14, 2^15]
            while largest * 2.0**k < 2**14:
                k += 1
            while largest * 2.0**k >= 2**15:
                k -= 1
        kernel = np.array([on_grid(w, k) for w in weight[c].ravel()], np.int64).reshape(1, *weight.shape[1:])
        mapped[c] = convolve(n, kernel)[0] * 2.0**-k
    mapped = mapped / timesteps
    if "bias" in parameters:
        mapped = mapped + parameters["bias"][:, None, None]
    return mapped + residual / (timesteps * theta)


def without_residual(n, charge, residual, theta, k, timesteps, parameters):
    return mapper(n, charge, 0 * residual, theta, k, timesteps, parameters)


HEADS = {"membrane": membrane, "rate": rate, "cpm": mapper, "mapper": without_residual, "recycling": mapper}


def head_parameters(model, head):
    channels = model.network.channels
    size = {"cpm": 3, "mapper": 3, "recycling": 1}.get(head)
    if size is None:
        return {}
    weight = np.zeros((channels, channels, size, size))
    for c in range(channels):
        weight[c, c, size // 2, size // 2] = 1
    default = {"weight": weight} | ({"bias": np.zeros(channels)} if head in ("cpm", "mapper") else {})
    return default | dict(model.spiking.head_parameters.get(head, {}))
