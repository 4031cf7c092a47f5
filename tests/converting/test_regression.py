"""Kernels fitted to the rates before them: the least squares of a slow definition, and less error than before."""

import numpy as np
import pytest

from nspike.ann.run import run as ann_of
from nspike.converting import regression
from nspike.errors import ModelError, UsageError
from nspike.integer.normalise import normalised_conv
from nspike.model.model import Model
from nspike.trainable.plain import DifferentiableAnn
from tests.graphs import branched, chain, random_model, run

MPRN_BETA = {"beta": 1.3, "alpha": 0.8}


def planes(network, count=2, side=14, seed=3):
    draw = np.random.default_rng(seed)
    return draw.random((count, network.channels, side, side), dtype=np.float32)


def neighbourhoods(values, kernel):
    """(N·H·W, C·k·k), one pixel at a time."""
    count, channels, height, width = values.shape
    r = kernel // 2
    rows = []
    for n in range(count):
        for y in range(height):
            for x in range(width):
                row = np.zeros((channels, kernel, kernel))
                for dy in range(-r, r + 1):
                    for dx in range(-r, r + 1):
                        if 0 <= y + dy < height and 0 <= x + dx < width:
                            row[:, dy + r, dx + r] = values[n, :, y + dy, x + dx]
                rows.append(row.ravel())
    return np.array(rows)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_the_output_layer_is_the_ridge_regression_of_the_definition(bias, ridge):
    network = chain(4, bias=bias, mode="subtract")
    model = random_model(network, 5, level=0.5, neuron_parameters={"mprn_beta": {"act0": MPRN_BETA}})
    model = Model(model.info, network, model.parameters, _with_neuron(model.spiking, "mprn_beta"))
    degraded, clean = planes(network), planes(network, seed=4)
    degraded = (np.rint(degraded.astype(np.float64) * 65535) / 65535).astype(np.float32)
    fitted = regression.fit(model, degraded, clean, ridge=ridge)

    pixels = np.rint(degraded.astype(np.float64) * 65535).astype(np.int32)
    spikes = run(model, pixels, "mprn_beta")[2]["act0"].astype(float)
    worth = np.array([1.0] * model.spiking.timesteps + [MPRN_BETA["beta"]])
    rows = neighbourhoods(np.tensordot(worth, spikes, axes=(0, 1)) / model.spiking.timesteps, 3)
    wanted = ((degraded - clean) / model.spiking.scales["output"][0]).reshape(-1)
    start = normalised_conv(network, model.parameters, model.spiking, "conv1")[0].ravel()
    mean_in, mean_out = (rows.mean(0), wanted.mean()) if bias else (0.0, 0.0)
    penalty = ridge * np.mean((rows - mean_in) ** 2) + 1e-12
    a = np.concatenate([(rows - mean_in) / np.sqrt(len(rows)), np.sqrt(penalty) * np.eye(rows.shape[1])])
    b = np.concatenate([(wanted - mean_out) / np.sqrt(len(rows)), np.sqrt(penalty) * start])
    expected = np.linalg.lstsq(a, b, rcond=None)[0]
    np.testing.assert_allclose(fitted.spiking.weights["conv1"].ravel(), expected, rtol=2e-4, atol=2e-4)
    if bias:
        np.testing.assert_allclose(fitted.spiking.biases["conv1"], mean_out - mean_in @ expected, rtol=2e-4, atol=2e-4)
    else:
        assert not fitted.spiking.biases


