"""GELU as exporters write it before opset 20: x·(1 + erf(x/√2))/2, found around each Erf and made one node."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Numbers = Callable[[str], float | None]


def join(nodes: Sequence[Any], constants: Mapping[str, NDArray[Any]]) -> tuple[dict[int, str], set[int]]:
    """The nodes that end a GELU, by index with the name of x, and the indices of its other nodes.

    constants : the tensors that are known before the graph is walked.
    """
    producer = {name: i for i, node in enumerate(nodes) for name in node.output}
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(nodes):
        for name in node.input:
            readers.setdefault(name, []).append(i)

    def number(name: str) -> float | None:
        array = constants.get(name)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    ends: dict[int, str] = {}
    inner: set[int] = set()
    for i, node in enumerate(nodes):
        if node.op_type == "Erf" and len(node.input) == 1 and (match := _match(i, nodes, producer, readers, number)):
            end, x, others = match
            ends[end] = x
            inner |= others
    return ends, inner


def _match(
    erf: int, nodes: Sequence[Any], producer: Mapping[str, int], readers: Mapping[str, list[int]], number: Numbers
) -> tuple[int, str, set[int]] | None:
    """(the last node, x, the other nodes) of the GELU around an Erf; None if it is none."""
    scale = producer.get(nodes[erf].input[0])
    scaled = None if scale is None else _scaled(nodes[scale], number)
    if scale is None or scaled is None or abs(scaled[1] * math.sqrt(2) - 1) > 1e-4:
        return None
    x, others, at, left = scaled[0], {scale, erf}, erf, 0.5
    plus, times = False, False
    while True:
        if plus and times and abs(left - 1) < 1e-6:
            return at, x, others - {at}
        following = readers.get(nodes[at].output[0], [])
        if len(following) != 1:
            return None
        node, before = nodes[following[0]], nodes[at].output[0]
        rest = [name for name in node.input if name != before]
        if len(node.input) != 2 or len(rest) != 1:
            return None
        at, factor = following[0], number(rest[0])
        if node.op_type == "Add" and factor == 1 and not plus:
            plus = True
        elif node.op_type == "Mul" and plus and factor is not None:
            left /= factor or math.inf
        elif node.op_type == "Div" and plus and factor and node.input[0] == before:
            left *= factor
        elif node.op_type == "Mul" and plus and not times and rest[0] == x:
            times = True
        elif node.op_type == "Mul" and plus and not times and rest[0] in producer:
            half = _scaled(nodes[producer[rest[0]]], number)
            if half is None or half[0] != x:
                return None
            times, left = True, left / half[1]
            others.add(producer[rest[0]])
        else:
            return None
        others.add(at)


def _scaled(node: Any, number: Numbers) -> tuple[str, float] | None:
    """(y, c) of a node that gives c·y."""
    if node.op_type not in ("Mul", "Div") or len(node.input) != 2:
        return None
    for i, name in enumerate(node.input):
        value = number(name)
        if value and (node.op_type == "Mul" or i == 1):
            return node.input[1 - i], value if node.op_type == "Mul" else 1 / value
    return None
