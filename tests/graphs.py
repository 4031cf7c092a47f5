"""Random networks and models, and a comparison of the engine with `tests.naive` in everything that it returns."""

import hashlib
from dataclasses import replace

import numpy as np

from nspike.engine import run as engine
from nspike.engine.program import build as build_program
from nspike.graph.layer import IMAGE, Activation, Concat, Conv, Gate
from nspike.graph.network import Network
from nspike.integer.rounding import build
from nspike.model.model import OUTPUT, Info, Model, Spiking
from nspike.registry.plugins import registry
from tests import naive
from tests.random_graphs import image_shape, random_graph, tie


def chain(*widths, channels=1, kernels=(3,), bias=True, mode="subtract"):
    """Convolutions with activations of these widths between; kernels are used in turn."""
    layers, source, read = [], IMAGE, channels
    for i, width in enumerate((*widths, channels)):
        layers.append(Conv(f"conv{i}", source, read, width, kernels[i % len(kernels)], bias))
        layers.append(Activation(f"act{i}", f"conv{i}", width))
        source, read = f"act{i}", width
    return Network("chain", channels, tuple(layers[:-1]), layers[-2].name, mode)


def branched(a, b, c, channels=1, kernels=(1, 3, 5, 3), gate=False):
    """Two layers, a third that reads both, and an output that reads (b, a, c), through a gate if wanted."""
    k = kernels
    layers = [
        Conv("conv_a", IMAGE, channels, a, k[0]),
        Activation("a", "conv_a", a),
        Conv("conv_b", "a", a, b, k[1]),
        Activation("b", "conv_b", b),
        Concat("ab", ("a", "b")),
        Conv("conv_c", "ab", a + b, c, k[2]),
        Activation("c", "conv_c", c),
        Concat("bac", ("b", "a", "c")),
        Conv("conv_d", "bac", a + b + c, channels, k[3]),
    ]
    if gate:
        layers += [Activation("d", "conv_d", channels), Gate("gate", "d", channels)]
    return Network("branched", channels, tuple(layers), layers[-1].name, "image")


def random_model(network, seed=0, *, timesteps=4, level=0.3, theta=True, neuron_parameters=None, head_parameters=None):
    """Parameters around which layers fire about as often as `level` says: below 0 silent, above 1 saturated."""
    draw = np.random.default_rng(seed)
    parameters = {}
    for conv in network.convs:
        if conv.tied is not None:
            continue
        spread = 1.5 / np.sqrt(np.prod(conv.kernel_shape[1:]))
        parameters[f"{conv.name}.weight"] = draw.normal(0, spread, conv.kernel_shape).astype(np.float32)
        if conv.bias:
            parameters[f"{conv.name}.bias"] = draw.normal(level, 0.2, conv.out_channels).astype(np.float32)
    widths = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    low, high = (0.6, 1.6) if theta else (1.0, 1.0)
    scales = {name: draw.uniform(0.7, 1.4, n) for name, n in widths.items()}
    tie(network, scales)
    spiking = Spiking(
        neuron="if",
        head="membrane",
        timesteps=timesteps,
        scales=scales,
        thresholds={name: draw.uniform(low, high, n) for name, n in widths.items()},
        neuron_parameters=neuron_parameters or {},
        head_parameters=head_parameters or {},
    )
    return Model(Info("test", "denoise", "gray"), network, parameters, spiking)


def random_case(seed):
    """A random network as a model, an image for it, a neuron's name and a head's."""
    draw, network = np.random.default_rng([seed, 13]), random_graph(seed)
    gated = bool(network.of_kind(Gate))
    neuron = str(draw.choice(list(naive.NEURONS)))
    head, c = str(draw.choice(list(naive.HEADS))), network.channels
    given = {"mprn_beta": {"beta": 1.0 if gated else 1.3, "alpha": 0.8}, "mprn": {"beta": -0.7}}.get(neuron, {})
    first, low = ("round", 0.0) if neuron == "few_spikes" else ("v_init", -0.2)
    own = {neuron: {a.name: given | {first: float(draw.uniform(low, 0.5))} for a in network.activations}}
    heads = {
        "cpm": {"weight": draw.normal(size=(c, c, 3, 3)), "bias": draw.normal(size=c)},
        "recycling": {"weight": draw.normal(size=(c, c, 1, 1))},
    }
    options = {"timesteps": int(draw.integers(2, 6)), "neuron_parameters": own, "head_parameters": heads}
    model = random_model(network, seed, level=0.7, **options)
    if draw.random() < 0.3:
        model = trained(model, draw)
    return (
        model,
        image(seed, *image_shape(network, seed), dtype=draw.choice([np.uint8, np.uint16, np.int32])),
        neuron,
        head,
    )


