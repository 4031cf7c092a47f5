"""Reverse-mode differentiation on NumPy arrays: a tensor records its inputs, and `backward` follows them.

An operation is a plain function of arrays with one rule for each of its arguments, after HIPS/autograd:

    @operation(rule of a, rule of b)
    def multiply(a, b): return a * b

A rule gets (g, out, *arguments): the gradient of the loss with respect to `out`, `out` itself, and what the function was
given. It returns the gradient with respect to its argument; where that was broadcast, the sum over the copies is taken here.
Data is float32 unless it is given as float64.
"""

import functools
import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Operand = Union["Tensor", ArrayLike]
Rule = Callable[..., Array]
Backward = Callable[[Any], Sequence[Any]]

_count = itertools.count()


class Tensor:
    """An array, and where it comes from.

    Parameters
    ----------
    data : numbers; kept as they are if float64 or float32, else made float32.
    requires_grad : whether `backward` is to leave ∂L/∂data in `grad`.
    """

    __array_ufunc__ = None  # an array on the left of an operator leaves the operation to the tensor

    def __init__(self, data: ArrayLike, *, requires_grad: bool = False) -> None:
        array = np.asarray(data)
        self.data: Array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self._parents: tuple[Tensor, ...] = ()
        self._backward: Backward | None = None
        self._index = next(_count)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `data`, a tuple of int."""
        return self.data.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    def item(self) -> float:
        """The value of a tensor with one element, as a float."""
        return float(self.data.item())

    def combine(self, parts: list[Any]) -> Any:
        """The gradient, from what each use of this tensor contributes."""
        return functools.reduce(np.add, parts)

    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Add ∂L/∂data to `grad` of every tensor that requires it and that this one, L, was made from.

        gradient : ∂L/∂data of this tensor, by default ones. The tape is used up: memory is given back on the way.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: nothing that this tensor was made from requires a gradient")
        parts: dict[int, list[Any]] = {
            self._index: [np.ones_like(self.data) if gradient is None else np.asarray(gradient, self.data.dtype)]
        }
        heap = [(-self._index, self)]  # an operation is always younger than what it was given
        while heap:
            _, tensor = heapq.heappop(heap)
            gathered = tensor.combine(parts.pop(tensor._index))
            backward, parents = tensor._backward, tensor._parents
            tensor._backward, tensor._parents = None, ()
            if backward is None:
                tensor.grad = gathered if tensor.grad is None else tensor.grad + gathered
                continue
            for parent, part in zip(parents, backward(gathered), strict=True):
                if not parent.requires_grad or part is None:
                    continue
                if parent._index not in parts:
                    parts[parent._index] = []
                    heapq.heappush(heap, (-parent._index, parent))
                parts[parent._index].append(part)

    def __lt__(self, other: "Tensor") -> bool:
        return self._index < other._index

    def __add__(self, other: Operand) -> "Tensor":
        return add(self, other)

    def __radd__(self, other: Operand) -> "Tensor":
        return add(other, self)

    def __sub__(self, other: Operand) -> "Tensor":
        return subtract(self, other)

    def __rsub__(self, other: Operand) -> "Tensor":
        return subtract(other, self)

    def __mul__(self, other: Operand) -> "Tensor":
        return multiply(self, other)

    def __rmul__(self, other: Operand) -> "Tensor":
        return multiply(other, self)

    def __truediv__(self, other: Operand) -> "Tensor":
        return divide(self, other)

    def __rtruediv__(self, other: Operand) -> "Tensor":
        return divide(other, self)

    def __neg__(self) -> "Tensor":
        return multiply(self, -1.0)

    def __getitem__(self, index: Any) -> "Tensor":
        return take(self, index=index)

    def abs(self) -> "Tensor":
        """|x|."""
        return absolute(self)

    def square(self) -> "Tensor":
        """x²."""
        return square(self)

    def sqrt(self) -> "Tensor":
        """√x."""
        return square_root(self)

    def sum(self, axis: "Axes" = None) -> "Tensor":
        """The sum over the axes, by default all."""
        return total(self, axis=axis)

    def mean(self, axis: "Axes" = None) -> "Tensor":
        """The mean over the axes, by default all."""
        return mean(self, axis=axis)

    def reshape(self, *shape: int) -> "Tensor":
        """The same elements in another shape, in C order."""
        return reshape(self, shape=shape)

    def __repr__(self) -> str:
        return f"Tensor({self.data!r}{', requires_grad=True' if self.requires_grad else ''})"


def record(data: ArrayLike, parents: Sequence[Tensor], backward: Backward) -> Tensor:
    """The result of an operation: `backward` maps ∂L/∂data to the gradients of the parents, None where there is none."""
    return attach(Tensor(data), parents, backward)


def attach(tensor: Tensor, parents: Sequence[Tensor], backward: Backward) -> Tensor:
    """As `record`, for a tensor that already exists."""
    if any(parent.requires_grad for parent in parents):
        tensor.requires_grad, tensor._parents, tensor._backward = True, tuple(parents), backward
    return tensor


def operation(*rules: Rule | None) -> Callable[[Callable[..., Array]], Callable[..., Tensor]]:
    """Make a function of arrays one of tensors (or arrays), given a rule for each of its positional arguments.

    An argument without a rule, None, has no gradient. See the module for what a rule is.
    """

    def decorate(function: Callable[..., Array]) -> Callable[..., Tensor]:
        @functools.wraps(function)
        def apply(*operands: Any, **options: Any) -> Tensor:
            dtype = next((o.data.dtype for o in operands if isinstance(o, Tensor)), np.dtype(np.float32))
            arrays = [o.data if isinstance(o, Tensor) else np.asarray(o, dtype) for o in operands]
            out = np.asarray(function(*arrays, **options))
            used = [i for i, o in enumerate(operands) if isinstance(o, Tensor) and o.requires_grad]

            def backward(g: Array) -> list[Array]:
                gradients = []
                for i in used:
                    rule = rules[i] if i < len(rules) else None
                    if rule is None:
                        raise TypeError(f"{function.__name__}: there is no rule for the gradient of argument {i + 1}")
                    gradients.append(unbroadcast(rule(g, out, *arrays, **options), arrays[i].shape))
                return gradients

            return record(out, [operands[i] for i in used], backward)

        return apply

    return decorate


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which its argument was repeated."""
    if gradient.shape == shape:
        return gradient
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return np.asarray(gradient.sum(axis=axes, keepdims=True))


