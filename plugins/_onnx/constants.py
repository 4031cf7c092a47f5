"""Nodes of constants alone, computed with NumPy: sizes, shapes, masks of one value, arithmetic on weights."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from nspike_plugins._onnx.values import Node, Unsupported
from numpy.typing import NDArray

Array = NDArray[Any]

MOST = 2**25
"""Elements of a constant that is computed."""

DTYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip


def fold(node: Node) -> Array | list[Array] | None:
    """What a node gives whose inputs are all constants; None if it is not computed here. Raises Unsupported."""
    function = _FUNCTIONS.get(node.op)
    if function is None:
        return None
    values = [value for value in node.values if value is not None]
    if any(compact(value).size > MOST for value in values if isinstance(value, np.ndarray)):
        raise Unsupported(f"it computes with more than {MOST} constants")
    try:
        with np.errstate(all="ignore"):
            made = function(node)
            return made if isinstance(made, list) else np.asarray(made)
    except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise Unsupported(f"its constants do not fit together ({error})") from error


def compact(value: Array) -> Array:
    """The array without repetition along axes that are broadcast."""
    return value[
        tuple(
            slice(0, 1) if step == 0 and size > 1 else slice(None)
            for step, size in zip(value.strides, value.shape, strict=True)
        )
    ]


def spread(value: Array, shape: tuple[int, ...]) -> Array:
    """The array broadcast to a shape, without taking memory."""
    if math.prod(shape) > 2**40 or len(shape) > 8:
        raise Unsupported(f"it makes a constant of shape {shape}")
    return np.broadcast_to(value, shape)


def _elementwise(function: Callable[..., Array]) -> Callable[[Node], Array]:
    def run(node: Node) -> Array:
        values = [v for v in node.values if isinstance(v, np.ndarray)]
        shape = np.broadcast_shapes(*(v.shape for v in values))
        parts = [compact(v) for v in values]
        if math.prod(np.broadcast_shapes(*(part.shape for part in parts))) > MOST:
            raise Unsupported(f"it computes a constant of shape {shape}")
        return spread(np.asarray(function(*parts)), shape)

    return run


def _divide(a: Array, b: Array) -> Array:
    """Division as ONNX has it: of integers, towards zero."""
    if a.dtype.kind in "iu":
        return np.trunc(a / b).astype(a.dtype) if np.all(b) else _fail("it divides by zero")
    return a / b


def _fail(why: str) -> Any:
    raise Unsupported(why)


def _small(node: Node) -> Array:
    """The first input, of a size that may be gone through."""
    value = node.known(0, "data")
    if value.size > MOST:
        raise Unsupported(f"it computes with more than {MOST} constants")
    return value


def _reshape(node: Node) -> Array:
    return _given_shape(node.known(0, "data"), target_shape(node, node.known(0, "data").shape))


def _squeeze(node: Node) -> Array:
    return _given_shape(node.known(0, "data"), squeezed(node, node.known(0, "data").shape))


def _given_shape(value: Array, shape: list[int]) -> Array:
    flat = compact(value)
    if flat.size == 1 and math.prod(shape) == value.size:
        return spread(flat.reshape(()), tuple(shape))
    if value.size > MOST:
        raise Unsupported(f"it computes a constant of shape {tuple(shape)}")
    return value.reshape(shape)


def target_shape(node: Node, shape: tuple[int, ...]) -> list[int]:
    """The shape that Reshape asks for, of a tensor of `shape`: 0 and -1 replaced."""
    wanted = [int(n) for n in node.known(1, "shape").reshape(-1)]
    if not node.attributes.get("allowzero"):
        wanted = [shape[i] if n == 0 and i < len(shape) else n for i, n in enumerate(wanted)]
    if -1 in wanted:
        rest = math.prod(n for n in wanted if n != -1)
        if wanted.count(-1) > 1 or rest == 0 or math.prod(shape) % rest:
            raise Unsupported(f"the shape {wanted} does not suit {list(shape)}")
        wanted[wanted.index(-1)] = math.prod(shape) // rest
    if math.prod(wanted) != math.prod(shape) or any(n < 0 for n in wanted):
        raise Unsupported(f"the shape {wanted} does not suit {list(shape)}")
    return wanted


def squeezed(node: Node, shape: tuple[int, ...]) -> list[int]:
    """The shape after Squeeze, Unsqueeze or Flatten of a tensor of `shape`."""
    if node.op == "Flatten":
        axis = int(node.attributes.get("axis", 1)) % (len(shape) + 1)
        return [math.prod(shape[:axis]), math.prod(shape[axis:])]
    axes = node.numbers("axes", 1, "axes")
    if node.op == "Unsqueeze":
        rank = len(shape) + len(axes or [])
        inserted = {axis % rank for axis in axes or []}
        rest = iter(shape)
        return [1 if i in inserted else next(rest) for i in range(rank)]
    dropped = {i for i, n in enumerate(shape) if n == 1} if axes is None else {axis % len(shape) for axis in axes}
    if any(shape[i] != 1 for i in dropped):
        raise Unsupported(f"it drops axes {sorted(dropped)} of {list(shape)}, which are not of length 1")
    return [n for i, n in enumerate(shape) if i not in dropped]


def slices(node: Node, shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(first, last, step) of each axis that Slice keeps of a tensor of `shape`."""
    starts, ends = (node.known(i, what).reshape(-1).tolist() for i, what in ((1, "starts"), (2, "ends")))
    axes, steps = node.numbers("axes", 3, "axes"), node.numbers("steps", 4, "steps")
    result = [(0, n, 1) for n in shape]
    for i, axis in enumerate(range(len(starts)) if axes is None else axes):
        step = 1 if steps is None else steps[i]
        if not -len(shape) <= axis < len(shape) or step == 0:
            raise Unsupported(f"axis {axis} or step {step} does not suit {list(shape)}")
        result[axis] = slice(int(starts[i]), int(ends[i]), step).indices(shape[axis])
    return result


