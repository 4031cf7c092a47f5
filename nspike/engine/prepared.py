"""A stage's integers in the layout of the kernels, made once for each program."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nspike.engine import digits
from nspike.engine.tiling import packings
from nspike.graph.layer import Conv, Gate, Layer
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.kernels import firing
from nspike.kernels.vector import TAIL

LANES = 16
ALIGNMENT = 64

_Number = TypeVar("_Number", bound=np.integer)
_Weights = NDArray[np.int16] | NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """A stage for the kernels.

    packing : "wide" or "narrow", of its spikes.
    weights : wide int16 (phases, rows·columns); narrow int16 (phases, C, taps); from the image int64, wide
        (k·k·C_in, columns), narrow (C, C_in, k, k); empty for a gate, and where the fused kernels do not run the stage.
    bias : int32 (2, columns), for the steps up to T and after; v0 int32 (columns,); threshold, reset int32 (steps, columns).
    dynamics : of its neurons, as `nspike.kernels.firing.form` gives it. form : of neurons that fire digits, else None.
    """

    stage: Stage
    packing: str
    size: int
    source_channels: tuple[int, ...]
    weights: NDArray[np.int16] | NDArray[np.int64]
    bias: NDArray[np.int32]
    v0: NDArray[np.int32]
    threshold: NDArray[np.int32]
    reset: NDArray[np.int32]
    dynamics: firing.Form
    form: digits.Form | None = None

    @property
    def columns(self) -> int:
        """The number of output channels, for wide layers padded to a multiple of `LANES`."""
        return int(self.v0.size)

    @property
    def radius(self) -> int:
        """The radius of the convolution in pixels, (size - 1)/2; 0 for a gate."""
        return self.size // 2

    def phase(self, step: int, timesteps: int) -> int:
        """The index into `weights` of the kernel used at `step`, counted from 0."""
        return min(int(step >= timesteps), len(self.weights) - 1)


def spike_channels(integers: IntegerNetwork, name: str) -> int:
    """The channels of a tensor of spikes, planes and all."""
    return integers.network.widths[name] * len(integers.planes(name))


def prepare(
    integers: IntegerNetwork, packing: Mapping[str, str] | None = None, laid: Collection[str] | None = None
) -> dict[str, Prepared]:
    """Every stage by name; `packing` of each stage is the one that runs it fastest unless given.

    laid : the stages whose weights are laid out for the fused kernels, by default all.
    """
    packing = packings(integers) if packing is None else packing
    names = {stage.name for stage in integers.stages} if laid is None else laid
    return {
        stage.name: _prepare(stage, integers, packing[stage.name], stage.name in names) for stage in integers.stages
    }


def _prepare(stage: Stage, integers: IntegerNetwork, packing: str, laid: bool) -> Prepared:
    narrow = packing == "narrow"
    size = stage.integer.weights.shape[-1]
    columns = stage.channels if narrow else -(-stage.channels // LANES) * LANES
    source_channels: tuple[int, ...] = ()
    weights: _Weights = np.zeros((1, 0), np.int16)
    if laid:
        source_channels = tuple(spike_channels(integers, source) for source in stage.sources)
        weights = LAYOUT[type(stage.layer)](stage, source_channels, columns, narrow)
    bias = np.stack([stage.integer.bias, np.zeros_like(stage.integer.bias)])
    return Prepared(
        stage=stage,
        packing=packing,
        size=size,
        source_channels=source_channels,
        weights=weights,
        bias=padded(bias, columns),
        v0=padded(stage.v0, columns),
        threshold=padded(stage.threshold, columns, NEVER_FIRES),
        reset=padded(stage.reset, columns),
        dynamics=_dynamics(stage),
        form=digits.form_of(stage, integers.steps),
    )


def _dynamics(stage: Stage) -> firing.Form:
    d = stage.dynamics
    return firing.form(stage.channels, d.keep, d.input_factor, d.to_zero, d.up, d.down, d.most)


def padded(array: NDArray[_Number], columns: int, value: np.int32 | int = 0) -> NDArray[_Number]:
    """Pad the last axis to `columns`."""
    widths = [(0, 0)] * (array.ndim - 1) + [(0, columns - array.shape[-1])]
    return np.ascontiguousarray(np.pad(array, widths, constant_values=value))


def aligned(shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Zeros that start at a cache line: a row of weights that straddles lines costs a third of the speed."""
    count = int(np.prod(shape))
    raw = np.zeros(2 * count + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + 2 * count].view(np.int16).reshape(shape)


def _wide(weights: NDArray[np.int16], source_channels: tuple[int, ...], columns: int) -> NDArray[np.int16]:
    """Rows (dy, dx, word, bit), each source starting at a new word, and a last row of zeros."""
    phases, channels, _, size, _ = weights.shape
    words = [-(-n // 64) for n in source_channels]
    out = aligned((phases, (size * size * sum(words) * 64 + 1) * columns))
    table = out.reshape(phases, -1, columns)[:, :-1].reshape(phases, size, size, sum(words) * 64, columns)
    first_word = first = 0
    for n, w in zip(source_channels, words, strict=True):
        part = weights[:, :, first : first + n].transpose(0, 3, 4, 2, 1)
        table[:, :, :, first_word * 64 : first_word * 64 + n, :channels] = part
        first_word += w
        first += n
    return out


def _narrow(weights: NDArray[np.int16]) -> NDArray[np.int16]:
    """Taps in the order (dy, channel, dx) of the masks, padded to a multiple of four."""
    phases, channels = weights.shape[:2]
    taps = weights.transpose(0, 1, 3, 2, 4).reshape(phases, channels, -1)
    return padded(taps, -(-taps.shape[-1] // TAIL) * TAIL)


def _conv_weights(stage: Stage, source_channels: tuple[int, ...], columns: int, narrow: bool) -> _Weights:
    if not stage.sources:
        kernel = stage.integer.weights[0].astype(np.int64)
        return kernel if narrow else padded(kernel.transpose(2, 3, 1, 0).reshape(-1, stage.channels), columns)
    return _narrow(stage.integer.weights) if narrow else _wide(stage.integer.weights, source_channels, columns)


def _gate_weights(stage: Stage, *_: object) -> _Weights:
    return stage.integer.weights


LAYOUT: dict[type[Layer], Callable[[Stage, tuple[int, ...], int, bool], _Weights]] = {
    Conv: _conv_weights,
    Gate: _gate_weights,
}
"""(stage, channels of its sources, columns, whether narrow) -> the weights of a `Prepared`."""


def narrow_offsets(prepared: Prepared, padded_columns: int) -> NDArray[np.int32]:
    """The index of each tap of `_narrow` in the flat masks (rows, channels, padded columns) of an output row."""
    channels, size = sum(prepared.source_channels), prepared.size
    dy, c, dx = np.meshgrid(np.arange(size), np.arange(channels), np.arange(size), indexing="ij")
    offsets = ((dy * channels + c) * padded_columns + dx).reshape(-1)
    return np.pad(offsets, (0, prepared.weights.shape[-1] - offsets.size)).astype(np.int32)
