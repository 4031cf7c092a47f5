"""The contract of a network plugin: how an architecture is recognised in a checkpoint, and what graph it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nspike.network import Network

Task = Literal["denoise", "dehaze", "superres"]
Colour = Literal["gray", "rgb", "y"]

Arrays = Mapping[str, NDArray[np.float32]]
"""A network's parameters: for each convolution NAME float32 `NAME.weight` (C_out, C_in, k, k) and `NAME.bias` (C_out,),
and where it has batch norm `NAME.bn_weight`, `NAME.bn_bias`, `NAME.bn_mean`, `NAME.bn_var` (C_out,)."""


@dataclass(frozen=True)
class Architecture:
    """An architecture.

    Parameters
    ----------
    name, summary, source : how it is called, what it is in a line, the paper it comes from.
    task, colour : what such networks usually do, and the picture they take: grey, RGB, or luma with chroma enlarged aside.
    read : a checkpoint's tensors by name -> (network, its parameters). Raises BadInputError that lists the keys that are
        missing and those that are not known.
    """

    name: str
    summary: str
    source: str
    task: Task
    colour: Colour
    read: Callable[[Mapping[str, NDArray[np.generic]]], tuple[Network, dict[str, NDArray[np.float32]]]]
