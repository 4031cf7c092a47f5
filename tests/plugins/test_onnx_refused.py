"""ONNX files that are damaged, hostile, or of networks that nspike cannot have: each a clear error, never a traceback."""

import os
import random

import numpy as np
import onnx
import pytest
from nspike_plugins import onnx as plugin
from onnx import TensorProto

import nspike
from nspike import BadInputError
from tests import mutants
from tests.plugins.onnx_graphs import model, save, tensor
from tests.plugins.test_onnx import FOLDER

RNG = np.random.default_rng(5)
KERNEL = tensor("w", RNG.normal(0, 0.3, (1, 1, 3, 3)))
CONV = ("Conv", ["x", "w"], ["y"], {"pads": [1] * 4})


def refusal(tmp_path, made):
    path = save(tmp_path / "net.onnx", made) if isinstance(made, onnx.ModelProto) else made
    with pytest.raises(BadInputError) as caught:
        nspike.import_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_all_unsupported_nodes_are_listed_at_once(tmp_path):
    nodes = [
        ("Conv", ["x", "w"], ["a"], {"pads": [1] * 4}),
        ("Softmax", ["a"], ["b"], {"axis": 1}),
        ("Elu", ["a"], ["c"], {}),
        ("Add", ["b", "c"], ["d"], {}),
        ("InstanceNormalization", ["a", "one", "one"], ["e"], {}),
        ("Conv", ["e", "w"], ["f"], {}),
        ("Add", ["d", "f"], ["y"], {}),
    ]
    said = refusal(tmp_path, model(nodes, [KERNEL, tensor("one", [1.0])]))
    assert "3 of its 7 nodes have no place in a network of nspike" in said
    assert "node 'node_b' (Softmax): attention has no place yet" in said
    assert "node 'node_c' (Elu): no layer does this" in said
    assert "node 'node_e' (InstanceNormalization): it normalises by the image's own statistics" in said
    assert "node_d" not in said  # follows from the others
    assert "node_y" not in said