def trained(model, draw):
    """The same with kernels and biases of its own for some convolutions, as training leaves them."""
    weights, biases = {}, {}
    for conv in model.network.convs:
        if draw.random() < 0.5:
            spread = 1.5 / np.sqrt(np.prod(conv.kernel_shape[1:]))
            weights[conv.name] = draw.normal(0, spread, conv.kernel_shape).astype(np.float32)
            biases[conv.name] = draw.normal(0.4, 0.2, conv.out_channels).astype(np.float32)
    return model.with_spiking(replace(model.spiking, weights=weights, biases=biases))


def image(seed, *shape, dtype=np.uint8):
    draw = np.random.default_rng(seed)
    if dtype == np.int32:  # noisy benchmark inputs lie outside [0, 1]
        return draw.integers(-4 * 65535, 4 * 65535, shape, dtype=np.int32, endpoint=True)
    return draw.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def run(model, pixels, neuron="if", head="membrane", **options):
    """The engine's output float64 (N, C, H, W), ledger, and spikes per layer bool (N, steps, channels, H, W)."""
    neuron = registry().neurons[neuron] if isinstance(neuron, str) else neuron
    head = registry().heads[head] if isinstance(head, str) else head
    shapes = model.network.shapes(*pixels.shape[-2:])
    output = np.full((len(pixels), *shapes[model.network.output]), np.nan)
    spikes = {}

    def sink(part):
        np.testing.assert_array_equal(part.plane, naive.to_plane(pixels)[part.n, :, *part.core.slices])
        window = (part.n, slice(None), *part.core.scaled(part.scale).slices)
        assert np.isnan(output[window]).all(), "a tile was handed out twice"
        output[window] = part.output

    def observer(seen):
        dense = seen.dense()
        steps, channels = dense.shape[:2]
        size = shapes[model.network.output if seen.layer == OUTPUT else seen.layer][1:]
        whole = spikes.setdefault(seen.layer, np.zeros((len(pixels), steps, channels, *size), bool))
        whole[seen.n, :, :, *seen.core.slices] = dense

    options = {"digest": True, "observer": observer} | options
    ledger = engine.run(build_program(model, neuron, head), pixels, sink=sink, **options)
    return output, ledger, spikes


def agree(model, pixels, neuron="if", head="membrane", slow=None, **options):
    """Run the engine and `tests.naive` and compare spikes, output, ledger and digests. `slow`: what this function returned.

    Returns naive's run, so that other options need not run it again.
    """
    kind = (naive.NEURONS | naive.KERNELS)[neuron] if isinstance(neuron, str) else neuron.naive
    fast_neuron = neuron if isinstance(neuron, str) else neuron.fast
    if slow is None:
        slow = naive.run(model, pixels, kind, head)
        slow.ledger = naive.ledger(model, slow, kind, head)
        compare_integers(model, fast_neuron, head, slow)
    output, ledger, spikes = run(model, pixels, fast_neuron, head, **options)
    assert list(spikes) == list(slow.spikes)
    for name, expected in slow.spikes.items():
        np.testing.assert_array_equal(spikes[name], expected, err_msg=name)
    np.testing.assert_array_equal(output, slow.output)
    compare_ledger(ledger, slow.ledger)
    assert ledger.plane_digest == hashlib.sha256(naive.to_plane(pixels).astype("<i4").tobytes()).hexdigest()
    return slow


def compare_integers(model, neuron, head, slow):
    neuron = registry().neurons[neuron] if isinstance(neuron, str) else neuron
    integers = build(model, neuron, registry().heads[head])
    assert [stage.name for stage in integers.stages] == list(slow.grids)
    for stage in integers.stages:
        expected = slow.grids[stage.name]
        compare_grid(
            stage.name, stage.integer.exponent, stage.integer.weights, stage.integer.bias, stage.gate, expected
        )
        np.testing.assert_array_equal(stage.integer.theta, expected.theta.ravel())
    assert [writer.name for writer in integers.writers] == list(slow.writers)
    for w in integers.writers:
        compare_grid(w.name, w.exponent, w.weights, w.bias, w.gate, slow.writers[w.name])


def compare_grid(name, exponent, weights, bias, gate, expected):
    assert exponent.tolist() == expected.exponent, name
    np.testing.assert_array_equal(bias, expected.bias.ravel(), err_msg=name)
    if expected.gate is not None:
        np.testing.assert_array_equal(gate, expected.gate, err_msg=name)
        return
    for phase in range(len(expected.weights)):  # one kernel may serve both phases
        kept = weights[min(phase, len(weights) - 1)]
        np.testing.assert_array_equal(kept, expected.weights[phase], err_msg=name)


def compare_ledger(ledger, expected):
    total = expected[None]
    assert {key: getattr(ledger, key) for key in total} == total
    assert [layer.name for layer in ledger.layers] == [name for name in expected if name is not None]
    for layer in ledger.layers:
        found = {key: getattr(layer, key) for key in expected[layer.name]}
        found = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in found.items()}
        assert found == expected[layer.name], layer.name
