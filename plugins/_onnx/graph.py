"""The walk through a graph: inputs, nodes in order, the output; and the network that comes of it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from nspike_plugins._onnx import arithmetic, convolving, functions, gelu, moving
from nspike_plugins._onnx.building import Builder
from nspike_plugins._onnx.constants import fold
from nspike_plugins._onnx.file import array, opset_of
from nspike_plugins._onnx.values import (
    Failed,
    Feature,
    Node,
    Noise,
    Unsupported,
    Value,
    channels_last,
    whole,
)
from nspike_plugins._reading import Refused
from numpy.typing import NDArray

from nspike import IMAGE, Activation, Concat, ModelError, Network

OPERATORS = {
    **moving.OPERATORS,
    **convolving.OPERATORS,
    **functions.OPERATORS,
    **arithmetic.OPERATORS,
}

MOST_NODES = 50_000
MOST_LISTED = 30

HEIGHT, WIDTH = 960, 1344
"""The image that a network of dynamic sizes is read for: unlike, and multiples of 64 and of 3."""

_PASS = ("Identity", "Dropout", "Cast", "Relu", "Clip")
_REASONS = {
    "Softmax": "attention has no place yet; train the network without it",
    "Einsum": "attention has no place yet; train the network without it",
    "InstanceNormalization": "it normalises by the image's own statistics, which no spike train knows; use batch norm",
    "GroupNormalization": "it normalises by the image's own statistics, which no spike train knows; use batch norm",
    "If": "what is computed depends on the image or its size; export with fixed choices",
    "Loop": "what is computed depends on the image or its size; export with fixed choices",
    "Scan": "what is computed depends on the image or its size; export with fixed choices",
    "GridSample": "it moves pixels by amounts that it computes",
    "DeformConv": "it moves pixels by amounts that it computes",
    "QuantizeLinear": "the network is quantised; export the one that it was made of",
    "DequantizeLinear": "the network is quantised; export the one that it was made of",
    "Erf": "it is not the part of a GELU",
}


def read_graph(model: Any, path: Path) -> tuple[Network, dict[str, NDArray[np.float32]], tuple[str, ...]]:
    """The network, its parameters, and what was assumed. Raises Refused, which lists all nodes that have no place."""
    graph = model.graph
    if len(graph.node) > MOST_NODES or len(graph.sparse_initializer):
        raise Refused(
            f"has {len(graph.node)} nodes or sparse tensors; expected at most {MOST_NODES} nodes, dense tensors"
        )
    if len(graph.output) != 1:
        names = ", ".join(repr(output.name) for output in graph.output[:8]) or "none"
        raise Refused(f"has the outputs {names}; expected one: export the network so that it gives the image alone")
    with np.errstate(all="ignore"):  # what is not finite in the end is refused
        walk = _Walk(model, path.parent)
        walk.run()
    if walk.faults:
        listed = "".join(f"\n  {fault}" for fault in walk.faults[:MOST_LISTED])
        more = len(walk.faults) - MOST_LISTED
        raise Refused(
            f"{len(walk.faults)} of its {len(graph.node)} nodes have no place in a network of nspike:{listed}"
            + (f"\n  and {more} more" if more > 0 else "")
        )
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.stem).strip("_.-")[:60]
    return walk.network(stem or "onnx")


class _Walk:
    """The values of a graph's tensors while its nodes are gone through."""

    def __init__(self, model: Any, folder: Path) -> None:
        self.graph, self.folder, self.opset = model.graph, folder, opset_of(model)
        self.faults: list[str] = []
        self.values: dict[str, Value] = {}
        for tensor in self.graph.initializer:
            if tensor.name in self.values:
                raise Refused(f"has two tensors called {tensor.name!r}")
            self.values[tensor.name] = array(tensor, folder)
        self.weights = set(self.values)
        self.readers = Counter(name for node in self.graph.node for name in node.input)
        self.readers[self.graph.output[0].name] += 1
        self.build = self._inputs()
        self.core, self.tail = self._ends()

    def _inputs(self) -> Builder:
        """The builder, the graph's inputs noted: the image, and perhaps the noise level."""
        given = [(i.name, _shape(i)) for i in self.graph.input if i.name not in self.values]
        four = [(name, shape) for name, shape in given if len(shape) == 4]
        coloured = [(name, shape) for name, shape in four if {shape[1], shape[3]}.intersection((2, 3, 4))]
        images = coloured or [(name, shape) for name, shape in four if shape[2:] != [1, 1]]
        if not images:
            listed = ", ".join(f"{name!r} {shape}" for name, shape in given) or "none"
            raise Refused(f"has no input of images (N, C, H, W); its inputs: {listed}; export it so")
        return self._image(*images[0], [other for other in given if other != images[0]])

    def _image(self, name: str, shape: list[int | None], others: list[tuple[str, list[int | None]]]) -> Builder:
        last = shape[1] not in (1, 2, 3, 4)
        channels, *size = (shape[3], shape[1], shape[2]) if last else shape[1:]
        if channels not in (1, 2, 3, 4):
            raise Refused(f"takes images {name!r} of {channels or 'any number of'} channels, expected a fixed 1 or 3")
        height, width = (n or usual for n, usual in zip(size, (HEIGHT, WIDTH), strict=True))
        if max(height, width) > 2**16:
            raise Refused(f"takes images of {height}×{width}; export it for dynamic sizes")
        colours = {2: 1, 4: 3}.get(channels, channels)
        build = Builder((colours, height, width))
        sizes, layer = (channels, height, width), IMAGE
        if colours != channels:
            layer = build.add(
                Concat(build.name("input"), (IMAGE, build.noise(IMAGE, 1))), sizes, self.readers[name]
            ).layer
            build.assumed.append(f"the last of the {channels} channels of {name!r} is taken for the noise level / 255")
        self.values[name] = Feature(layer, channels_last(sizes) if last else whole(sizes))
        for other, given in others:
            if not _is_plane(given):
                raise Refused(
                    f"has the inputs {name!r} and {other!r} {given}; expected images, and at most a noise level: a number or "
                    "a plane of it"
                )
            if any(isinstance(value, Noise) for value in self.values.values()):
                raise Refused(f"has several inputs of noise levels, {other!r} among them; expected one")
            at = dict(zip(range(-len(given), 0), given, strict=True))
            free = {-2: height, -1: width} if len(given) == 4 else {}
            self.values[other] = Noise(tuple(n or free.get(axis, 1) for axis, n in at.items()))
            build.assumed.append(
                f"{other!r} is taken for the noise level / 255, or out of 255 where the network divides it"
            )
        return build

    def _ends(self) -> tuple[str, set[str]]:
        """The output before what only clips it, and what clips it."""
        producer = {name: node for node in self.graph.node for name in node.output}
        name, tail = self.graph.output[0].name, set()
        while name in producer and producer[name].op_type in _PASS and producer[name].input and name not in tail:
            tail.add(name)
            name = producer[name].input[0]
        return name, tail

    def run(self) -> None:
        """Go through the nodes, and note those that have no place."""
        constants = {name: value for name, value in self.values.items() if isinstance(value, np.ndarray)}
        for node in self.graph.node:
            if node.op_type == "Constant" and node.domain == "":
                with_value = self._attributes(node)
                if isinstance(with_value.get("value"), np.ndarray):
                    constants[node.output[0]] = with_value["value"]
        ends, inner = gelu.join(self.graph.node, constants)
        for i, node in enumerate(self.graph.node):
            for name in node.output:
                if name and name in self.values:
                    raise Refused(f"gives the tensor {name!r} twice")
            if i in inner and i not in ends:
                continue
            missing = [name for name in node.input if name and name not in self.values]
            if missing and i not in ends:
                raise Refused(
                    f"node {_name(node)} reads {missing[0]!r}, which no node before it gives: a cycle, or a part is missing"
                )
            self._node(node, ends.get(i))

    def _node(self, proto: Any, gelu_of: str | None) -> None:
        read = [gelu_of] if gelu_of is not None else list(proto.input)
        inputs = [self.values[name] if name else None for name in read]
        outputs = list(proto.output)
        if any(isinstance(value, Failed) for value in inputs):
            self.values |= dict.fromkeys(filter(None, outputs), Failed())
            return
        try:
            op = "Gelu" if gelu_of is not None else str(proto.op_type)
            if proto.domain not in ("", "ai.onnx"):
                raise Unsupported(f"it is an operator of {proto.domain!r}, not of ONNX")
            node = Node(
                name=_name(proto),
                op=op,
                base=self._base(proto),
                values=inputs,
                attributes=self._attributes(proto),
                readers=[self.readers[name] for name in outputs],
                opset=self.opset,
                core=outputs[:1] == [self.core],
                tail=bool(outputs) and outputs[0] in self.tail,
            )
            made = self._made(node)
            values = made if isinstance(made, list) else [made]
            unused = [name for name in outputs[len(values) :] if name and self.readers[name]]
            if unused:
                raise Unsupported(f"its output {unused[0]!r} is used")
            self.values |= {name: value for name, value in zip(outputs, values, strict=False) if name}
        except Unsupported as error:
            self._fail(proto, str(error))
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
            self._fail(proto, f"its inputs or attributes do not fit ({type(error).__name__}: {error})")

    def _fail(self, proto: Any, why: str) -> None:
        self.faults.append(f"node {_name(proto)} ({proto.op_type}): {why}")
        self.values |= dict.fromkeys(filter(None, proto.output), Failed())

    def _made(self, node: Node) -> Value | list[Value]:
        if node.op == "Constant":
            return _constant(node)
        if all(value is None or isinstance(value, np.ndarray) for value in node.values):
            folded = fold(node)
            if folded is not None:
                return folded
            raise Unsupported(f"it computes with constants, and {node.op} is not known for these")
        if node.op not in OPERATORS:
            raise Unsupported(_REASONS.get(node.op, "no layer does this"))
        return OPERATORS[node.op](self.build, node)

    def _base(self, proto: Any) -> str:
        """What the layer of a node is called: as its weights, else as the node."""
        weight = next((name for name in proto.input[1:2] if name in self.weights and name.endswith(".weight")), None)
        if weight is not None and not weight.startswith("onnx::"):
            return str(weight.removesuffix(".weight"))
        name = str(proto.name or (proto.output[0] if proto.output else proto.op_type))
        name = name.removeprefix("node_")
        parts = [part for part in name.split("/") if part]
        if len(parts) > 1 and parts[-1] == proto.op_type:
            parts.pop()
        nested = [part for part, inner in zip(parts, [*parts[1:], ""], strict=True) if not inner.startswith(f"{part}.")]
        return "_".join(nested) or str(proto.op_type)

    def _attributes(self, proto: Any) -> dict[str, Any]:
        """The attributes as plain values, strings and tensors read."""
        values: dict[str, Any] = {}
        for attribute in proto.attribute:
            match attribute.type:
                case 1:
                    values[attribute.name] = attribute.f
                case 2:
                    values[attribute.name] = attribute.i
                case 3:
                    values[attribute.name] = attribute.s.decode("utf-8", "replace")
                case 4:
                    values[attribute.name] = array(attribute.t, self.folder)
                case 6:
                    values[attribute.name] = list(attribute.floats)
                case 7:
                    values[attribute.name] = list(attribute.ints)
                case _:
                    values[attribute.name] = None
        return values

    def network(self, name: str) -> tuple[Network, dict[str, NDArray[np.float32]], tuple[str, ...]]:
        """The network, its parameters, and what was assumed."""
        build, output = self.build, self.values.get(self.graph.output[0].name)
        if not isinstance(output, Feature) or any(output.pad):
            raise Refused("gives no image: its output does not depend on the image, or is padded")
        if output.axes == channels_last(build.sizes[output.layer]):
            last = output.layer
        else:
            try:
                last = build.arranged(output, "output")
            except Unsupported as error:
                raise Refused(f"does not give an image (N, C, H, W): {error}") from error
        final = build.layers.get(last)
        if type(final) is Activation and final.ceiling is None and not final.signed and final.source != IMAGE:
            build.rectify, last = True, final.source
        channels = build.sizes[IMAGE][0]
        if last == IMAGE or build.sizes[last][0] != channels:
            raise Refused(f"takes {channels} channels and gives {build.sizes[last][0]}; expected an image of as many")
        layers = self._used(last)
        parameters = self._parameters({layer.name for layer in layers})
        try:
            network = Network(name, channels, tuple(layers), last, build.mode, build.rectify)
        except ModelError as error:
            raise Refused(f"makes no network: {error}") from error
        scale = build.sizes[last][1] / build.sizes[IMAGE][1]
        if network.scale != scale:
            raise Refused(f"gives images {scale:g} times as high as they are, which its layers do not say")
        return network, parameters, tuple(build.assumed)

    def _used(self, last: str) -> list[Any]:
        """The layers that the output needs, in order, the output at the end."""
        wanted, layers = {last}, []
        for layer in reversed(self.build.layers.values()):
            if layer.name in wanted:
                wanted.update(layer.sources)
                layers.append(layer)
        layers.sort(key=lambda layer: layer.name == last, reverse=True)
        return layers[::-1]

    def _parameters(self, names: set[str]) -> dict[str, NDArray[np.float32]]:
        with np.errstate(over="ignore"):
            return {
                key: np.ascontiguousarray(values, np.float32)
                for key, values in self.build.parameters.items()
                if key.rpartition(".")[0] in names
            }


def _constant(node: Node) -> NDArray[Any]:
    for attribute, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if node.attributes.get(attribute) is not None:
            return np.array(node.attributes[attribute], dtype)
    if isinstance(node.attributes.get("value"), np.ndarray):
        return np.asarray(node.attributes["value"])
    raise Unsupported("it holds no numbers")


def _shape(given: Any) -> list[int | None]:
    """The shape of an input; None where it is not fixed."""
    kind = given.type.tensor_type
    if kind.elem_type not in (1, 10, 11, 16):
        raise Refused(f"has the input {given.name!r} of another type than floats; export it for float images")
    return [int(dim.dim_value) if dim.dim_value > 0 else None for dim in kind.shape.dim]


def _is_plane(shape: list[int | None]) -> bool:
    """Whether a noise level can have this shape: one number for each image, perhaps as a plane."""
    return all(n in (1, None) for n in shape[1:2]) and (len(shape) in (2, 4) or all(n in (1, None) for n in shape))


def _name(node: Any) -> str:
    return repr(str(node.name or (node.output[0] if node.output else "")))
