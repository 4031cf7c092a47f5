"""Layers that only a plain network may have, enough for the networks that serve as teachers."""

from dataclasses import dataclass
from typing import Literal, get_args

from nspike.graph.reads import Reads

Function = Literal["leaky_relu", "prelu", "sigmoid", "tanh", "gelu", "silu", "hard_sigmoid", "hard_swish", "complement"]
FUNCTIONS: tuple[Function, ...] = get_args(Function)


@dataclass(frozen=True)
class Pointwise(Reads):
    """A function of each value. slope : of `leaky_relu` below 0; `prelu` has a parameter `weight` (C,) instead.

    complement : 1 - x.
    """

    name: str
    source: str
    channels: int
    function: Function
    slope: float = 0.01


@dataclass(frozen=True)
class MaxPool(Reads):
    """The largest of each size×size block."""

    name: str
    source: str
    size: int


@dataclass(frozen=True)
class GlobalPool(Reads):
    """The mean of each channel over the whole image, (C, 1, 1); or the largest value."""

    name: str
    source: str
    function: Literal["mean", "max"] = "mean"


@dataclass(frozen=True)
class LayerNorm(Reads):
    """Over the channels of each pixel: w·(x - μ)/√(σ² + ε) + b; without `bias`, as in Restormer, w·x/√(σ² + ε)."""

    name: str
    source: str
    channels: int
    bias: bool = True
    eps: float = 1e-5


@dataclass(frozen=True)
class Multiply:
    """The product of two layers; the second may be (C, 1, 1), or (1, H, W) for all channels."""

    name: str
    sources: tuple[str, str]


@dataclass(frozen=True)
class Attention:
    """Transposed attention over channels (Restormer): softmax(τ·q̂·k̂ᵀ)·v in each head, q̂ and k̂ of length 1 over the image.

    sources : q, k, v, each `channels` channels; parameter `temperature` (heads,).
    """

    name: str
    sources: tuple[str, str, str]
    channels: int
    heads: int


@dataclass(frozen=True)
class Shrink(Reads):
    """1/factor of the size, bilinear between pixel centres without smoothing: the mean of the middle 2×2 of each block.

    PyTorch's `interpolate` (align_corners=False) to a size of which the input's is an even multiple, `factor`.
    """

    name: str
    source: str
    factor: int


@dataclass(frozen=True)
class ChannelPool(Reads):
    """Two channels: the largest of each pixel's channels, and their mean (the order of CBAM's spatial gate)."""

    name: str
    source: str


@dataclass(frozen=True)
class Prompt:
    """Learnt planes at the size of a layer (PromptIR): Σₖ softmax(s)ₖ·Pₖ, enlarged or shrunk bilinearly.

    sources : a layer whose size it takes, and the scores s (count, 1, 1); parameter `weight` P (count, channels, size, size).
    The resizing is between pixel centres, without smoothing (align_corners=False).
    """

    name: str
    sources: tuple[str, str]
    channels: int
    count: int
    size: int


@dataclass(frozen=True)
class FrequencySplit:
    """Low and high frequencies of each channel (AdaIR), 2·C channels: |F⁻¹(B·F x)|, then |F⁻¹((1 - B)·F x)|.

    sources : x (C, H, W), and shares s in [0, 1] (2, 1, 1). The box B holds the frequencies -h ... h-1 and -w ... w-1 with
    h = ⌊⌊H/block⌋·s₀⌋ and w = ⌊⌊W/block⌋·s₁⌋, H×W being the whole feature map. Where a side is below `block`, B is empty:
    the low part is 0.
    """

    name: str
    sources: tuple[str, str]
    channels: int
    block: int = 128


# ----- Spiking networks in floats: T steps side by side, channel t·C + c being channel c at step t -----


@dataclass(frozen=True)
class Leaky(Reads):
    """Leaky integrate-and-fire neurons with hard reset, in floats: u = keep·v + x; s = [u >= θ]; v = u·(1 - s); v(0) = 0.

    channels : of all steps together, T·C. steps : T. threshold : θ. Not exact: a sum of floats decides a spike.
    """

    name: str
    source: str
    channels: int
    steps: int
    threshold: float
    keep: float = 0.5


@dataclass(frozen=True)
class StepAttention(Reads):
    """Gates over time, channels and places, one after the other, and a ReLU (Yao et al. 2023, MA-SNN).

    y = σ(M(mean x) + M(max x))·x for each step, over all that it holds, with the perceptron M(p) = W₂·relu(W₁·p);
    z likewise of y for each channel, over all steps and places; out = relu(σ(conv([mean z, max z]))·z) for each place, over
    all steps and channels.

    channels : T·C. steps : T. reduced_steps, reduced_channels : how many values W₁ makes of T and of C. kernel : of the
    convolution. Parameters `time1`, `time2`, `channel1`, `channel2` (out, in), `space` (1, 2, k, k).
    """

    name: str
    source: str
    channels: int
    steps: int
    reduced_steps: int
    reduced_channels: int
    kernel: int = 3

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its parameters by name."""
        each = self.channels // self.steps
        return {
            "time1": (self.reduced_steps, self.steps),
            "time2": (self.steps, self.reduced_steps),
            "channel1": (self.reduced_channels, each),
            "channel2": (each, self.reduced_channels),
            "space": (1, 2, self.kernel, self.kernel),
        }


@dataclass(frozen=True)
class StepMean(Reads):
    """The mean over `steps` steps, T·C channels to C."""

    name: str
    source: str
    steps: int