CASES = {
    "valid convolution": ([("Conv", ["x", "w"], ["y"], {})], (), "give it zero padding"),
    "reflected": (
        [("Pad", ["x", "pads"], ["a"], {"mode": "reflect"}), ("Conv", ["a", "w"], ["y"], {})],
        [tensor("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)],
        "pads by reflection; nspike's convolutions pad with zeros",
    ),
    "padding that nothing takes over": (
        [("Pad", ["x", "pads"], ["a"], {}), ("Relu", ["a"], ["b"], {}), ("Conv", ["b", "w"], ["y"], {})],
        [tensor("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)],
        "padded feature map",
    ),
    "strides unlike": ([("Conv", ["x", "w"], ["y"], {"strides": [1, 2], "pads": [1] * 4})], (), "strides are 1 and 2"),
    "channels": ([CONV], [tensor("w", np.zeros((1, 2, 3, 3)))], "do not suit 1 channels"),
    "kernel of a line": ([CONV], [tensor("w", np.zeros((1, 1, 3)))], "expected one of images"),
    "bias": (
        [("Conv", ["x", "w", "o"], ["y"], {"pads": [1] * 4})], [tensor("o", np.zeros(2))], "its bias is (2,)"
    ),
    "huge stride": ([("Conv", ["x", "w"], ["y"], {"strides": [10**9, 10**9], "pads": [1] * 4})], (), "strides are"),
    "huge dilation": ([("Conv", ["x", "w"], ["y"], {"dilations": [10**9, 10**9]})], (), "dilations are"),
    "groups of 0": ([("Conv", ["x", "w"], ["y"], {"group": 0, "pads": [1] * 4})], (), "in 0 groups"),
    "different sizes": (
        [
            ("Conv", ["x", "w"], ["a"], {"pads": [1] * 4, "strides": [2, 2]}),
            ("Concat", ["a", "x"], ["b"], {"axis": 1}), ("Conv", ["b", "w"], ["y"], {}),
        ],
        (),
        "feature maps of different sizes together",
    ),
    "sum of different sizes": (
        [("Conv", ["x", "w"], ["a"], {"pads": [1] * 4, "strides": [2, 2]}), ("Add", ["a", "x"], ["y"], {})],
        (),
        "combines feature maps of different sizes: (1, 480, 672), (1, 960, 1344)",
    ),
    "pixel by pixel": (
        [("Add", ["x", "map"], ["a"], {}), ("Conv", ["a", "w"], ["y"], {"pads": [1] * 4})],
        [tensor("map", RNG.random((1, 1, 960, 1344)))],
        "differs from pixel to pixel",
    ),
    "cubic": (
        [("Resize", ["x", "", "two"], ["y"], {"mode": "cubic"})], [tensor("two", [1, 1, 2, 2])], "in mode 'cubic'"
    ),
    "corners": (
        [("Resize", ["x", "", "two"], ["y"], {"mode": "linear", "coordinate_transformation_mode": "align_corners"})],
        [tensor("two", [1, 1, 2, 2])],
        "align_corners=False",
    ),
    "weights that are computed": ([("Conv", ["x", "x"], ["y"], {})], (), "its kernel is no constant"),
    "training": (
        [("BatchNormalization", ["x", "o", "o", "o", "o"], ["y"], {"training_mode": 1})],
        [tensor("o", [1.0])],
        "model.eval()",
    ),
    "variance": (
        [("Conv", ["x", "w"], ["a"], {"pads": [1] * 4}), ("BatchNormalization", ["a", "o", "o", "o", "m"], ["y"], {})],
        [tensor("o", [1.0]), tensor("m", [-1.0])],
        "a variance that is not positive",
    ),
    "division by zero": (
        [(*CONV[:2], ["a"], {"pads": [1] * 4}), ("Div", ["a", "zero"], ["y"], {})], [tensor("zero", 0)], "not finite",
    ),
    "constants of 2 GB": (
        [("ConstantOfShape", ["s"], ["a"], {}), ("Exp", ["a"], ["b"], {}), ("Reshape", ["b", "flat"], ["c"], {}),
         ("ReduceSum", ["b"], ["d"], {}), ("Mul", ["x", "d"], ["y"], {})],
        [tensor("s", [2**15, 2**15], np.int64), tensor("flat", [-1], np.int64)],
        "constants",
    ),
    "constants of more than there is": (
        [("ConstantOfShape", ["s"], ["a"], {}), ("Add", ["x", "a"], ["y"], {})],
        [tensor("s", [2**31, 2**31], np.int64)],
        "a constant of shape",
    ),
    "a shape of another size": (
        [("Reshape", ["x", "s"], ["y"], {})], [tensor("s", [1, 1, 7, 7], np.int64)], "does not suit"
    ),
    "a shape across the rows": (
        [("Reshape", ["x", "s"], ["y"], {})], [tensor("s", [1, 1, 1344, 960], np.int64)], "cuts across"
    ),
    "rows turned into columns": ([("Transpose", ["x"], ["y"], {"perm": [0, 1, 3, 2]})], (), "arranged as"),
    "more channels": ([CONV], [tensor("w", RNG.random((2, 1, 3, 3)))], "takes 1 channels and gives 2"),
    "no network": ([("Identity", ["x"], ["y"], {})], (), "gives 1; expected"),
    "nothing of the image": ([("Identity", ["w"], ["y"], {})], (), "does not depend on the image"),
    "an output that is smaller": (
        [("Conv", ["x", "w"], ["y"], {"pads": [1] * 4, "strides": [2, 2]})], (), "1/2 times as high"
    ),
    "nan": ([CONV], [tensor("w", np.full((1, 1, 3, 3), np.nan))], "NaN or infinite"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused(tmp_path, name):
    nodes, tensors, said = CASES[name]
    own = () if any(t.name == "w" for t in tensors) else (KERNEL,)
    message = refusal(tmp_path, model(nodes, [*own, *tensors]))
    if name == "no network":
        assert "takes 1 channels" in message
    else:
        assert said in message
    assert "Error" not in message


def changed(**changes):
    """A model of one convolution, and its proto for changes."""
    return model([CONV], [KERNEL], **changes)


def test_cycles(tmp_path):
    said = refusal(tmp_path, model([("Add", ["x", "b"], ["a"], {}), ("Relu", ["a"], ["b"], {}), CONV], [KERNEL]))
    assert "node 'node_a' reads 'b', which no node before it gives: a cycle, or a part is missing" in said


def test_names_given_twice(tmp_path):
    assert "gives the tensor 'a' twice" in refusal(
        tmp_path, model([("Relu", ["x"], ["a"], {}), ("Relu", ["x"], ["a"], {}), CONV], [KERNEL])
    )
    assert "two tensors called 'w'" in refusal(tmp_path, model([CONV], [KERNEL, KERNEL]))


def test_custom_operators_and_functions(tmp_path):
    made = changed()
    made.graph.node[0].domain = "com.example"
    assert "node 'node_y' (Conv): it is an operator of 'com.example', not of ONNX" in refusal(tmp_path, made)


def test_opsets(tmp_path):
    for opset in (10, 99):
        assert f"uses opset {opset}, expected 11 to" in refusal(tmp_path, changed(opset=opset))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"x": ["n", "c", "h", "w"]}, "expected a fixed 1 or 3"),
        ({"x": ["n", 1, 8]}, "no input of images"),
        ({"x": ["n", 1, "h", "w"], "y2": ["n", 5, "h", "w"]}, "at most a noise level"),
        ({"x": ["n", 1, "h", "w"], "s": [1], "t": [1]}, "several inputs of noise levels"),
        ({"x": ["n", 1, 2**20, 2**20]}, "export it for dynamic sizes"),
        ({"x": ["n", 1, 47, 48]}, "sizes that its strides divide"),
    ],
)
def test_inputs(tmp_path, inputs, said):
    nodes = [("Conv", ["x", "w"], ["y"], {"pads": [1] * 4, "strides": [2, 2]})]
    assert said in refusal(tmp_path, model(nodes, [KERNEL], inputs=inputs))


def test_outputs(tmp_path):
    made = model([CONV, ("Relu", ["x"], ["z"], {})], [KERNEL], outputs=("y", "z"))
    assert "has the outputs 'y', 'z'; expected one" in refusal(tmp_path, made)


def test_images_of_integers(tmp_path):
    made = changed()
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    assert "of another type than floats" in refusal(tmp_path, made)


def test_tensors_that_lie(tmp_path):
    for dims, said in (
        ([1, 1, 3, 4], "take"),
        ([1, 1, -3, -3], "claims the shape"),
        ([2**20, 2**20, 3, 3], "claims the shape"),
    ):
        made = changed()
        del made.graph.initializer[0].dims[:]
        made.graph.initializer[0].dims.extend(dims)
        assert said in refusal(tmp_path, made)
    made = changed()
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].float_data.extend([1.0] * 8)
    assert "has 8 values, its shape (1, 1, 3, 3) takes 9" in refusal(tmp_path, made)
    made.graph.initializer[0].data_type = TensorProto.STRING
    assert "expected numbers" in refusal(tmp_path, made)


def outside(tmp_path, **about):
    made = changed()
    weights = made.graph.initializer[0]
    data = weights.raw_data
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in about.items():
        weights.external_data.add(key=key, value=str(value))
    return made, data


def test_external_data(tmp_path):
    made, data = outside(tmp_path, location="net.data", offset=4, length=36)
    (tmp_path / "net.data").write_bytes(b"1234" + data)
    read = nspike.import_checkpoint(save(tmp_path / "net.onnx", made))
    assert np.array_equal(read.parameters["y.weight"].ravel(), np.frombuffer(data, "<f4"))


def test_external_data_that_cannot_be_had(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"0" * 36)
    (folder / "short").write_bytes(b"0" * 35)
    os.symlink(tmp_path / "secret", folder / "link")
    cases = (
        ({"location": "none"}, "in the file 'none', which is missing"),
        ({"location": "../secret"}, "outside the model's folder"),
        ({"location": str(tmp_path / "secret")}, "outside the model's folder"),
        ({"location": "link"}, "outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({"location": "."}, "outside the model's folder"),
        ({"location": "short"}, "which has 35"),
        ({"location": "short", "offset": -4}, "expected numbers of bytes"),
        ({"location": "short", "length": 4}, "takes 36 bytes"),
        ({"location": "short", "offset": 10**14}, "which has 35"),
    )
    for about, said in cases:
        assert said in refusal(tmp_path, save(folder / "net.onnx", outside(tmp_path, **about)[0]))


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(changed().SerializeToString())
    os.truncate(path, 2**31)
    assert "is too large" in refusal(tmp_path, path)


def test_files_of_other_things(tmp_path):
    for content in (b"\x08\x08\x12\x00", b"not a model at all", bytes(range(256))):
        path = tmp_path / "net.onnx"
        path.write_bytes(content)
        refusal(tmp_path, path)


def test_damaged_files(tmp_path):
    """Cut short, bytes changed: read as some network, or refused in words."""
    data = (FOLDER / "ffdnet_torchscript_16.onnx").read_bytes()
    path = tmp_path / "net.onnx"
    refused = mutants.refused(plugin.read, path, data, random.Random(1), 200, BadInputError, changes=(1, 5))
    assert refused > 20


def test_the_package_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(plugin.importlib.util, "find_spec", lambda name: None)
    assert 'pip install "nspike[onnx]"' in refusal(tmp_path, changed())


def test_is_recognised_by_its_content(tmp_path):
    path = save(tmp_path / "net.bin", changed())
    assert plugin.detect(path, path.read_bytes()[:512])
    assert nspike.import_checkpoint(path).info.provenance["format"] == "onnx"
    for head in (b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x08\x08"):
        assert not plugin.detect(path, head)


def test_the_weights_of_another_format_need_a_network(tmp_path):
    from safetensors.numpy import save_file

    save_file({"0.weight": np.zeros((1, 1, 3, 3), np.float32)}, tmp_path / "net.safetensors")
    with pytest.raises(nspike.UsageError, match="safetensors files hold weights alone; say which architecture it is"):
        nspike.import_checkpoint(tmp_path / "net.safetensors")