def _slice(node: Node) -> Array:
    value = node.known(0, "data")
    kept = slices(node, value.shape)
    return value[tuple(slice(first, last if last >= 0 else None, step) for first, last, step in kept)]


def _concat(node: Node) -> Array:
    parts = [v for v in node.values if isinstance(v, np.ndarray)]
    if sum(part.size for part in parts) > MOST:
        raise Unsupported("it computes too large a constant")
    return np.concatenate(parts, int(node.attributes["axis"]))


def _expand(node: Node) -> Array:
    value, shape = node.known(0, "data"), [int(n) for n in node.known(1, "shape").reshape(-1)]
    return spread(value, np.broadcast_shapes(value.shape, tuple(shape)))


def _tile(node: Node) -> Array:
    value, repeats = node.known(0, "data"), [int(n) for n in node.known(1, "repeats").reshape(-1)]
    if all(n == 1 or r == 1 for n, r in zip(value.shape, repeats, strict=True)):
        return spread(value, tuple(n * r for n, r in zip(value.shape, repeats, strict=True)))
    if value.size * math.prod(repeats) > MOST:
        raise Unsupported("it computes too large a constant")
    return np.tile(value, repeats)


def _filled(node: Node) -> Array:
    value = node.attributes.get("value", np.zeros(1, np.float32))
    return spread(np.asarray(value).reshape(()), tuple(int(n) for n in node.known(0, "shape").reshape(-1)))


def _range(node: Node) -> Array:
    first, last, step = (node.known(i, "limits").reshape(())[()] for i in range(3))
    if step == 0 or (last - first) / step > MOST:
        raise Unsupported("it computes too large a constant")
    return np.arange(first, last, step)


def _gather(node: Node) -> Array:
    return np.take(_small(node), node.known(1, "indices"), int(node.attributes.get("axis", 0)))


def _split(node: Node) -> list[Array]:
    value, axis = _small(node), int(node.attributes.get("axis", 0))
    return np.split(value, np.cumsum(split_sizes(node, value.shape[axis]))[:-1], axis)


def split_sizes(node: Node, size: int) -> list[int]:
    """The lengths of the parts that Split makes of an axis of `size`."""
    given = node.numbers("split", 1, "sizes")
    if given is None:
        each = -(-size // len(node.readers))
        given = [min(each, size - i * each) for i in range(len(node.readers))]
    if sum(given) != size or min(given) < 1 or len(given) != len(node.readers):
        raise Unsupported(f"parts of {given} do not make up {size}")
    return given


def _reduce(function: Callable[..., Array]) -> Callable[[Node], Array]:
    def run(node: Node) -> Array:
        axes = node.numbers("axes", 1, "axes")
        keep = bool(node.attributes.get("keepdims", 1))
        return np.asarray(function(_small(node), axis=None if axes is None else tuple(axes), keepdims=keep))

    return run


def _cast(node: Node) -> Array:
    value, to = node.known(0, "data"), int(node.attributes["to"])
    if to not in DTYPES:
        raise Unsupported(f"it casts to the data type {to}")
    return spread(compact(value).astype(DTYPES[to]), value.shape)


def _same(node: Node) -> Array:
    return node.known(0, "data")


_FUNCTIONS: dict[str, Callable[[Node], Array | list[Array]]] = {
    **{
        op: _elementwise(function)
        for op, function in {
            "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide, "Mod": np.mod, "Pow": np.power,
            "Neg": np.negative, "Abs": np.abs, "Sqrt": np.sqrt, "Floor": np.floor, "Ceil": np.ceil, "Round": np.rint,
            "Reciprocal": np.reciprocal, "Exp": np.exp, "Log": np.log, "Sign": np.sign, "Not": np.logical_not,
            "And": np.logical_and, "Or": np.logical_or, "Equal": np.equal, "Less": np.less, "Greater": np.greater,
            "LessOrEqual": np.less_equal, "GreaterOrEqual": np.greater_equal, "Where": np.where,
        }.items()
    },
    "Min": _elementwise(lambda *values: functools.reduce(np.minimum, values)),
    "Max": _elementwise(lambda *values: functools.reduce(np.maximum, values)),
    "Constant": _same, "Identity": _same, "Dropout": _same, "Cast": _cast,
    "CastLike": lambda node: node.known(0, "data").astype(node.known(1, "type").dtype),
    "ConstantOfShape": _filled, "Expand": _expand, "Tile": _tile, "Range": _range, "Reshape": _reshape,
    "Shape": lambda node: shape_of(node, node.known(0, "data").shape),
    "Squeeze": _squeeze, "Unsqueeze": _squeeze, "Flatten": _squeeze,
    "Size": lambda node: np.array(node.known(0, "data").size),
    "Transpose": lambda node: node.known(0, "data").transpose(node.attributes.get("perm")),
    "Gather": _gather, "Slice": _slice, "Concat": _concat, "Split": _split,
    "ReduceProd": _reduce(np.prod), "ReduceSum": _reduce(np.sum), "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min), "ReduceMean": _reduce(np.mean),
}  # fmt: skip


def shape_of(node: Node, shape: tuple[int, ...]) -> Array:
    """What Shape gives of a tensor of `shape`."""
    start, end = int(node.attributes.get("start", 0)), node.attributes.get("end")
    return np.array(shape[start : None if end is None else int(end)], np.int64)
