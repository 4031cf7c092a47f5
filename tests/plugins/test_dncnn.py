import numpy as np
import pytest
from nspike_plugins import dncnn

from nspike.errors import BadInputError
from tests.plugins.chains import aod, chain


def count(parameters):
    return sum(array.size for array in parameters.values())


def test_merged_layers_and_parameter_count():
    network, parameters = dncnn.read(chain(17, 64))
    assert [conv.name for conv in network.convs] == [f"conv{i}" for i in range(1, 18)]
    assert [relu.name for relu in network.activations] == [f"relu{i}" for i in range(1, 17)]
    assert (network.mode, network.output, network.channels) == ("subtract", "conv17", 1)
    assert count(parameters) == 555_137
    assert network.macs_per_pixel == 554_112
    assert network.radius == 17


@pytest.mark.parametrize(
    ("stem", "norm", "bias", "eps"),
    [
        ("model", "torch", "all", 1e-4),  # KAIR
        ("dncnn", "torch", "first", 1e-4),  # cszn
        ("dncnn", "torch", "ends", 1e-5),
        ("dncnn", "torch", "", 1e-5),
        ("dncnn", "torch", "all", 1e-5),
        ("layers", "matconvnet", "all", 0.0),
    ],
)
def test_batch_norm_layouts(stem, norm, bias, eps):
    tensors = chain(5, 8, 3, stem=stem, norm=norm, bias=bias)
    network, parameters = dncnn.read({f"module.{key}": array for key, array in tensors.items()})
    assert [conv.batch_norm_eps for conv in network.convs] == [None, eps, eps, eps, None]
    assert [conv.bias for conv in network.convs] == [
        bias != "",
        bias == "all",
        bias == "all",
        bias == "all",
        bias in ("all", "ends"),
    ]
    assert network.channels == 3
    assert parameters["conv2.bn_var"].shape == (8,)
    expected = tensors["layers.2.bn.std"] ** 2 if norm == "matconvnet" else tensors[f"{stem}.3.running_var"]
    np.testing.assert_array_equal(parameters["conv2.bn_var"], expected)


def test_matconvnet_counts_convolutions():
    def renumbered(key):
        layers, number, rest = key.split(".", 2)
        return f"{layers}.{(int(number) + 1) // 3}.{rest}"

    sparse = chain(5, 8, stem="layers", norm="matconvnet", bias="ends")
    dense = {renumbered(key): array for key, array in sparse.items()}
    assert "layers.1.bn.std" in dense
    network, parameters = dncnn.read(dense)
    assert network == dncnn.read(sparse)[0]
    for name, array in dncnn.read(sparse)[1].items():
        np.testing.assert_array_equal(parameters[name], array)


def test_parameter_counts_of_the_unmerged_exports():
    def trained(tensors):  # running statistics are no parameters
        _, parameters = dncnn.read(tensors)
        return sum(a.size for name, a in parameters.items() if not name.endswith(("bn_mean", "bn_var")))

    assert trained(chain(17, 64, norm="torch")) == 557_057
    assert trained(chain(17, 64, stem="dncnn", norm="torch", bias="first")) == 556_096


def test_numbering_without_gaps_and_depth_two():
    merged = chain(4, 8)
    dense = {f"layers.{int(k.split('.')[1]) // 2}.{k.split('.')[2]}": v for k, v in merged.items()}
    assert len(dncnn.read(dense)[0].convs) == 4
    assert len(dncnn.read(chain(2, 5))[0].convs) == 2


@pytest.mark.parametrize(
    "gone", ["model.0.weight", "model.5.weight", "model.6.running_var", "model.8.bias", "model.11.weight"]
)
def test_a_missing_key_is_listed(gone):
    tensors = chain(5, 8, norm="torch")
    del tensors[gone]
    with pytest.raises(BadInputError, match=rf"missing keys: .*{gone.removeprefix('model.')}"):
        dncnn.read(tensors)


def test_an_unknown_key_is_listed():
    tensors = chain(4, 8) | {"model.6.scale": np.ones(1, np.float32), "extra.weight": np.ones(1, np.float32)}
    with pytest.raises(BadInputError, match=r"unknown keys: .*model\.6\.scale, extra\.weight"):
        dncnn.read(tensors)


def test_a_wrong_shape_is_shown():
    tensors = chain(4, 8)
    tensors["model.4.weight"] = np.zeros((8, 7, 3, 3), np.float32)
    with pytest.raises(BadInputError, match=r"model\.4\.weight is \(8, 7, 3, 3\), expected \(8, 8, 3, 3\)"):
        dncnn.read(tensors)


def test_another_network_is_refused():
    with pytest.raises(BadInputError, match=r"dncnn: missing keys: .*unknown keys: conv1\.weight"):
        dncnn.read(aod())


def test_not_finite_and_no_floats():
    tensors = chain(3, 4)
    with pytest.raises(BadInputError, match="expected floating-point"):
        dncnn.read(tensors | {"model.2.bias": np.zeros(4, np.int64)})
    with pytest.raises(BadInputError, match=r"model\.2\.bias"):
        dncnn.read(tensors | {"model.2.bias": np.full(4, np.nan, np.float32)})
