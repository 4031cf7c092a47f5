"""Layers of the plain ANN that look at the whole image: what they add up row by row, and what follows for each pixel.

    attention (Restormer): in each head S = Σ q·kᵀ and the squared lengths over all pixels; then softmax(τ·Ŝ)·v is a 1×1
    convolution of v;
    a pool: Σ x, or the largest;
    frequencies (AdaIR): the few coefficients of F x that a box can hold; then the low part is their sum at each pixel, and the
    high part is what is left of x.

Rows are added in their order, so the bands in which they come do not change a bit.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.ann.field import Floats
from nspike.ann.packed import PackedConv, pack_conv
from nspike.graph.layer import Conv
from nspike.graph.plain_layer import Attention, FrequencySplit, GlobalPool

Doubles = NDArray[np.float64]
InRows = Callable[[int, Callable[[int, int], None]], None]
"""(count, run): calls run(first, last) for chunks of rows, on all threads."""

_GROUP = 32  # rows whose sums are in memory at once
_LEAST = 1e-12  # the least length that a vector is divided by, as PyTorch's `normalize`


def _groups(rows: int) -> Iterator[slice]:
    return (slice(first, first + _GROUP) for first in range(0, rows, _GROUP))


class AttentionSums:
    """Σ q·kᵀ in each head, Σ q² and Σ k², of the rows so far."""

    def __init__(self, layer: Attention, height: int, width: int) -> None:
        self.layer = layer
        each = layer.channels // layer.heads
        self.products: Doubles = np.zeros((layer.heads, each, each))
        self.squares: Doubles = np.zeros((2, layer.channels))

    def add(self, in_rows: InRows, first: int, q: Floats, k: Floats) -> None:
        """Add rows (h, W, C), of which the first is row `first` of the image."""
        from nspike.kernels.whole_image import multiply_channels, padded

        heads, each = self.layer.heads, self.layer.channels // self.layer.heads
        for group in _groups(len(q)):
            rows, keys = q[group], k[group]
            products = np.empty((len(rows), heads, *padded(each)), np.float32)
            squares = np.empty((len(rows), 2, self.layer.channels))

            def run(top: int, bottom: int, given: Any = (rows, keys), out: Any = (products, squares)) -> None:
                multiply_channels(*given, heads, top, bottom, *out)

            in_rows(len(rows), run)
            for part, lengths in zip(products, squares, strict=True):
                self.products += part[:, :each, :each]
                self.squares += lengths

    def mixing(self, temperature: Floats) -> PackedConv:
        """softmax(τ·q̂·k̂ᵀ), as a 1×1 convolution of v in as many groups as heads."""
        layer = self.layer
        each = layer.channels // layer.heads
        lengths = np.maximum(np.sqrt(self.squares), _LEAST).reshape(2, layer.heads, each)
        scores = self.products / (lengths[0][:, :, None] * lengths[1][:, None, :])
        scores *= temperature.astype(np.float64)[:, None, None]
        weights = np.exp(scores - scores.max(2, keepdims=True))
        weights /= weights.sum(2, keepdims=True)
        conv = Conv(layer.name, layer.sources[2], layer.channels, layer.channels, 1, bias=False, groups=layer.heads)
        kernel = weights.reshape(layer.channels, each, 1, 1).astype(np.float32)
        return pack_conv(conv, {f"{layer.name}.weight": kernel})


class PoolSums:
    """The sum, or the largest, of each channel of the rows so far."""

    def __init__(self, layer: GlobalPool, height: int, width: int) -> None:
        self.largest = layer.function == "max"
        self.pixels = height * width
        self.total: Any = None

    def add(self, in_rows: InRows, first: int, x: Floats) -> None:
        """Add rows (h, W, C)."""
        from nspike.kernels.whole_image import sum_rows

        if self.largest:
            most = x.max((0, 1))
            self.total = most if self.total is None else np.maximum(self.total, most)
            return
        sums = np.empty((len(x), x.shape[2]))
        in_rows(len(x), lambda top, bottom: sum_rows(x, top, bottom, sums))
        for row in sums:
            self.total = row if self.total is None else self.total + row

    def value(self) -> Floats:
        """The pooled values (C,)."""
        return np.asarray(self.total if self.largest else self.total / self.pixels, np.float32)


class FrequencySums:
    """The coefficients of F x, over the number of pixels, that the largest box holds."""

    def __init__(self, layer: FrequencySplit, height: int, width: int) -> None:
        self.size = (height, width)
        self.most = (height // layer.block, width // layer.block)
        self.coefficients = np.zeros((2 * self.most[0], 2 * self.most[1], layer.channels), np.complex128)

    def _waves(self, axis: int, most: int, positions: NDArray[np.intp]) -> NDArray[np.complex128]:
        """e^(2πi·f·p/n) of the frequencies -most .. most-1 (rows) at some positions (columns) along an axis."""
        turns = np.outer(np.arange(-most, most), positions) % self.size[axis]
        return np.asarray(np.exp(2j * np.pi / self.size[axis] * turns))

    def add(self, in_rows: InRows, first: int, x: Floats) -> None:
        """Add rows (h, W, C), of which the first is row `first` of the feature map."""
        if not self.coefficients.size:
            return
        along = self._waves(1, self.most[1], np.arange(self.size[1])).conj() / (self.size[0] * self.size[1])
        parts = np.concatenate([along.real, along.imag])
        down = self._waves(0, self.most[0], np.arange(first, first + len(x))).conj()
        for row, factors in zip(x, down.T, strict=True):
            real, imaginary = np.split(parts @ row.astype(np.float64), 2)
            self.coefficients += factors[:, None, None] * (real + 1j * imaginary)

    def split(self, x: Floats, shares: Floats, region: tuple[int, int, int, int], in_rows: InRows, out: Floats) -> None:
        """Low, then high frequencies of x (h, w, C), which is `region` of the feature map, in out (h, w, 2·C)."""
        channels = x.shape[2]
        half = [int(np.float32(most) * share) for most, share in zip(self.most, shares.ravel(), strict=True)]
        if 0 in half:
            out[..., :channels] = 0
            np.abs(x, out=out[..., channels:])
            return
        middle = [slice(most - side, most + side) for most, side in zip(self.most, half, strict=True)]
        taken = self.coefficients[middle[0], middle[1]]
        down = self._waves(0, half[0], np.arange(region[0], region[2]))
        along = self._waves(1, half[1], np.arange(region[1], region[3]))
        parts = np.concatenate([along.real, along.imag]).T

        def run(first: int, last: int) -> None:
            for y in range(first, last):
                waves = np.tensordot(down[:, y], taken, (0, 0))
                real = parts @ np.concatenate([waves.real, -waves.imag])
                imaginary = parts @ np.concatenate([waves.imag, waves.real])
                out[y, :, :channels] = np.sqrt(real**2 + imaginary**2)
                out[y, :, channels:] = np.sqrt((x[y] - real) ** 2 + imaginary**2)

        in_rows(len(x), run)
