"""Spiking networks trained from random kernels: they learn, run in the engine spike for spike, and go on to the bit."""

import numpy as np
import pytest

import nspike
from nspike.errors import UsageError
from nspike.fitting.direct import DirectOptions, DirectTraining, start
from nspike.fitting.recipe import DirectRecipe, recipe_of
from nspike.images.file import ImageData, write
from nspike.images.plane import to_plane
from nspike.model.model import Info
from nspike.registry.plugins import registry
from nspike.trainable.spiking import DifferentiableNetwork
from tests.cli.console import run as nspike_command
from tests.fitting.test_finetuning import batches as gray
from tests.fitting.test_finetuning import same
from tests.tiny import image
from tests.trainable.networks import shortcuts, unet
from tests.trainable.test_spiking import agrees_with_the_engine


def batches(number):
    return tuple(np.repeat(plane, 3, axis=1) for plane in gray(number))


def started(network=None, neuron="lif", threshold=1.0, timesteps=4, **parameters):
    given = {"tau": 2.0} if neuron.startswith("lif") else {}
    return start(
        network or shortcuts(), Info("mine", "denoise", "rgb"), registry().neurons[neuron], head="membrane",
        timesteps=timesteps, threshold=threshold, parameters={**given, **parameters}, seed=1,
    )  # fmt: skip


def training(begun, threshold=1.0, state=None, **options):
    options = {"steps": 10, "rate": 3e-3, **options}
    return DirectTraining(begun, DirectOptions(**options), batches, threshold=threshold, state=state)


def test_the_start():
    """λ = 1, thresholds as they are said, batch norm where the network declares it, at mean 0 and spread θ."""
    begun = started(threshold=0.5)
    declared = {conv.name: conv.batch_norm_eps is not None for conv in shortcuts().convs}
    assert set(begun.normed) == {name for name, normed in declared.items() if normed}
    spiking = begun.model.spiking
    assert all((scale == 1).all() for scale in spiking.scales.values())
    assert {float(theta.mean()) for name, theta in spiking.thresholds.items() if name != "output"} == {0.5}
    run = training(begun, threshold=0.5)
    outcome = run.network.run(to_plane(batches(0)[0]), taps=["latent_shuffle", "up_shuffle"])
    for feature in outcome.features.values():  # a mean over time: of the same mean, and of no more spread
        assert abs(feature.data.mean()) < 0.01
        assert 0.05 < feature.data.std() <= 0.51
    rates = [rate.item() for rate in outcome.rates.values()]
    assert 0.01 < min(rates) < max(rates) < 0.5
    assert set(started(unet(channels=3)).normed) == {"in", "down", "same", "up"}, (
        "where none is declared, of its own kernel"
    )


@pytest.mark.parametrize("neuron", ["lif", "lif_hard", "if"])
def test_it_learns_and_runs_in_the_engine(neuron):
    run = training(started(neuron=neuron), settle=0.3)
    run.run()
    losses = [record.loss for record in run.history]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    model, plane = run.model, to_plane(batches(99)[0])
    assert model.spiking.weights == {}
    assert model.spiking.biases == {}
    kinds = registry()
    parts = kinds.neurons[neuron], kinds.heads["membrane"]
    exported = agrees_with_the_engine(DifferentiableNetwork(model, *parts), plane)
    assert run.network.settled
    trained = run.network.run(plane)
    for name, train in trained.trains.items():
        np.testing.assert_array_equal(train.dense(), exported.trains[name].dense(), err_msg=name)
    np.testing.assert_array_equal(trained.restored.data, exported.restored.data)


def test_settling_is_a_share_of_the_steps():
    run = training(started(), steps=5, settle=0.4)
    settled = []
    while run.done < 5:
        before = run.parameters["enc_dw.norm_mean"].data
        run.step()
        settled.append(np.array_equal(before, run.parameters["enc_dw.norm_mean"].data))
    assert settled == [False, False, False, True, True]


def test_thresholds_stay_unless_they_are_to_move():
    for rate, moves in ((0.0, False), (1e-2, True)):
        run = training(started(), steps=2, neuron_rate=rate)
        before = run.parameters["enc_lif1.threshold"].data
        run.run()
        assert np.array_equal(before, run.parameters["enc_lif1.threshold"].data) != moves


def test_an_interrupted_run_goes_on(tmp_path):
    whole = training(started(), steps=6, settle=0.5)
    whole.run()
    first = training(started(), steps=6, settle=0.5, state=tmp_path / "a.state.npz")
    for _ in range(2):
        first.step()
    first.save()
    rest = training(started(), steps=6, settle=0.5, state=tmp_path / "a.state.npz")
    assert rest.done == 2
    rest.run()
    same(whole, rest)
    with pytest.raises(UsageError, match="another recipe \\(settle\\)"):
        training(started(), steps=6, settle=0.4, state=tmp_path / "a.state.npz")


