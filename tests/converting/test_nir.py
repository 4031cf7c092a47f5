"""NIR out: read back and simulated by a few lines of NumPy that know NIR alone, it fires the engine's spikes."""

import numpy as np
import pytest

import nspike
from nspike.converting.nir import export_nir
from nspike.graph.layer import IMAGE, Activation, Add, AveragePool, Conv, PixelShuffle
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Spiking
from nspike.restoration.method import Model
from tests.cli.console import run
from tests.plugins import test_lif
from tests.tiny import tiny_model

nir = pytest.importorskip("nir")

SIZE = (16, 24)


def shuffled():
    """Layers with a pool, and a pixel shuffle, which NIR does not know."""
    return (
        Conv("first", IMAGE, 1, 6, 3),
        Activation("relu1", "first", 6),
        Conv("branch", "relu1", 6, 6, 3, groups=6),
        Conv("other", "relu1", 6, 6, 1, False),
        Add("sum", ("branch", "other")),
        Activation("relu2", "sum", 6),
        Conv("wide", "relu2", 6, 6, 3, dilation=2),
        AveragePool("pool", "wide", 2),
        Activation("relu3", "pool", 6),
        Conv("back", "relu3", 6, 4, 3),
        Activation("relu4", "back", 4),
        Conv("up", "relu4", 4, 4, 1),
        PixelShuffle("shuffle", "up", 2),
    )


def model_of(layers, output, neuron="if", head="membrane", timesteps=5, v_init=0.0, **parameters):
    rng = np.random.default_rng(0)
    network = Network("net", 1, layers, output, "image")
    arrays = {}
    for conv in network.convs:
        arrays[f"{conv.name}.weight"] = rng.normal(0.05, 0.35, conv.kernel_shape).astype(np.float32)
        if conv.bias:
            arrays[f"{conv.name}.bias"] = rng.normal(0, 0.1, conv.out_channels).astype(np.float32)
    scales = {a.name: np.full(a.channels, 1.25) for a in network.activations} | {OUTPUT: np.ones(1)}
    own = {a.name: {"v_init": v_init, **parameters} for a in network.activations}
    thresholds = {name: np.ones(scale.size) for name, scale in scales.items()}
    spiking = Spiking(neuron, head, timesteps, scales, thresholds, {neuron: own})
    return Model(Info("net", "denoise", "gray"), network, arrays, spiking)


def chain():
    return (
        Conv("first", IMAGE, 1, 6, 3),
        Activation("relu1", "first", 6),
        Conv("branch", "relu1", 6, 6, 3, groups=6),
        Conv("other", "relu1", 6, 6, 1, False),
        Add("sum", ("branch", "other")),
        Activation("relu2", "sum", 6),
        Conv("wide", "relu2", 6, 6, 3, dilation=2),
        Activation("relu3", "wide", 6),
        Conv("last", "relu3", 6, 1, 5),
    )


