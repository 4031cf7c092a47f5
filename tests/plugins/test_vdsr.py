import pytest
from nspike_plugins import aodnet, dncnn, vdsr

from nspike.contracts.architecture import recognise
from nspike.errors import BadInputError
from tests.plugins.chains import aod, chain
from tests.plugins.chains import vdsr as published

ALL = [dncnn.ARCHITECTURE, vdsr.ARCHITECTURE, aodnet.ARCHITECTURE]


def test_published_names_and_parameter_count():
    network, parameters = vdsr.read(published(20, 64, stem="model."))
    assert sum(array.size for array in parameters.values()) == 664_704 == network.macs_per_pixel
    assert (network.mode, network.output, len(network.activations)) == ("add", "conv20", 19)
    assert not any(conv.bias for conv in network.convs)


def test_numbered_layers_with_biases():
    network, _ = vdsr.read(chain(20, 8, stem="net"))
    assert len(network.convs) == 20
    assert all(conv.bias for conv in network.convs)


def test_published_names_with_biases_and_a_missing_one():
    tensors = published(6, 4, bias=True)
    assert all(conv.bias for conv in vdsr.read(tensors)[0].convs)
    del tensors["residual_layer.2.conv.weight"], tensors["output.bias"]
    with pytest.raises(BadInputError, match=r"missing keys: residual_layer\.2\.conv\.weight, output\.bias"):
        vdsr.read(tensors)


def test_the_other_chain_is_refused():
    with pytest.raises(BadInputError, match=r"vdsr: the layers are named as dncnn's.*unknown keys: model\.0\.weight"):
        vdsr.read(chain(4, 4))
    with pytest.raises(BadInputError, match=r"dncnn: the layers are named as vdsr's.*unknown keys: net\.0\.weight"):
        dncnn.read(chain(4, 4, stem="net"))
    assert len(vdsr.read(chain(4, 4, stem="model.net"))[0].convs) == 4
    plain = {key.removeprefix("net."): array for key, array in chain(4, 4, stem="net").items()}
    assert len(dncnn.read(plain)[0].convs) == len(vdsr.read(plain)[0].convs) == 4


def test_architectures_are_told_apart():
    assert recognise(chain(6, 4, stem="net"), ALL).name == "vdsr"
    assert recognise(published(6, 4), ALL).name == "vdsr"
    assert recognise(chain(6, 4), ALL).name == "dncnn"
    assert recognise(chain(6, 4, stem="module.dncnn", norm="torch", bias="ends"), ALL).name == "dncnn"
    assert recognise(aod("e_conv"), ALL).name == "aodnet"
    with pytest.raises(BadInputError, match="dncnn, vdsr; say which"):
        recognise(chain(6, 4, stem="body"), ALL)
    with pytest.raises(BadInputError, match=r"(?s)no known network.*dncnn: .*vdsr: .*aodnet: "):
        recognise({"fc.weight": aod()["conv1.weight"]}, ALL)
