"""The checker of gradients: rules against central differences, in float64. For authors of operations and losses."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor, multiply, total
from nspike.errors import DifferenceError


def check_gradients(
    function: Callable[..., Tensor],
    *inputs: NDArray[np.float64],
    step: float = 1e-6,
    tolerance: float = 1e-6,
    entries: int = 50,
    seed: int = 0,
) -> float:
    """Check the gradient of every input of a function against (f(x + h) - f(x - h))/2h.

    Parameters
    ----------
    function : of tensors, one for each input. Where it gives several numbers, a random combination of them is taken.
    inputs : floats away from the points at which the function has a kink.
    step, tolerance : h, and the largest error allowed relative to the largest difference met.
    entries : how many numbers of each input are tried; chosen from `seed`.

    Returns
    -------
    float
        The largest error relative to the largest difference met.

    Raises
    ------
    DifferenceError
        that names the input, the entry and both figures.
    """
    draw = np.random.default_rng(seed)
    arrays = [np.array(x, np.float64) for x in inputs]
    weights: NDArray[np.float64] | None = None

    def value(tensors: list[Tensor]) -> Tensor:
        nonlocal weights
        out = function(*tensors)
        if weights is None:
            weights = draw.normal(size=out.shape)
        return total(multiply(out, weights))

    tensors = [Tensor(x, requires_grad=True) for x in arrays]
    value(tensors).backward()
    compared = []
    for i, (x, tensor) in enumerate(zip(arrays, tensors, strict=True)):
        gradient = np.zeros_like(x) if tensor.grad is None else np.asarray(tensor.grad, np.float64)
        if gradient.shape != x.shape:
            raise DifferenceError(f"input {i}: the gradient has shape {gradient.shape}, expected {x.shape}")
        for flat in draw.permutation(x.size)[:entries]:
            at = np.unravel_index(flat, x.shape)
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[i][at] += sign * step
                ends.append(value([Tensor(a) for a in moved]).item())
            compared.append((i, tuple(map(int, at)), (ends[0] - ends[1]) / (2 * step), float(gradient[at])))
    scale = max((abs(expected) for _, _, expected, _ in compared), default=0.0) or 1.0
    worst = max(compared, key=_error)
    error = abs(worst[2] - worst[3]) / scale
    if not error <= tolerance:
        raise DifferenceError(
            f"input {worst[0]}, entry {worst[1]}: the rule gives {worst[3]:.8g}, differences give {worst[2]:.8g}"
        )
    return error


def _error(entry: tuple[int, tuple[int, ...], float, float]) -> float:
    """How far the two figures lie apart; without end where one of them is no number."""
    error = abs(entry[2] - entry[3])
    return math.inf if math.isnan(error) else error
