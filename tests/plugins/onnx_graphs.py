"""Small ONNX graphs made by hand, and what ONNX Runtime makes of a file."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import nspike
from nspike.ann.run import run
from nspike.graph.mode import restored

OPSET = 17


def tensor(name, values, dtype=None):
    values = np.asarray(values, np.float32 if dtype is None else dtype)
    return numpy_helper.from_array(values, name)


def model(nodes, tensors=(), *, channels=1, size=("h", "w"), opset=OPSET, inputs=None, outputs=("y",)):
    """A model of nodes (operator, inputs, outputs, attributes) that reads the image "x" and gives "y"."""
    made = [
        helper.make_node(op, read, given, name=f"node_{given[0]}", **attributes)
        for op, read, given, attributes in nodes
    ]
    shapes = {"x": ["n", channels, *size]} if inputs is None else inputs
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        list(tensors),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(path, made):
    path.write_bytes(made.SerializeToString())
    return path


def around(rng, nodes, tensors, *, width, back=None, factor=1, channels=1, opset=OPSET):
    """`nodes`, which make "b" of "a", between a convolution to `width` channels and one from `back` to the image's.

    factor : how many times as large as the image "b" is; below 1 it is enlarged before the second convolution.
    """
    back = width if back is None else back
    shapes = {
        "first.weight": (width, channels, 3, 3), "first.bias": (width,), "last.weight": (channels, back, 3, 3),
        "last.bias": (channels,),
    }  # fmt: skip
    own = [tensor(name, rng.normal(0, 0.3, shape)) for name, shape in shapes.items()]
    up = [("Resize", ["b", "", "factors"], ["c"], {"mode": "nearest"})] if factor < 1 else []
    own += [tensor("factors", [1, 1, 1 / factor, 1 / factor])] if up else []
    around_them = [
        ("Conv", ["x", "first.weight", "first.bias"], ["a"], {"pads": [1] * 4}),
        *nodes,
        *up,
        ("Conv", ["c" if up else "b", "last.weight", "last.bias"], ["y"], {"pads": [1] * 4}),
    ]
    return model(around_them, [*own, *tensors], channels=channels, opset=opset)


def padded(image, multiple):
    """An image (C, H, W) padded by reflection to multiples, float32 (1, C, H, W)."""
    height, width = image.shape[1:]
    return np.pad(image, ((0, 0), (0, -height % multiple), (0, -width % multiple)), "reflect")[None].astype(np.float32)


def difference(path, *, sigma=None, multiple=1, size=(37, 43), clipped=False, **options):
    """The largest difference of the imported network's restored image from ONNX Runtime's, and the model.

    clipped : whether the file's output is clipped to [0, 1], as images are when they are written.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    imported = nspike.import_checkpoint(path, degradation={} if sigma is None else {"sigma": sigma}, **options)
    network = imported.network
    image = np.random.default_rng(0).random((network.channels, *size), np.float32)
    plane = padded(image, np.lcm(multiple, network.size_multiple))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    feeds = {names[0]: plane} | {name: np.full((1, 1, 1, 1), (sigma or 25) / 255, np.float32) for name in names[1:]}
    expected = session.run(None, feeds)[0]
    values = run(network, imported.parameters, plane)
    values = values if network.scale > 1 else restored(network.mode, plane, values)
    assert values.shape == expected.shape
    return float(np.abs((np.clip(values, 0, 1) if clipped else values) - expected).max()), imported
