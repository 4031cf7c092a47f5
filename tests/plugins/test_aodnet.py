import pytest
from nspike_plugins import aodnet

from nspike.errors import BadInputError
from tests.plugins.chains import aod, chain


@pytest.mark.parametrize("stem", ["conv", "e_conv", "module.e_conv"])
def test_graph_and_parameter_count(stem):
    network, parameters = aodnet.read(aod(stem))
    assert sum(array.size for array in parameters.values()) == 1761
    assert network.macs_per_pixel == 1746
    assert (network.output, network.mode, network.rectify) == ("gate", "image", True)
    assert [a.name for a in network.activations_into("conv5")] == ["relu1", "relu2", "relu3", "relu4"]


def test_without_biases():
    network, parameters = aodnet.read(aod(bias=False))
    assert len(parameters) == 5
    assert not network.convs[0].bias


def test_missing_and_unknown_keys():
    tensors = aod()
    del tensors["conv3.bias"]
    with pytest.raises(BadInputError, match=r"aodnet: missing keys: conv3\.bias; unknown keys: conv9"):
        aodnet.read(tensors | {"conv9.weight": tensors["conv1.weight"]})
    with pytest.raises(BadInputError, match=r"missing keys: conv1\.weight.*unknown keys: model\.0"):
        aodnet.read(chain(3, 4))
