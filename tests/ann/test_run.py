import dataclasses

import numpy as np
import pytest
from nspike_plugins import aodnet, dncnn

from nspike.ann import run as ann
from nspike.errors import BadInputError, ModelError
from tests.plugins.chains import aod, chain
from tests.tiny import tiny_model


def convolve(x, weight, bias):
    """The definition, in float64: x (C, H, W)."""
    pad = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[-2:], axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, weight.astype(np.float64)) + bias[:, None, None]


def reference_chain(network, parameters, x):
    for conv in network.convs:
        bias = parameters[f"{conv.name}.bias"] if conv.bias else np.zeros(conv.out_channels)
        x = convolve(x, parameters[f"{conv.name}.weight"], bias)
        if conv.batch_norm_eps is not None:
            gamma, beta, mean, var = (
                parameters[f"{conv.name}.bn_{part}"].astype(np.float64)[:, None, None]
                for part in ("weight", "bias", "mean", "var")
            )
            x = (x - mean) / np.sqrt(var + conv.batch_norm_eps) * gamma + beta
        x = np.maximum(x, 0) if conv.name != network.output else x
    return x


def reference_aod(parameters, x):
    def layer(i, *sources):
        weight, bias = parameters[f"conv{i}.weight"], parameters[f"conv{i}.bias"]
        return np.maximum(convolve(np.concatenate(sources), weight, bias), 0)

    a = layer(1, x)
    b = layer(2, a)
    c = layer(3, a, b)
    d = layer(4, b, c)
    k = layer(5, a, b, c, d)
    return np.maximum(k * x - k + 1, 0)


@pytest.mark.parametrize(("channels", "width", "norm"), [(1, 40, ""), (3, 7, "torch"), (1, 20, "matconvnet")])
def test_a_chain_agrees_with_the_definition(channels, width, norm):
    network, parameters = dncnn.read(chain(4, width, channels, norm=norm))
    plane = np.random.default_rng(1).random((2, channels, 13, 19), dtype=np.float32)
    output = ann.run(network, parameters, plane)
    expected = np.stack([reference_chain(network, parameters, x) for x in plane.astype(np.float64)])
    np.testing.assert_allclose(output, expected, atol=2e-5)
    assert output.dtype == np.float32


def test_aodnet_agrees_with_the_definition():
    network, parameters = aodnet.read(aod())
    plane = np.random.default_rng(1).random((1, 3, 21, 34), dtype=np.float32)
    np.testing.assert_allclose(
        ann.run(network, parameters, plane)[0], reference_aod(parameters, plane[0].astype(np.float64)), atol=1e-5
    )


@pytest.mark.parametrize(("plugin", "tensors"), [(dncnn, chain(6, 12, 3)), (aodnet, aod())])
def test_neither_tiles_nor_threads_change_a_bit(plugin, tensors):
    network, parameters = plugin.read(tensors)
    plane = np.random.default_rng(2).random((1, 3, 60, 45), dtype=np.float32)
    seen = []
    whole = {network.activations[1].name: None}
    tiled = dict(whole)
    output = ann.run(network, parameters, plane, threads=1, capture=whole)
    again = ann.run(
        network,
        parameters,
        plane,
        threads=3,
        memory=1,
        capture=tiled,
        progress=lambda done, total: seen.append((done, total)),
    )
    np.testing.assert_array_equal(output, again)
    np.testing.assert_array_equal(whole["relu2"], tiled["relu2"])
    assert seen[-1] == (12, 12)


def test_activations_are_those_of_the_whole_image():
    network, parameters = aodnet.read(aod())
    image = np.random.default_rng(3).random((3, 20, 33), dtype=np.float32)
    captured = {a.name: None for a in network.activations}
    output = ann.run(network, parameters, image[None], capture=captured)
    tiles = list(ann.activations(network, parameters, [image], tile=20))
    assert len(tiles) == 2
    for name, values in (captured | {"output": output}).items():
        np.testing.assert_array_equal(np.concatenate([tile[name] for tile in tiles], axis=2), values[0])


def test_folding_batch_norm():
    network, parameters = dncnn.read(chain(5, 6, stem="dncnn", norm="torch", bias="ends"))
    folded, merged = ann.fold_batch_norm(network, parameters)
    assert all(conv.bias and conv.batch_norm_eps is None for conv in folded.convs)
    assert sorted(merged) == sorted(f"conv{i}.{part}" for i in range(1, 6) for part in ("weight", "bias"))
    x = np.random.default_rng(4).random((1, 9, 9))
    np.testing.assert_allclose(reference_chain(folded, merged, x), reference_chain(network, parameters, x), atol=1e-6)
    parameters["conv2.bn_var"][:] = -1
    with pytest.raises(ModelError, match="conv2"):
        ann.fold_batch_norm(network, parameters)


def test_what_does_not_fit():
    network, parameters = dncnn.read(chain(3, 4))
    with pytest.raises(BadInputError, match=r"takes \(N, 1, H, W\)"):
        ann.run(network, parameters, np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ModelError, match="capture"):
        ann.run(network, parameters, np.zeros((1, 1, 8, 8), np.float32), capture={"relu9": None})
    del parameters["conv2.bias"]
    with pytest.raises(ModelError, match="conv2"):
        ann.run(network, parameters, np.zeros((1, 1, 8, 8), np.float32))


@pytest.mark.parametrize("levels", [None, 3])
def test_ceilings(levels):
    """A network whose activations are clipped, or rounded to levels below a ceiling: whole and in tiles."""
    model = tiny_model()
    tops = {"relu1": tuple(np.linspace(0.2, 0.6, 8).tolist()), "relu2": (0.4,)}
    layers = tuple(
        dataclasses.replace(layer, ceiling=tops[layer.name], levels=levels) if layer.name in tops else layer
        for layer in model.network.layers
    )
    network = dataclasses.replace(model.network, layers=layers)
    plane = np.random.default_rng(0).random((1, 1, 40, 33)).astype(np.float32)
    captured = dict.fromkeys(tops)
    whole = ann.run(network, model.parameters, plane, capture=captured)
    plain = {"relu1": None}
    ann.run(model.network, model.parameters, plane, capture=plain)
    top = np.array(tops["relu1"], np.float32)[:, None, None]
    wanted = np.minimum(plain["relu1"], top)
    if levels:
        wanted = top * np.clip(np.floor(plain["relu1"] * 3 / top + 0.5), 0, 3) / 3
    np.testing.assert_allclose(captured["relu1"], wanted, atol=1e-6)
    assert captured["relu2"].max() == pytest.approx(0.4)
    np.testing.assert_array_equal(ann.run(network, model.parameters, plane, memory=1 << 14), whole)
