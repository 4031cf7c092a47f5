"""Convolution of tensors: stride, dilation, zero padding, groups. The work is done in `nspike.autograd.correlation`."""

from typing import Any

from nspike.autograd import correlation
from nspike.autograd.depthwise import Pads
from nspike.autograd.tensor import Array, Operand, Tensor, add, operation, reshape


def _last(x: Array) -> Array:
    """(N, C, H, W) as (N, H, W, C): no copy where a convolution made it."""
    return x.transpose(0, 2, 3, 1)


def _first(x: Array) -> Array:
    return x.transpose(0, 3, 1, 2)


def _d_input(g: Array, out: Array, x: Array, w: Array, **kind: Any) -> Array:
    height, width = x.shape[2:]
    return _first(correlation.input_gradient(_last(g), w, height, width, **kind))


def _d_kernel(g: Array, out: Array, x: Array, w: Array, **kind: Any) -> Array:
    return correlation.kernel_gradient(_last(x), _last(g), w.shape[2], **kind)


@operation(_d_input, _d_kernel)
def _conv2d(x: Array, w: Array, **kind: Any) -> Array:
    return _first(correlation.convolve(_last(x), w, **kind))


def conv2d(
    x: Operand,
    w: Operand,
    bias: Operand | None = None,
    *,
    stride: int = 1,
    padding: int | Pads = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Tensor:
    """Correlate (N, C_in, H, W) with kernels (C_out, C_in / groups, k, k) and add a bias (C_out,).

    padding : zeros on all sides, or (before, after) on both axes.
    """
    y = _conv2d(x, w, stride=stride, pad=padding, groups=groups, dilation=dilation)
    if bias is None:
        return y
    bias = bias if isinstance(bias, Tensor) else Tensor(bias)
    return add(y, reshape(bias, shape=(1, -1, 1, 1)))
