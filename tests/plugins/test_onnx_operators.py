"""One operator after the other, with the attributes that it may have, against ONNX Runtime."""

import numpy as np
import pytest

import nspike
from nspike import BadInputError
from nspike.graph.layer import Activation, AveragePool, Conv
from nspike.graph.plain_layer import Pointwise
from tests.plugins.onnx_graphs import around, difference, model, save, tensor

RNG = np.random.default_rng(3)


def normal(*shape):
    return RNG.normal(0, 0.4, shape)


def conv(shape, *, factor=1, back=None, op="Conv", bias=True, **attributes):
    """A case of a convolution of "a" with a kernel of `shape`."""
    out = shape[1] * attributes.get("group", 1) if op == "ConvTranspose" else shape[0]
    width = shape[0] if op == "ConvTranspose" else shape[1] * attributes.get("group", 1)
    read = ["a", "w", "bias"] if bias else ["a", "w"]
    tensors = [tensor("w", normal(*shape)), tensor("bias", normal(out))]
    return {"nodes": [(op, read, ["b"], attributes)], "tensors": tensors, "width": width, "back": out, "factor": factor}


def function(op, *extra, opset=17, **attributes):
    """A case of a function of "a", with further inputs."""
    tensors = [tensor(f"t{i}", values) for i, values in enumerate(extra)]
    read = ["a", *(t.name for t in tensors)]
    return {"nodes": [(op, read, ["b"], attributes)], "tensors": tensors, "width": 4, "opset": opset}


def moves(*nodes, back=4, factor=1, width=4, tensors=()):
    return {"nodes": list(nodes), "tensors": tensors, "width": width, "back": back, "factor": factor}


def integers(name, *values):
    return tensor(name, values, np.int64)


PERMS = {"CRD": [0, 1, 4, 2, 5, 3], "DCR": [0, 3, 4, 1, 5, 2], "un": [0, 1, 3, 5, 2, 4], "unDCR": [0, 3, 5, 1, 2, 4]}