# ----- Arithmetic -----


def _d_same(g: Array, out: Array, *_: Array) -> Array:
    return g


def _d_subtract_b(g: Array, out: Array, a: Array, b: Array) -> Array:
    return -g


def _d_multiply_a(g: Array, out: Array, a: Array, b: Array) -> Array:
    return g * b


def _d_multiply_b(g: Array, out: Array, a: Array, b: Array) -> Array:
    return g * a


def _d_divide_a(g: Array, out: Array, a: Array, b: Array) -> Array:
    return g / b


def _d_divide_b(g: Array, out: Array, a: Array, b: Array) -> Array:
    return -g * out / b


def _d_absolute(g: Array, out: Array, x: Array) -> Array:
    return g * np.sign(x)


def _d_square(g: Array, out: Array, x: Array) -> Array:
    return 2 * g * x


def _d_square_root(g: Array, out: Array, x: Array) -> Array:
    return np.asarray(g / (2 * out))


@operation(_d_same, _d_same)
def add(a: Array, b: Array) -> Array:
    """a + b."""
    return np.add(a, b)


@operation(_d_same, _d_subtract_b)
def subtract(a: Array, b: Array) -> Array:
    """a - b."""
    return np.subtract(a, b)


@operation(_d_multiply_a, _d_multiply_b)
def multiply(a: Array, b: Array) -> Array:
    """a·b, elementwise."""
    return np.multiply(a, b)


@operation(_d_divide_a, _d_divide_b)
def divide(a: Array, b: Array) -> Array:
    """a/b, elementwise."""
    return np.divide(a, b)


@operation(_d_absolute)
def absolute(x: Array) -> Array:
    """|x|; its gradient at 0 is 0."""
    return np.abs(x)


@operation(_d_square)
def square(x: Array) -> Array:
    """x²."""
    return np.square(x)


@operation(_d_square_root)
def square_root(x: Array) -> Array:
    """√x for x > 0."""
    return np.sqrt(x)


# ----- Sums -----

Axes = int | tuple[int, ...] | None


def _spread(g: Array, x: Array, axis: Axes) -> Array:
    """A gradient of a sum over `axis`, as large as what was summed; no memory is taken."""
    return np.broadcast_to(g if axis is None else np.expand_dims(g, axis), x.shape)


def _d_total(g: Array, out: Array, x: Array, axis: Axes = None) -> Array:
    return _spread(g, x, axis)


def _d_mean(g: Array, out: Array, x: Array, axis: Axes = None) -> Array:
    return _spread(g * g.dtype.type(out.size / x.size), x, axis)


@operation(_d_total)
def total(x: Array, axis: Axes = None) -> Array:
    """Σx over the axes, by default over all."""
    return np.asarray(np.sum(x, axis=axis))


@operation(_d_mean)
def mean(x: Array, axis: Axes = None) -> Array:
    """The mean over the axes, by default all."""
    return np.asarray(np.mean(x, axis=axis))


# ----- Shapes -----


def _d_reshape(g: Array, out: Array, x: Array, shape: tuple[int, ...]) -> Array:
    return g.reshape(x.shape)


def _d_take(g: Array, out: Array, x: Array, index: Any) -> Array:
    gradient = np.zeros_like(x)
    np.add.at(gradient, index, g)
    return gradient


@operation(_d_reshape)
def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """The same elements in another shape, in C order."""
    return x.reshape(shape)


@operation(_d_take)
def take(x: Array, index: Any) -> Array:
    """x[index]: numbers, slices, or arrays of them."""
    return np.asarray(x[index])


def concatenate(tensors: Sequence[Operand], axis: int = 1) -> Tensor:
    """Tensors one after the other along an axis, by default the channels of (N, C, H, W)."""
    parts = [t if isinstance(t, Tensor) else Tensor(t) for t in tensors]
    ends = np.cumsum([part.shape[axis] for part in parts])[:-1]

    def backward(g: Array) -> list[Array]:
        return np.split(g, ends, axis)

    return record(np.concatenate([part.data for part in parts], axis), parts, backward)