def test_what_a_neuron_cannot_follow_pulls_nothing():
    """An inner layer by the definition, in turns: below 0 and above the highest rate, both idle."""
    network = chain(3, 4)
    model = random_model(network, 5, timesteps=5, level=0.5)
    model = Model(model.info, network, model.parameters, _with_neuron(model.spiking, "if"))
    model.spiking.scales["act1"][:] *= 0.5
    pixels = np.rint(planes(network).astype(np.float64) * 65535).astype(np.int32)
    degraded = (pixels / 65535).astype(np.float32)
    fitted = regression.fit(model, degraded, ridge=0.05)

    kernel, _ = normalised_conv(network, model.parameters, model.spiking, "conv1")
    values = {"act0": None}
    ann_of(network, model.parameters, degraded, capture=values)
    weight, bias = (model.parameters[f"conv1.{part}"] for part in ("weight", "bias"))
    wanted = (neighbourhoods(values["act0"], 3) @ weight.reshape(4, -1).T + bias) / model.spiking.scales["act1"]
    rows = neighbourhoods(run(model, pixels, "if")[2]["act0"].mean(axis=1), 3)
    start, most, count = kernel.reshape(4, -1).T, model.spiking.thresholds["act1"], np.sqrt(len(rows))
    centred = rows - rows.mean(0)
    penalty = 0.05 * np.mean(centred**2) + 1e-12
    a = np.concatenate([centred / count, np.sqrt(penalty) * np.eye(rows.shape[1])])

    def solved(target):
        b = np.concatenate([(target - target.mean(0)) / count, np.sqrt(penalty) * start])
        found = np.linalg.lstsq(a, b, rcond=None)[0]
        return found, target.mean(0) - rows.mean(0) @ found

    expected, offset = solved(wanted)
    for _ in range(regression.TURNS - 1):
        given = rows @ expected + offset
        high, low = (wanted > most) & (given > most), (wanted < 0) & (given < 0)
        expected, offset = solved(np.where(high | low, given, wanted))
    assert high.mean() > 0.03
    assert low.mean() > 0.03
    np.testing.assert_allclose(fitted.spiking.weights["conv1"].reshape(4, -1).T, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(fitted.spiking.biases["conv1"], offset, rtol=1e-3, atol=1e-3)


def _with_neuron(spiking, name):
    from dataclasses import replace

    return replace(spiking, neuron=name)


@pytest.mark.parametrize("network", [chain(6, 6, 6), branched(4, 5, 3, channels=3)], ids=["chain", "branched"])
def test_the_spiking_network_follows_its_ann_more_closely(network):
    from nspike.ann import run as ann

    model = random_model(network, 2, timesteps=6, level=0.4, theta=False)
    degraded = planes(network, 4, 24)
    seen = planes(network, 2, 24, seed=9)
    wanted = ann.run(network, model.parameters, seen)
    calls = []
    fitted = regression.fit(model, degraded, progress=lambda done, total: calls.append((done, total)))
    pixels = np.rint(seen.astype(np.float64) * 65535).astype(np.int32)
    before, after = (np.mean((run(each, pixels, "if")[0] - wanted) ** 2) for each in (model, fitted))
    assert after < 0.8 * before
    assert calls[-1] == (len(calls), len(calls))


def test_what_cannot_be_fitted():
    network = chain(4)
    model = random_model(network)
    degraded = planes(network)
    with pytest.raises(ModelError, match=r"nspike\.convert"):
        regression.fit(Model(model.info, network, model.parameters), degraded)
    with pytest.raises(UsageError, match="shape"):
        regression.fit(model, degraded, degraded[:1])
    with pytest.raises(UsageError, match="μ"):
        regression.fit(model, degraded, ridge=-1.0)


def test_an_overshoot_is_part_of_what_is_followed():
    """An ANN that expects every activation after the first to be larger: biases take that back from the fitted kernels."""
    network = chain(6, 6, bias=True)
    model = random_model(network, 5, level=0.5)
    given = planes(network)
    ceilings = {activation.name: np.array([1.0]) for activation in network.activations}
    ann = DifferentiableAnn(model, kind="qcfs", levels=4, ceilings=ceilings, overshoot=2.0)
    with pytest.raises(UsageError, match="trained with qcfs"):
        regression.fit(model, given, overshoot=2.0)
    levelled = ann.to_model().with_spiking(model.spiking)
    with_it, without = (regression.fit(levelled, given, overshoot=o) for o in (2.0, 0.0))
    output = ann.network.output
    last = ann.network.convs[-1].name
    assert last == output
    assert not np.allclose(with_it.spiking.biases[last], without.spiking.biases[last])
    values = ann.activations(given, seed=0)
    plain = ann.activations(given)
    first, second = (activation.name for activation in network.activations)
    np.testing.assert_array_equal(values[first], plain[first])
    assert values[second].mean() > plain[second].mean()