PLUGIN = """from nspike import Activation, Architecture, Conv, Network, hookimpl


def make(options):
    layers = (
        Conv("first", "image", 1, 8, 3, False, 1e-5),
        Activation("a", "first", 8),
        Conv("second", "a", 8, 8, 3, False, 1e-5),
        Activation("b", "second", 8),
        Conv("last", "b", 8, 1, 3),
    )
    return Network("mine", 1, layers, "last", "add")


def read(tensors):
    raise NotImplementedError


@hookimpl
def register_networks(register):
    register(Architecture("mine", "three layers", "here", "denoise", "gray", read, make=make))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        write(tmp_path / "photos" / f"{i}.png", ImageData(image(32, 40, seed=i)))
    (tmp_path / "mine.py").write_text(PLUGIN)
    registry.cache_clear()
    yield tmp_path
    registry.cache_clear()


def test_from_the_shell_to_an_audited_image(folder, capsys):
    """No plain network comes before; the file runs, is audited and fine-tuned like any other."""
    out, photos = folder / "out.h5", folder / "photos"
    made = nspike_command(
        capsys, "train", "mine", "--spiking", "--plugin", folder / "mine.py", "-T", 3, "--data", photos, "--validation", photos,
        "--set", 'degradation={kind = "noise", sigma = 25}', "--steps", 4, "--batch", 2, "--patch", 16, "--name", "mine",
        "-o", out,
    )  # fmt: skip
    assert made.code == 0, made.err
    model = nspike.load(out)
    assert (model.spiking.neuron, model.spiking.head, model.spiking.timesteps) == ("lif", "membrane", 3)
    assert set(model.spiking.neuron_parameters["lif"]["a"].items()) >= {("tau", 2.0)}
    kept = model.info.provenance["direct_training"]
    assert (kept["network"], kept["pixel"], kept["optimiser"], kept["done"]) == ("mine", "l1_fft", "adamw", 4)
    assert model.info.degradation["sigma"] == 25
    audited = nspike_command(capsys, "audit", photos / "0.png", "--model", out, "--json", folder / "certificate.json")
    assert audited.code == 0, audited.err
    verified = nspike_command(
        capsys, "audit", photos / "0.png", "--model", out, "--verify", folder / "certificate.json"
    )
    assert verified.code == 0, verified.err


def test_from_a_recipe(folder):
    text = f'network = "mine"\nspiking = true\nplugins = ["mine.py"]\ntimesteps = 2\ndata = ["{folder / "photos"}"]\n'
    text += (
        'steps = 2\nbatch = 2\npatch = 16\nneuron = "if"\nthreshold = 0.5\n[degradation]\nkind = "noise"\nsigma = 25\n'
    )
    (folder / "direct.toml").write_text(text)
    first = nspike.train(folder / "direct.toml").model
    again = nspike.train(folder / "direct.toml").model
    assert first.spiking.timesteps == 2
    for name, array in first.parameters.items():
        np.testing.assert_array_equal(array, again.parameters[name])
    (folder / "tune.toml").write_text(
        f'model = "direct.toml"\ndata = ["{folder / "photos"}"]\nsteps = 1\nbatch = 1\npatch = 16\nk = 0.1\n'
    )
    provenance = nspike.finetune(folder / "tune.toml").model.info.provenance
    assert (provenance["fine_tuning"]["k"], provenance["direct_training"]["threshold"]) == (0.1, 0.5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"network": None}, "needs an architecture"),
        ({"model": "dncnn-s25"}, "and no model; a model is trained on by `nspike finetune`"),
        ({"timesteps": 0}, "timesteps of 1 or more"),
        ({"threshold": 0.0}, "a threshold above 0"),
        ({"settle": 1.5}, "settle = 1.5; expected a share of the steps"),
        ({"warmup": 1.0}, "warmup = 1.0; expected a share of the steps"),
        ({"activation": "qcfs"}, "unknown key 'activation'"),
        ({"neuron_parameter": {}}, "neuron_parameters"),
    ],
)
def test_recipes_that_are_refused(values, said):
    with pytest.raises(UsageError, match=said):
        DirectRecipe.of({"network": "unet", "data": "photos", **values})


def test_spiking_tells_the_recipes_apart():
    given = {"network": "unet", "data": "photos"}
    assert isinstance(recipe_of({**given, "spiking": True}), DirectRecipe)
    assert not isinstance(recipe_of({**given, "spiking": False}), DirectRecipe)
    with pytest.raises(UsageError, match="spiking = 'yes'; expected true or false"):
        nspike.train({**given, "spiking": "yes"})
