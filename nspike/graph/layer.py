"""The layers of a network as frozen descriptions, without arithmetic.

The same descriptions are run as the plain ANN, converted, and run as the spiking network. A layer reads others by name.
What follows from a kind is in tables with these kinds as keys: `nspike.graph.geometry.GEOMETRY`, and one in each executor.
"""

from dataclasses import dataclass

from nspike.graph.plain_layer import (
    Attention,
    ChannelPool,
    FrequencySplit,
    GlobalPool,
    LayerNorm,
    Leaky,
    MaxPool,
    Multiply,
    Pointwise,
    Prompt,
    Shrink,
    StepAttention,
    StepMean,
)
from nspike.graph.reads import Reads

IMAGE = "image"
"""The name under which a layer refers to the network's input, in [0, 1]."""


@dataclass(frozen=True)
class Conv(Reads):
    """A zero-padded convolution; in the ANN perhaps followed by batch norm.

    kernel : its side k, of any parity. padding : zeros before and after, on both axes; None for the usual halves of
    dilation·(k - 1). Its output is the input's size over the stride. tied : the convolution whose weight and bias it
    uses in the ANN, None for its own. normed_together : how many channels, one after the other, batch norm takes for one;
    with r² it is the batch norm behind a pixel shuffle by r that reads this convolution. repeats : into how many equal parts
    what it reads is divided, each of which the same kernel is used on; in_channels and out_channels are of all together.
    """

    name: str
    source: str
    in_channels: int
    out_channels: int
    kernel: int
    bias: bool = True
    batch_norm_eps: float | None = None
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: tuple[int, int] | None = None
    tied: str | None = None
    normed_together: int = 1
    repeats: int = 1

    @property
    def span(self) -> int:
        """The distance of the last tap from the first, in pixels."""
        return self.dilation * (self.kernel - 1)

    @property
    def pads(self) -> tuple[int, int]:
        """The zeros before and after."""
        return (self.span // 2, self.span - self.span // 2) if self.padding is None else self.padding

    @property
    def radius(self) -> int:
        """How many pixels before an output are read; of a plain convolution also how many after it."""
        return self.pads[0]

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """(C_out, C_in/groups, k, k), C_out and C_in being those of one of the repeats."""
        return (
            self.out_channels // self.repeats,
            self.in_channels // (self.groups * self.repeats),
            self.kernel,
            self.kernel,
        )

    @property
    def parameters(self) -> str:
        """The name under which its parameters are kept."""
        return self.tied or self.name

    @property
    def is_plain(self) -> bool:
        """Stride 1, no dilation, one group, an odd kernel in the middle of its padding: what the fused kernels run."""
        return (self.stride, self.dilation, self.groups, self.repeats) == (1, 1, 1, 1) and self.pads == (
            self.kernel // 2,
        ) * 2


@dataclass(frozen=True)
class Activation(Reads):
    """A ReLU in the ANN; a layer of neurons in the spiking network.

    ceiling : where the ANN clips it, one number or one for each channel; None for a plain ReLU. levels : into how many equal
    steps up to the ceiling its value is rounded (QCFS, see `nspike.autograd.activation`); None for none. A spiking network
    takes its scales instead. signed : the value itself in the ANN, negative ones too (clipped to ±ceiling); neurons that
    also fire negative spikes in the spiking network.
    """

    name: str
    source: str
    channels: int
    ceiling: tuple[float, ...] | None = None
    levels: int | None = None
    signed: bool = False


@dataclass(frozen=True)
class Concat:
    """Several layers stacked along the channels, in the order given."""

    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Gate(Reads):
    """An activation K times the image x: K·(x − 1) + 1, as in AOD-Net; in spikes, each gated by its pixel."""

    name: str
    source: str
    channels: int


@dataclass(frozen=True)
class Add:
    """The sum of several layers of one shape: a residual or a skip."""

    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class PixelShuffle(Reads):
    """(C·r², H, W) to (C, H·r, W·r): channel c·r² + i·r + j goes to row i and column j of each r×r block of channel c."""

    name: str
    source: str
    factor: int


@dataclass(frozen=True)
class PixelUnshuffle(Reads):
    """(C, H·r, W·r) to (C·r², H, W): the inverse of `PixelShuffle`."""

    name: str
    source: str
    factor: int


@dataclass(frozen=True)
class ChannelShuffle(Reads):
    """Channels (groups, C/groups) read as (C/groups, groups), as in ShuffleNet: i·(C/groups) + j goes to j·groups + i."""

    name: str
    source: str
    groups: int


@dataclass(frozen=True)
class Slice(Reads):
    """`channels` channels from channel `first` on."""

    name: str
    source: str
    first: int
    channels: int


@dataclass(frozen=True)
class Nearest(Reads):
    """Each pixel repeated `factor` times along both axes."""

    name: str
    source: str
    factor: int = 2


@dataclass(frozen=True)
class Bilinear(Reads):
    """Twice the size, bilinear between pixel centres (align_corners=False), the border's pixels repeated outwards.

    Along an axis, output 2j is x[j-1]/4 + 3·x[j]/4 and output 2j+1 is 3·x[j]/4 + x[j+1]/4.
    """

    name: str
    source: str


@dataclass(frozen=True)
class AveragePool(Reads):
    """The mean of each size×size block; `size` is a power of two."""

    name: str
    source: str
    size: int


@dataclass(frozen=True)
class Constant(Reads):
    """Planes of a constant each, of the size of what it reads: a map of the noise level, say.

    meaning : "sigma" where the value is the noise level over 255, which may be given anew for each run; else "".
    """

    name: str
    source: str
    values: tuple[float, ...]
    meaning: str = ""


PlainLayer = (
    Pointwise
    | MaxPool
    | GlobalPool
    | LayerNorm
    | Multiply
    | Attention
    | Shrink
    | ChannelPool
    | Prompt
    | FrequencySplit
    | Leaky
    | StepAttention
    | StepMean
)
"""Layers that only a plain network may have: conversion refuses them."""

Layer = (
    Conv
    | Activation
    | Concat
    | Gate
    | Add
    | PixelShuffle
    | PixelUnshuffle
    | ChannelShuffle
    | Slice
    | Nearest
    | Bilinear
    | AveragePool
    | Constant
    | PlainLayer
)

Driver = Conv | Gate
"""A layer that makes a current of spikes, or of the image."""

KINDS: dict[str, type[Layer]] = {
    "conv": Conv,
    "activation": Activation,
    "concat": Concat,
    "gate": Gate,
    "add": Add,
    "pixel_shuffle": PixelShuffle,
    "pixel_unshuffle": PixelUnshuffle,
    "channel_shuffle": ChannelShuffle,
    "slice": Slice,
    "nearest": Nearest,
    "bilinear": Bilinear,
    "average_pool": AveragePool,
    "constant": Constant,
    "pointwise": Pointwise,
    "max_pool": MaxPool,
    "global_pool": GlobalPool,
    "layer_norm": LayerNorm,
    "multiply": Multiply,
    "attention": Attention,
    "leaky": Leaky,
    "step_attention": StepAttention,
    "step_mean": StepMean,
    "shrink": Shrink,
    "channel_pool": ChannelPool,
    "prompt": Prompt,
    "frequency_split": FrequencySplit,
}
"""Every kind of layer, by its name in model files. Everything else about a kind is in tables with these kinds as keys."""

ALWAYS_WRITTEN = (
    "name",
    "source",
    "sources",
    "in_channels",
    "out_channels",
    "channels",
    "kernel",
    "bias",
    "batch_norm_eps",
)
"""The fields that a model file holds even where they have their default."""
