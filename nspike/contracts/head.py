"""The contract of a head plugin: how the output layer becomes numbers.

In units of the output layer's scale λ, with currents I(t) on the output channel's grid 2^-k and T steps:

    charge Q = Σ I(t) over all steps, post steps included;  spikes n = Σ s(t) over t <= T;  residual = v - v(0).

A head that `fires` has an integrate-and-fire neuron (soft reset, v(0) = 0) in the output layer, which never fires in the
post steps; then Q = n·θ + residual. Everything that `read` does is elementwise float64, or an integer convolution.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.plugin_code import called, check_functions, shortened
from nspike.errors import PluginError


@dataclass(frozen=True)
class OutputLayer:
    """What the engine hands to a head, for one tile with the head's halo around it.

    charge int64, spikes int32 and residual int32 (C, H, W) (spikes and residual are zero without a neuron);
    theta and exponent int64 (C,); timesteps T.
    """

    charge: NDArray[np.int64]
    spikes: NDArray[np.int32]
    residual: NDArray[np.int32]
    theta: NDArray[np.int64]
    exponent: NDArray[np.int64]
    timesteps: int

    def to_units(self, values: NDArray[np.int64] | NDArray[np.int32]) -> NDArray[np.float64]:
        """Values (C, H, W) on the output channels' grids as float64 in units of λ: exact."""
        return np.ldexp(values.astype(np.float64), -self.exponent[:, None, None])


HeadGradient = Callable[
    [OutputLayer, Mapping[str, NDArray[np.float64]], NDArray[np.float64]], Mapping[str, NDArray[np.float64]]
]


@dataclass(frozen=True)
class Head:
    """A head.

    Parameters
    ----------
    name, summary, source : how it is called, what it is in a line, the paper it comes from.
    fires : whether the output layer has a neuron, whose spikes are counted.
    kernel : the size of a convolution over the output spikes, 0 for none: its radius is the head's halo, its accumulations
        are charged to the ledger.
    initial : channels -> the head's parameters as float64 arrays ("weight" (C, C, k, k) and "bias" (C,) for a convolution).
    read : (OutputLayer, parameters) -> float64 (C, H, W) in units of λ.
    gradient : for training, (OutputLayer, parameters, g) -> the gradients of Σ g·read: "charge" and "residual" (C, H, W), in
        units of λ, "spikes" (C, H, W), for one more spike at any step, "theta" (C,), in units of λ, and the parameters'
        by name; what is left out is zero. A head without it cannot be trained.

    Raises PluginError for a field of the wrong type, or an even kernel.
    """

    name: str
    summary: str
    source: str
    fires: bool
    read: Callable[[OutputLayer, Mapping[str, NDArray[np.float64]]], NDArray[np.float64]]
    kernel: int = 0
    initial: Callable[[int], dict[str, NDArray[np.float64]]] = lambda channels: {}
    gradient: HeadGradient | None = None

    def __post_init__(self) -> None:
        owner = f"head {self.name}"
        check_functions(owner, ("gradient",), read=self.read, initial=self.initial, gradient=self.gradient)
        if isinstance(self.kernel, bool) or not isinstance(self.kernel, int) or self.kernel < 0:
            raise PluginError(
                f"{owner}: kernel is {shortened(self.kernel)}; expected an odd whole number, or 0 for none"
            )
        if self.kernel and self.kernel % 2 == 0:
            raise PluginError(f"{owner}: kernel is {self.kernel}; expected an odd one, whose centre is a pixel")

    def arrays(self, channels: int) -> dict[str, NDArray[np.float64]]:
        """The parameters that `initial` gives. Raises PluginError where it fails, or gives no finite arrays by name."""
        owner = f"head {self.name}"
        arrays = called(owner, self.initial, channels)
        named = isinstance(arrays, dict) and all(isinstance(name, str) for name in arrays)
        if not named or not all(isinstance(array, np.ndarray) and array.dtype.kind == "f" for array in arrays.values()):
            raise PluginError(f"{owner}: initial gave {shortened(arrays)}; expected float64 arrays by name")
        for name, array in arrays.items():
            if not np.all(np.isfinite(array)):
                raise PluginError(f"{owner}: initial gave {name} with NaN or infinity; expected finite numbers")
        return arrays


def convolve_spikes(spikes: NDArray[np.int32], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolve spike counts int32 (C_in, H, W), zero-padded, with weight float64 (C_out, C_in, k, k), in integers.

    The kernel is rounded to a dyadic grid of 15 bits a channel. Returns float64 (C_out, H, W), exact on that grid.
    """
    from nspike.kernels.narrow import convolve  # the compiler is loaded where something is computed

    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1, initial=0.0)
    exponent = np.where(largest > 0, 15 - np.frexp(largest)[1], 0)
    kernel = np.rint(np.ldexp(weight, exponent[:, None, None, None])).astype(np.int64)
    radius = weight.shape[2] // 2
    most = int(np.abs(kernel).reshape(len(kernel), -1).sum(axis=1).max(initial=0)) * int(np.abs(spikes).max(initial=0))
    kind = np.int32 if most < 2**31 else np.int64
    padded = np.pad(spikes.astype(kind), ((0, 0), (radius, radius), (radius, radius)))
    total = np.zeros((len(weight), *spikes.shape[1:]), kind)
    convolve(padded, kernel.astype(kind), total)
    return np.ldexp(total.astype(np.float64), -exponent[:, None, None])


def convolve_spikes_gradient(
    spikes: NDArray[np.int32], weight: NDArray[np.float64], g: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gradients of Σ g·convolve_spikes(spikes, weight), g (C_out, H, W), its rounding passed straight through.

    Returns those with respect to spikes (C_in, H, W) and weight (C_out, C_in, k, k), float64.
    """
    radius, (_, height, width) = weight.shape[2] // 2, spikes.shape
    around = ((0, 0), (radius, radius), (radius, radius))
    padded, spread = np.pad(spikes.astype(np.float64), around), np.zeros(np.pad(spikes, around).shape)
    of_weight = np.zeros(weight.shape)
    for dy, dx in np.ndindex(weight.shape[2:]):
        window = np.s_[:, dy : dy + height, dx : dx + width]
        of_weight[:, :, dy, dx] = np.tensordot(g, padded[window], ((1, 2), (1, 2)))
        spread[window] += np.tensordot(weight[:, :, dy, dx], g, (0, 0))
    return spread[:, radius : radius + height, radius : radius + width], of_weight