CASES = {
    # any kernel, padding, stride, dilation, groups
    "conv 5x5": conv((3, 2, 5, 5), pads=[2] * 4),
    "conv 1x5": conv((3, 2, 1, 5), pads=[0, 2, 0, 2]),
    "conv 3x1 dilated": conv((3, 2, 3, 1), pads=[2, 0, 2, 0], dilations=[2, 1]),
    "conv 3x5": conv((3, 2, 3, 5), pads=[1, 2, 1, 2]),
    "conv dilated unlike": conv((3, 2, 3, 3), pads=[1, 2, 1, 2], dilations=[1, 2]),
    "conv dilated 3": conv((3, 2, 3, 3), pads=[3] * 4, dilations=[3, 3]),
    "conv even": conv((3, 2, 2, 2), pads=[0, 0, 1, 1]),
    "conv even before": conv((3, 2, 4, 4), pads=[2, 2, 1, 1]),
    "conv causal": conv((3, 2, 3, 3), pads=[2, 1, 0, 1]),
    "conv odd pads": conv((3, 2, 3, 5), pads=[0, 4, 2, 0], dilations=[1, 1]),
    "conv dilated odd pads": conv((3, 2, 3, 3), pads=[3, 2, 1, 2], dilations=[2, 2]),
    "conv same upper": conv((3, 2, 4, 3), auto_pad="SAME_UPPER"),
    "conv same lower": conv((3, 2, 4, 3), auto_pad="SAME_LOWER"),
    "conv same strided": conv((3, 2, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2], factor=0.5),
    "conv strided": conv((3, 2, 3, 3), pads=[1] * 4, strides=[2, 2], factor=0.5),
    "conv strided 2x2": conv((3, 2, 2, 2), strides=[2, 2], factor=0.5),
    "conv strided 1x1": conv((3, 2, 1, 1), strides=[2, 2], factor=0.5),
    "conv strided unlike": conv((3, 2, 3, 5), pads=[1, 2, 1, 2], strides=[2, 2], factor=0.5),
    "conv groups": conv((6, 2, 3, 3), pads=[1] * 4, group=2),
    "conv depthwise": conv((4, 1, 3, 3), pads=[1] * 4, group=4, bias=False),
    # transposed ones
    "transposed 2x2": conv((4, 3, 2, 2), op="ConvTranspose", strides=[2, 2], factor=2),
    "transposed 3x3": conv((4, 3, 3, 3), op="ConvTranspose", strides=[2, 2], pads=[1] * 4, output_padding=[1, 1], factor=2),
    "transposed 4x4": conv((4, 3, 4, 4), op="ConvTranspose", strides=[2, 2], pads=[1] * 4, factor=2),
    "transposed 9x9 by 3": conv((4, 3, 9, 9), op="ConvTranspose", strides=[3, 3], pads=[3] * 4, factor=3),
    "transposed 1x1 by 2": conv((4, 3, 1, 1), op="ConvTranspose", strides=[2, 2], output_padding=[1, 1], factor=2),
    "transposed unlike": conv((4, 3, 2, 4), op="ConvTranspose", strides=[2, 2], pads=[0, 1, 0, 1], factor=2),
    "transposed odd pads": conv((4, 3, 5, 5), op="ConvTranspose", strides=[2, 2], pads=[2, 1, 1, 2], factor=2),
    "transposed groups": conv((4, 3, 4, 4), op="ConvTranspose", strides=[2, 2], pads=[1] * 4, group=2, factor=2),
    "transposed dilated": conv((4, 3, 2, 2), op="ConvTranspose", strides=[2, 2], dilations=[3, 3], pads=[1] * 4, factor=2),
    "transposed stride 1": conv((4, 3, 3, 3), op="ConvTranspose", pads=[1] * 4),
    "transposed same": conv((4, 3, 3, 3), op="ConvTranspose", strides=[2, 2], auto_pad="SAME_UPPER", factor=2),
    # functions
    "relu": function("Relu"),
    "relu6": function("Clip", np.float32(0), np.float32(6)),
    "clip signed": function("Clip", np.float32(-0.3), np.float32(0.3)),
    "leaky": function("LeakyRelu", alpha=0.2),
    "prelu": function("PRelu", normal(4, 1, 1)),
    "prelu one": function("PRelu", normal(1)),
    "sigmoid": function("Sigmoid"),
    "tanh": function("Tanh"),
    "gelu": function("Gelu", opset=20),
    "hard sigmoid": function("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard swish": function("HardSwish"),
    "identity": function("Identity"),
    "dropout": function("Dropout"),
    "neg": function("Neg"),
    # constants
    "add number": function("Add", np.float32(0.3)),
    "add channels": function("Add", normal(1, 4, 1, 1)),
    "subtract channels": function("Sub", normal(4, 1, 1)),
    "multiply": function("Mul", normal(1, 4, 1, 1)),
    "divide": function("Div", np.float32(4)),
    "sum": function("Sum", normal(4, 1, 1)),
    "batch norm": function("BatchNormalization", normal(4), normal(4), normal(4), np.abs(normal(4)) + 0.1),
    "from a constant": moves(("Sub", ["one", "a"], ["b"], {}), tensors=[tensor("one", 1.0)]),
    "twice, and read elsewhere": moves(
        ("Mul", ["a", "half"], ["c"], {}), ("Add", ["a", "c"], ["b"], {}), tensors=[tensor("half", 0.5)]
    ),
    "relu and batch norm": moves(
        ("Relu", ["a"], ["c"], {}), ("BatchNormalization", ["c", "s", "o", "o", "s"], ["b"], {}),
        tensors=[tensor("s", np.abs(normal(4)) + 0.2), tensor("o", normal(4))],
    ),
    "gelu of erf": moves(
        ("Div", ["a", "root"], ["c"], {}), ("Erf", ["c"], ["d"], {}), ("Add", ["d", "one"], ["e"], {}),
        ("Mul", ["a", "e"], ["f"], {}), ("Mul", ["f", "half"], ["b"], {}),
        tensors=[tensor("root", np.sqrt(2)), tensor("one", 1), tensor("half", 0.5)],
    ),
    "gelu of erf, half first": moves(
        ("Mul", ["a", "root"], ["c"], {}), ("Erf", ["c"], ["d"], {}), ("Add", ["one", "d"], ["e"], {}),
        ("Mul", ["a", "half"], ["f"], {}), ("Mul", ["f", "e"], ["b"], {}),
        tensors=[tensor("root", 1 / np.sqrt(2)), tensor("one", 1), tensor("half", 0.5)],
    ),
    "silu": moves(("Sigmoid", ["a"], ["c"], {}), ("Mul", ["a", "c"], ["b"], {})),
    # pooling
    "average": moves(("AveragePool", ["a"], ["b"], {"kernel_shape": [2, 2], "strides": [2, 2]}), factor=0.5),
    "average of 3": moves(("AveragePool", ["a"], ["b"], {"kernel_shape": [3, 3], "strides": [3, 3]}), factor=1 / 3),
    "average around": moves(
        ("AveragePool", ["a"], ["b"], {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1})
    ),
    "largest": moves(("MaxPool", ["a"], ["b"], {"kernel_shape": [2, 2], "strides": [2, 2]}), factor=0.5),
    "channel attention": moves(
        ("GlobalAveragePool", ["a"], ["c"], {}), ("Conv", ["c", "w"], ["d"], {}), ("Sigmoid", ["d"], ["e"], {}),
        ("Mul", ["e", "a"], ["b"], {}), tensors=[tensor("w", normal(4, 4, 1, 1))],
    ),
    "spatial attention": moves(
        ("Conv", ["a", "w"], ["d"], {}), ("Sigmoid", ["d"], ["e"], {}), ("Mul", ["a", "e"], ["b"], {}),
        tensors=[tensor("w", normal(1, 4, 1, 1))],
    ),
    "linear squeeze": moves(
        ("ReduceMean", ["a"], ["c"], {"axes": [2, 3], "keepdims": 0}),
        ("Gemm", ["c", "w", "o"], ["d"], {"transB": 1}), ("Unsqueeze", ["d", "axes"], ["e"], {}),
        ("Mul", ["a", "e"], ["b"], {}), tensors=[tensor("w", normal(4, 4)), tensor("o", normal(4)), integers("axes", 2, 3)],
    ),
    # arrangement
    "depth to space CRD": moves(
        ("DepthToSpace", ["a"], ["b"], {"blocksize": 2, "mode": "CRD"}), width=12, back=3, factor=2
    ),
    "depth to space DCR": moves(("DepthToSpace", ["a"], ["b"], {"blocksize": 2}), width=12, back=3, factor=2),
    "space to depth": moves(("SpaceToDepth", ["a"], ["b"], {"blocksize": 2}), width=3, back=12, factor=0.5),
    **{
        f"shuffle {order}": moves(
            ("Shape", ["a"], ["s"], {}), ("Gather", ["s", "i2"], ["h"], {}), ("Gather", ["s", "i3"], ["w"], {}),
            ("Mul", ["h", "two"], ["h2"], {}), ("Mul", ["w", "two"], ["w2"], {}),
            ("Concat", ["one", *split, "h", "w"], ["s6"], {"axis": 0}), ("Reshape", ["a", "s6"], ["c"], {}),
            ("Transpose", ["c"], ["d"], {"perm": PERMS[order]}),
            ("Concat", ["one", "three", "h2", "w2"], ["s4"], {"axis": 0}), ("Reshape", ["d", "s4"], ["b"], {}),
            width=12, back=3, factor=2,
            tensors=[integers(n, v) for n, v in {"i2": 2, "i3": 3, "one": 1, "two": 2, "three": 3}.items()],
        )
        for order, split in {"CRD": ("three", "two", "two"), "DCR": ("two", "two", "three")}.items()
    },
    "channel shuffle": moves(
        ("Shape", ["a"], ["s4"], {}), ("Slice", ["s4", "two", "four"], ["hw"], {}),
        ("Concat", ["groups", "hw"], ["s5"], {"axis": 0}),
        ("Reshape", ["a", "s5"], ["c"], {}), ("Transpose", ["c"], ["d"], {"perm": [0, 2, 1, 3, 4]}),
        ("Reshape", ["d", "s4"], ["b"], {}), width=6, back=6,
        tensors=[integers("two", 2), integers("four", 4), integers("groups", 0, 2, 3)],
    ),
    "split and join": moves(
        ("Split", ["a", "parts"], ["c", "d"], {"axis": 1}), ("Concat", ["d", "c", "d"], ["b"], {"axis": 1}), back=7,
        tensors=[integers("parts", 1, 3)],
    ),
    "slice": moves(
        ("Slice", ["a", "from", "to", "axes"], ["b"], {}), back=2,
        tensors=[integers("from", 1), integers("to", 3), integers("axes", 1)],
    ),
    "every second": moves(
        ("Slice", ["a", "from", "to", "axes", "steps"], ["b"], {}), factor=0.5,
        tensors=[
            integers("from", 1, 0), integers("to", 2**40, 2**40), integers("axes", 2, 3), integers("steps", 2, 2),
        ],
    ),
    "plane": moves(
        ("Shape", ["a"], ["s"], {}), ("Slice", ["s", "two", "four"], ["hw"], {}),
        ("Concat", ["ones", "hw"], ["full"], {"axis": 0}), ("ConstantOfShape", ["full"], ["z"], {}),
        ("Add", ["z", "level"], ["p"], {}), ("Concat", ["a", "p"], ["b"], {"axis": 1}), back=5,
        tensors=[integers("two", 2), integers("four", 4), integers("ones", 1, 1), tensor("level", 0.2)],
    ),
    "padded": moves(
        ("Pad", ["a", "pads"], ["c"], {}), ("Conv", ["c", "w"], ["b"], {}),
        tensors=[integers("pads", 0, 0, 2, 1, 0, 0, 0, 1), tensor("w", normal(4, 4, 3, 3))],
    ),
    "nearest 3": moves(("Resize", ["a", "", "f"], ["b"], {"mode": "nearest"}), factor=3, tensors=[tensor("f", [1, 1, 3, 3])]),
    "nearest asymmetric": moves(
        ("Resize", ["a", "", "f"], ["b"], {
            "mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"
        }), factor=2, tensors=[tensor("f", [1, 1, 2, 2])],
    ),
    "nearest half": moves(
        ("Resize", ["a", "", "f"], ["b"], {
            "mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"
        }), factor=0.5, tensors=[tensor("f", [1, 1, 0.5, 0.5])],
    ),
    "bilinear": moves(("Resize", ["a", "", "f"], ["b"], {"mode": "linear"}), factor=2, tensors=[tensor("f", [1, 1, 2, 2])]),
    "bilinear half": moves(
        ("Resize", ["a", "", "f"], ["b"], {"mode": "linear"}), factor=0.5, tensors=[tensor("f", [1, 1, 0.5, 0.5])]
    ),
    "layer norm": moves(
        ("Transpose", ["a"], ["c"], {"perm": [0, 2, 3, 1]}), ("LayerNormalization", ["c", "s", "o"], ["d"], {"axis": -1}),
        ("MatMul", ["d", "w"], ["e"], {}), ("Add", ["e", "o"], ["f"], {}), ("Transpose", ["f"], ["b"], {"perm": [0, 3, 1, 2]}),
        tensors=[tensor("s", normal(4)), tensor("o", normal(4)), tensor("w", normal(4, 4))],
    ),
    "products": moves(
        ("Relu", ["a"], ["c"], {}), ("Mul", ["a", "c"], ["d"], {}), ("Sum", ["a", "c", "d"], ["b"], {}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operator(tmp_path, name):
    path = save(tmp_path / "net.onnx", around(np.random.default_rng(1), **CASES[name]))
    apart, imported = difference(path, multiple=2 if CASES[name].get("factor", 1) == 0.5 else 1)
    assert apart < 1e-5
    assert imported.network.mode == "image"


def imported(tmp_path, made, **options):
    return nspike.import_checkpoint(save(tmp_path / "net.onnx", made), **options)


def test_constants_are_folded_into_the_convolution(tmp_path):
    for name in ("add channels", "subtract channels", "multiply", "divide", "sum", "neg"):
        network = imported(tmp_path, around(RNG, **CASES[name])).network
        assert [layer.name for layer in network.layers] == ["first", "last"]
    network = imported(tmp_path, around(RNG, **CASES["twice, and read elsewhere"])).network
    assert [conv.groups for conv in network.convs] == [1, 4, 1]


def test_batch_norm_is_kept(tmp_path):
    first, last = imported(tmp_path, around(RNG, **CASES["batch norm"])).network.convs
    assert (first.batch_norm_eps, last.batch_norm_eps) == (pytest.approx(1e-5), None)


def test_functions_become_one_layer(tmp_path):
    for name, expected in (("gelu of erf", "gelu"), ("gelu of erf, half first", "gelu"), ("silu", "silu")):
        network = imported(tmp_path, around(RNG, **CASES[name])).network
        assert [layer.function for layer in network.of_kind(Pointwise)] == [expected]
        assert len(network.layers) == 3


def test_pads_dilations_and_strides_stay_where_they_can(tmp_path):
    def made(name):
        return imported(tmp_path, around(RNG, **CASES[name])).network.convs[1]

    assert made("conv dilated 3") == Conv("b", "first", 2, 3, 3, dilation=3)
    assert made("conv 3x1 dilated") == Conv("b", "first", 2, 3, 3, dilation=2)
    assert made("conv strided") == Conv("b", "first", 2, 3, 3, stride=2)
    assert (made("conv causal").kernel, made("conv causal").padding) == (4, (2, 1))
    assert made("conv depthwise").groups == 4
    assert imported(tmp_path, around(RNG, **CASES["average"])).network.of_kind(AveragePool)[0].size == 2
    assert imported(tmp_path, around(RNG, **CASES["relu6"])).network.of_kind(Activation)[0].ceiling == (6.0,)


def ending(*nodes, tensors=()):
    kernel = tensor("w", RNG.normal(0, 0.3, (1, 1, 3, 3)))
    return model([("Conv", ["x", "w"], ["f"], {"pads": [1] * 4}), *nodes], [kernel, *tensors])


@pytest.mark.parametrize(
    ("nodes", "mode", "rectify"),
    [
        ([("Add", ["f", "x"], ["y"], {})], "add", False),
        ([("Add", ["x", "f"], ["z"], {}), ("Relu", ["z"], ["y"], {})], "add", False),
        ([("Sub", ["x", "f"], ["z"], {}), ("Clip", ["z", "zero", "one"], ["y"], {})], "subtract", False),
        ([("Sub", ["f", "x"], ["y"], {})], "image", False),
        ([("Relu", ["f"], ["z"], {}), ("Sub", ["x", "z"], ["y"], {})], "subtract", True),
        ([("Relu", ["f"], ["y"], {})], "image", True),
        ([("Clip", ["f", "zero", "one"], ["y"], {})], "image", True),
        ([("Add", ["f", "x"], ["z"], {}), ("Mul", ["z", "half"], ["y"], {})], "image", False),
    ],
)
def test_the_end_of_the_network(tmp_path, nodes, mode, rectify):
    made = ending(*nodes, tensors=[tensor("zero", 0), tensor("one", 1), tensor("half", 0.5)])
    path = save(tmp_path / "net.onnx", made)
    network = nspike.import_checkpoint(path).network
    assert (network.mode, network.rectify) == (mode, rectify)
    ends = nodes[-1][0] in ("Relu", "Clip")
    if not (ends and mode != "image"):
        assert difference(path, clipped=nodes[-1][0] == "Clip")[0] < 1e-5


@pytest.mark.parametrize(("channels", "image"), [(4, 3), (2, 1)])
def test_a_last_channel_of_the_noise_level(tmp_path, channels, image):
    made = model(
        [("Conv", ["x", "w"], ["y"], {"pads": [1] * 4})],
        [tensor("w", normal(image, channels, 3, 3))],
        channels=channels,
    )
    ann = imported(tmp_path, made, degradation={"sigma": 10.0})
    assert ann.network.channels == image
    assert ann.network.layers[0].values == (10 / 255,)
    assert ann.network.layers[0].meaning == "sigma"


def test_a_noise_level_out_of_255(tmp_path):
    nodes = [
        ("Div", ["sigma", "white"], ["s"], {}), ("Shape", ["x"], ["shape"], {}), ("Expand", ["s", "shape"], ["p"], {}),
        ("Concat", ["x", "p"], ["c"], {"axis": 1}), ("Conv", ["c", "w"], ["y"], {"pads": [1] * 4}),
    ]  # fmt: skip
    shapes = {"sigma": [1, 1, 1, 1], "x": ["n", 1, "h", "w"]}
    made = model(nodes, [tensor("white", 255), tensor("w", normal(1, 2, 3, 3))], inputs=shapes)
    assert imported(tmp_path, made, degradation={"sigma": 50.0}).network.layers[0].values == (50 / 255,)
    nodes[0] = ("Mul", ["sigma", "white"], ["s"], {})
    made = model(nodes, [tensor("white", 2), tensor("w", normal(1, 2, 3, 3))], inputs=shapes)
    with pytest.raises(BadInputError, match="noise level is multiplied by 2"):
        imported(tmp_path, made)


def test_images_with_their_channels_last(tmp_path):
    nodes = [
        ("Transpose", ["x"], ["a"], {"perm": [0, 3, 1, 2]}), ("Conv", ["a", "w"], ["b"], {"pads": [1] * 4}),
        ("Transpose", ["b"], ["c"], {"perm": [0, 2, 3, 1]}), ("Add", ["c", "x"], ["y"], {}),
    ]  # fmt: skip
    made = model(nodes, [tensor("w", normal(3, 3, 3, 3))], inputs={"x": ["n", "h", "w", 3]})
    network = imported(tmp_path, made).network
    assert [type(layer).__name__ for layer in network.layers] == ["Conv", "Add"]
