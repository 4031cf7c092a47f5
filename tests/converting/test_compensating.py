from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.ann import run as ann
from nspike.converting import compensating
from nspike.converting.compensating import compensate
from nspike.integer import rounding
from nspike.integer.grid import SPIKE_LIMIT
from nspike.integer.normalise import normalised_conv
from nspike.registry.plugins import registry
from tests.small_models import small_ann


def converted():
    model = small_ann()
    draw = np.random.default_rng(0)
    images = [draw.uniform(size=(model.network.channels, 24, 24)).astype(np.float32) for _ in range(6)]
    made, _ = nspike.convert(model, images, converter="few_spikes", neuron="few_spikes", report=False, fast=True)
    return made, images


def activations_of(model, images):
    def activations():
        for image in images:
            yield from ann.activations(model.network, model.parameters, [image])

    return activations


def parts():
    return registry().neurons["few_spikes"], registry().heads["membrane"]


def test_kernels_lie_on_their_grids_and_outputs_come_nearer():
    model, images = converted()
    neuron, head = parts()
    made = compensate(model, neuron, head, activations_of(model, images))
    integers = rounding.build(model, neuron, head)
    readers = compensating._readers(model, integers)
    assert {reader.conv.name for reader in readers} == set(made.spiking.weights) == set(made.spiking.biases)
    for reader in readers:
        name = reader.conv.name
        kernel, _ = normalised_conv(model.network, model.parameters, model.spiking, name)
        exponent = integers.exponents[name]
        whole = np.ldexp(made.spiking.weights[name].astype(np.float64), exponent[:, None, None, None])
        np.testing.assert_array_equal(whole, np.rint(whole))
        assert np.abs(whole).max() <= SPIKE_LIMIT // 32
        seen = compensating._Moments(int(np.prod(kernel.shape[1:])))
        for values in activations_of(model, images)():
            seen.add(reader, values)
        mean = seen.sum / seen.count
        covariance = seen.products / seen.count - np.outer(mean, mean)

        def error(of, kernel=kernel, covariance=covariance):
            lost = (kernel - of).reshape(len(kernel), -1)
            return np.einsum("ci,ij,cj->", lost, covariance, lost)

        nearest = np.ldexp(np.rint(np.ldexp(kernel, exponent[:, None, None, None])), -exponent[:, None, None, None])
        assert error(made.spiking.weights[name]) < 0.9 * error(nearest)


def test_the_bias_keeps_the_mean_of_the_sum():
    draw = np.random.default_rng(1)
    kernel, bias, exponent = draw.normal(size=(4, 3, 3, 3)), draw.normal(size=4), np.full(4, 3)
    seen = compensating._Moments(27)
    x = draw.uniform(0, 31, (27, 500))
    seen.count, seen.sum, seen.products = 500, x.sum(axis=1), (x @ x.T).astype(np.float32)
    rounded, moved = compensating._rounded(kernel, bias, exponent, 127, seen)
    before = kernel.reshape(4, -1) @ x.mean(axis=1) + bias
    np.testing.assert_allclose(rounded.reshape(4, -1) @ x.mean(axis=1) + moved, before)
    seen.products = None  # too many weights: to the nearest, and the bias
    rounded, moved = compensating._rounded(kernel, bias, exponent, 127, seen)
    np.testing.assert_array_equal(rounded, np.rint(kernel * 8) / 8)
    np.testing.assert_allclose(rounded.reshape(4, -1) @ x.mean(axis=1) + moved, before)


def test_convert_does_so_where_layers_would_be_fitted(monkeypatch):
    calls = []
    monkeypatch.setattr("nspike.converting.conversion.compensate", lambda model, *rest: calls.append(1) or model)
    model, images = small_ann(), [np.random.default_rng(0).uniform(size=(1, 24, 24)).astype(np.float32)] * 3
    for fast, neuron in ((True, "few_spikes"), (False, "few_spikes"), (False, "if")):
        converter = "few_spikes" if neuron == "few_spikes" else "rueckauer"
        nspike.convert(model, images, converter=converter, neuron=neuron, fast=fast, report=False)
    assert calls == [1]


@pytest.mark.parametrize("grown", [True, False])
def test_grids_that_would_become_coarser_are_left(monkeypatch, grown):
    model, images = converted()
    neuron, head = parts()
    build, seen = rounding.build, []

    def built(*arguments):
        seen.append(build(*arguments))
        if len(seen) == 2 and grown:
            return replace(seen[1], exponents={name: k - 1 for name, k in seen[1].exponents.items()})
        return seen[-1]

    monkeypatch.setattr(rounding, "build", built)
    made = compensate(model, neuron, head, activations_of(model, images))
    assert (made is model) == grown
