"""Planes of constants in training: those of a noise level have each image's own."""

import numpy as np
from numpy.typing import NDArray

from nspike.graph.layer import Constant


def planes(layer: Constant, count: int, sigmas: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The value of each plane of `count` images, float64 (N, C). sigmas : (N,), of 255; None for what the layer says."""
    if sigmas is None or layer.meaning != "sigma":
        return np.broadcast_to(np.array(layer.values, np.float64), (count, len(layer.values)))
    return np.repeat(sigmas[:, None] / 255, len(layer.values), axis=1)