def convolve(node, x):
    weight, (stride, _), (dilation, _) = node.weight.astype(np.float64), node.stride, node.dilation
    pad, groups, k = int(node.padding[0]), int(node.groups), weight.shape[-1]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    span = dilation * (k - 1)
    height, width = ((n - span - 1) // stride + 1 for n in x.shape[1:])
    out = np.zeros((weight.shape[0], height, width))
    for g in range(groups):
        rows = slice(g * weight.shape[0] // groups, (g + 1) * weight.shape[0] // groups)
        part = x[g * weight.shape[1] : (g + 1) * weight.shape[1]]
        for i in range(k):
            for j in range(k):
                top, left = i * dilation, j * dilation
                seen = part[:, top : top + stride * height : stride, left : left + stride * width : stride]
                out[rows] += np.tensordot(weight[rows, :, i, j], seen, 1)
    if "grid" in node.metadata:  # the image's current is rounded once
        grid = 2.0 ** np.asarray(node.metadata["grid"])[:, None, None]
        out = np.rint(out * grid) / grid
    return out + node.bias.astype(np.float64)[:, None, None]


def simulate(graph, image):
    """(node -> the spikes of each step, the output's sum over steps); neurons as NIR and the metadata say."""
    order, before = [], {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
    while len(order) < len(graph.nodes):
        order += [n for n in graph.nodes if n not in order and set(before[n]) <= set(order)]
    membranes, spikes, total = {}, {}, 0.0
    for _ in range(int(graph.metadata["timesteps"])):
        values = {}
        for name in order:
            node = graph.nodes[name]
            read = sum((values[source] for source in before[name]), 0.0)
            if isinstance(node, nir.Input):
                values[name] = image
            elif isinstance(node, nir.Conv2d):
                values[name] = convolve(node, read)
            elif isinstance(node, nir.IF | nir.LIF):
                start = np.asarray(node.metadata.get("v0", 0.0), np.float64).reshape(-1, 1, 1)
                v = membranes.get(name, np.zeros(node.r.shape) + start)
                tau = node.tau if isinstance(node, nir.LIF) else None
                v = v + node.r * read if tau is None else v + (node.r * read - v) / tau
                fired = v >= node.v_threshold
                membranes[name] = (
                    np.where(fired, 0, v) if node.metadata["reset"] == "zero" else v - node.v_threshold * fired
                )
                values[name] = fired.astype(np.float64)
                spikes.setdefault(name, []).append(fired)
            else:
                values[name] = read
        total = total + values["output"]
    return spikes, total


def engine_spikes(model, image, tmp_path):
    """(layer -> the spikes of each step) by the engine, on the image that the plane is."""
    path = write_image(tmp_path / "image.png", image)
    nspike.trace(model, path, tmp_path / "trace.h5")
    with nspike.read_trace(tmp_path / "trace.h5") as trace:
        return {name: np.asarray(trace.spikes(name)) for name in trace.layers}


def write_image(path, image):
    from nspike.images import file as images

    images.write(path, images.ImageData(image))
    return path


@pytest.mark.parametrize("v_init", [0.0, 0.5])
def test_spikes_are_the_engine_s(tmp_path, v_init):
    model = model_of(chain(), "last", v_init=v_init)
    pixels = np.random.default_rng(1).integers(0, 256, SIZE).astype(np.uint8)
    nodes = export_nir(model, tmp_path / "net.nir", *SIZE)
    assert nodes[0] == "input"
    assert "sum" not in nodes  # two edges into relu2
    graph = nir.read(tmp_path / "net.nir")
    spikes, _ = simulate(graph, pixels[None] / 255)
    recorded = engine_spikes(model, pixels, tmp_path)
    assert set(spikes) == {"relu1", "relu2", "relu3"}
    for name, steps in spikes.items():
        ours = recorded[name].reshape(np.shape(steps))
        assert np.array_equal(np.stack(steps), ours)
        assert 0.02 < ours.mean() < 0.9


def test_leak_and_hard_reset_are_numbers_of_lif(tmp_path):
    model = model_of(chain(), "last", neuron="lif_hard", tau=2.0, decay_input=1.0)
    export_nir(model, tmp_path / "net.nir", *SIZE)
    node = nir.read(tmp_path / "net.nir").nodes["relu1"]
    assert isinstance(node, nir.LIF)
    assert (np.unique(node.tau), np.unique(node.r), np.unique(node.v_leak)) == (2.0, 1.0, 0.0)
    assert (node.metadata["reset"], node.v_reset.any()) == ("zero", False)


@pytest.mark.parametrize("decay_input", [False, True])
def test_another_framework_runs_it_with_the_same_spikes(tmp_path, decay_input):
    """SpikingJelly's own import of NIR; its neurons reset to zero, so the model's do. All numbers are dyadic."""
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange", reason="SpikingJelly is not installed")
    import torch

    model = test_lif.model_of("lif_hard", decay_input, seed=1)
    pixels = 255 * np.random.default_rng(1).integers(0, 2, test_lif.SHAPE).astype(np.uint8)
    export_nir(model, tmp_path / "net.nir", *test_lif.SHAPE)
    net, spikes = exchange.import_from_nir(str(tmp_path / "net.nir"), dt=1.0, dtype=torch.float64), {}
    for name in ("a1", "a2"):
        kept = spikes.setdefault(name, [])
        getattr(net, name).register_forward_hook(lambda _, read, out, kept=kept: kept.append(out[0].detach().numpy()))
    state = None
    for _ in range(test_lif.T):
        _, state = net(torch.from_numpy(pixels[None, None] / 255.0), state)
    recorded = engine_spikes(model, pixels, tmp_path)
    for name, steps in spikes.items():
        ours = recorded[name].reshape(np.shape(steps))
        assert np.array_equal(np.stack(steps) > 0, ours)
        assert 0.02 < ours.mean() < 0.98


def test_what_nir_cannot_say_is_listed(tmp_path):
    model = tiny_model(head="cpm")
    with pytest.raises(nspike.ModelError) as caught:
        export_nir(model, tmp_path / "net.nir", *SIZE)
    assert "neuron mprn: it fires in 1 more step after T; --if" in str(caught.value)
    assert "head cpm: NIR ends in a current or in spikes" in str(caught.value)
    with pytest.raises(nspike.ModelError, match="layer 'shuffle': NIR has no PixelShuffle"):
        export_nir(model_of(shuffled(), "shuffle"), tmp_path / "net.nir", *SIZE)
    assert not (tmp_path / "net.nir").exists()


def test_sizes(tmp_path):
    with pytest.raises(nspike.UsageError, match="sizes that 2 divides, not 15×16"):
        export_nir(model_of(shuffled(), "shuffle"), tmp_path / "net.nir", 15, 16)


def test_export(capsys, tmp_path):
    nspike.save(tmp_path / "snn.h5", tiny_model(head="cpm"))
    target = tmp_path / "net.nir"
    outcome = run(capsys, "export", tmp_path / "snn.h5", "--format", "nir", "-o", target)
    assert outcome.code == 3
    outcome = run(capsys, "export", tmp_path / "snn.h5", "--format", "nir", "--if", "--size", 8, 12, "-o", target)
    assert outcome.code == 0
    assert "for images of 8×12" in outcome.out
    assert "neuron if instead of mprn" in outcome.out
    graph = nir.read(target)
    assert list(graph.nodes["input"].output_type["output"]) == [1, 8, 12]
