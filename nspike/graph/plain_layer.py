"""Layers that only a plain network may have, enough for the networks that serve as teachers."""

from dataclasses import dataclass
from typing import Literal, get_args

from nspike.graph.reads import Reads

Function = Literal["leaky_relu", "prelu", "sigmoid", "tanh", "gelu", "silu", "hard_sigmoid", "hard_swish"]
FUNCTIONS: tuple[Function, ...] = get_args(Function)


@dataclass(frozen=True)
class Pointwise(Reads):
    """A function of each value. slope : of `leaky_relu` below 0; `prelu` has a parameter `weight` (C,) instead."""

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
    """The mean of each channel over the whole image, (C, 1, 1)."""

    name: str
    source: str


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
    """The product of two layers; the second may be (C, 1, 1)."""

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
