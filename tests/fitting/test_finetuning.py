"""Fine-tuning: it learns, prices spikes as equation 19 says, and goes on to the bit after any interruption."""

import dataclasses

import numpy as np
import pytest

import nspike
from nspike.errors import BadInputError, ModelError, OutputError, PluginError, UsageError
from nspike.fitting import state
from nspike.fitting.finetuning import FineTuning, FineTuningOptions, energy_weight
from tests.tiny import tiny_model

OPTIONS = FineTuningOptions(steps=6, rate=2e-3, neuron_rate=5e-3, k=0.01)


def batches(number):
    """Smooth images with noise of σ = 25."""
    draw = np.random.default_rng([3, number])
    y, x = np.mgrid[:16, :16] / 16
    slopes = draw.uniform(-0.5, 0.5, (3, 2, 1, 1, 1))
    clean = 0.5 + slopes[:, 0] * (x - 0.5) + slopes[:, 1] * (y - 0.5)
    return (clean + draw.normal(0, 25 / 255, clean.shape)).astype(np.float32), clean.astype(np.float32)


def values(run):
    return {name: tensor.data.copy() for name, tensor in run.parameters.items()}


def same(first, second):
    """To the bit: parameters, the optimiser's state and the history but for its seconds."""
    for name, value in values(first).items():
        np.testing.assert_array_equal(value, second.parameters[name].data, err_msg=name)
    for name, value in first.optimiser.state_dict().items():
        np.testing.assert_array_equal(value, second.optimiser.state_dict()[name])
    histories = [[dataclasses.replace(r, seconds=0) for r in run.history] for run in (first, second)]
    assert repr(histories[0]) == repr(histories[1])


def test_it_learns(tmp_path):
    model = tiny_model(neuron="mprn", head="cpm", timesteps=4)
    run = FineTuning(model, FineTuningOptions(steps=30, rate=1e-2, neuron_rate=3e-3), batches)
    seen = []
    tuned = run.run(progress=lambda record, total: seen.append((record.step, total)))
    assert seen == [(i + 1, 30) for i in range(30)]
    losses = [record.loss for record in run.history]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    nspike.save(tmp_path / "tuned.h5", tuned)
    noisy = np.rint(np.clip(batches(99)[0][0, 0], 0, 1) * 255).astype(np.uint8)
    kept = nspike.load(tmp_path / "tuned.h5")
    np.testing.assert_array_equal(kept.run(noisy).image, tuned.run(noisy).image)


def test_pricing_spikes_makes_them_fewer():
    rates = {}
    for k in (0.0, 3.0):
        run = FineTuning(
            tiny_model(neuron="mprn", timesteps=4),
            FineTuningOptions(steps=25, rate=3e-3, neuron_rate=3e-2, k=k),
            batches,
        )
        run.run()
        rates[k] = run.history[-1].energy
    assert rates[3.0] < 0.8 * rates[0.0]


def test_batch_norm_over_time_resumes_and_leaves_no_trace(tmp_path):
    options = dataclasses.replace(OPTIONS, batch_norm=True, rate=1e-3)
    straight = FineTuning(tiny_model(neuron="mprn", timesteps=3), options, batches)
    straight.run()
    names = {name.rpartition(".")[2] for name in straight.parameters}
    assert {"norm_gain", "norm_shift", "norm_mean", "norm_variance"} <= names
    file = tmp_path / "run.npz"
    first = FineTuning(tiny_model(neuron="mprn", timesteps=3), options, batches, state=file)
    for _ in range(3):
        first.step()
    first.save()
    second = FineTuning(tiny_model(neuron="mprn", timesteps=3), options, batches, state=file)
    assert second.done == 3
    second.run()
    same(straight, second)
    nspike.save(tmp_path / "tuned.h5", second.model)
    kept = nspike.load(tmp_path / "tuned.h5")
    assert kept.network == tiny_model().network
    plain = FineTuning(tiny_model(neuron="mprn", timesteps=3), dataclasses.replace(options, batch_norm=False), batches)
    assert plain.step().loss == pytest.approx(straight.history[0].loss, rel=1e-2), "the start is the same network"


def test_equation_19():
    assert energy_weight(0, 50, 0.1) == 0
    assert energy_weight(25, 50, 0.1) == pytest.approx(0.05)
    assert energy_weight(50, 50, 0.1) == pytest.approx(0.1)
    run = FineTuning(tiny_model(timesteps=3), OPTIONS, batches)
    records = [run.step() for _ in range(3)]
    for number, record in enumerate(records):
        assert record.energy_weight == energy_weight(number, 6, 0.01)
        assert record.loss == pytest.approx(record.pixel + record.energy_weight * record.energy)
        assert 0 < record.energy < 1


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_a_resumed_run_gives_the_same_bits(tmp_path, optimiser):
    options = dataclasses.replace(OPTIONS, optimiser=optimiser, rate=1e-3)
    straight = FineTuning(tiny_model(neuron="mprn_beta", head="cpm", timesteps=3), options, batches)
    straight.run()
    file = tmp_path / "run.npz"
    for _ in range(3):  # as if the process had been killed after each save
        run = FineTuning(tiny_model(neuron="mprn_beta", head="cpm", timesteps=3), options, batches, state=file)
        run.step()
        run.step()
        run.save()
    assert run.done == 6
    same(straight, run)


@pytest.mark.parametrize("where", ["batch", "update"])
def test_an_interrupted_run_is_saved_as_of_its_last_step(tmp_path, monkeypatch, where):
    straight = FineTuning(tiny_model(timesteps=3), OPTIONS, batches)
    straight.run()
    file = tmp_path / "run.npz"

    def interrupted(number):
        if number == 4 and where == "batch":
            raise KeyboardInterrupt
        return batches(number)

    run = FineTuning(tiny_model(timesteps=3), OPTIONS, interrupted, state=file)
    if where == "update":
        moved = run.optimiser._moved

        def half(name, *rest):
            if run.done == 4 and name == list(run.parameters)[3]:
                raise KeyboardInterrupt
            return moved(name, *rest)

        monkeypatch.setattr(run.optimiser, "_moved", half)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    resumed = FineTuning(tiny_model(timesteps=3), OPTIONS, batches, state=file)
    assert resumed.done == 4
    resumed.run()
    same(straight, resumed)


def test_a_diverging_run_stops_and_keeps_the_last_good_state(tmp_path):
    file = tmp_path / "run.npz"

    def worse(number):
        degraded, clean = batches(number)
        return degraded, clean * np.float32(np.inf if number == 3 else 1)

    run = FineTuning(tiny_model(timesteps=3), OPTIONS, worse, state=file)
    run.step()
    run.step()
    run.save()
    before = file.read_bytes()
    with pytest.raises(ModelError, match=r"diverged at step 4: the loss mse is inf; the last state stays in .*run.npz"):
        run.run()
    assert file.read_bytes() == before
    assert run.done == 3
    big = FineTuning(tiny_model(timesteps=3), OPTIONS, lambda n: (batches(n)[0], batches(n)[1] + np.float32(100 * n)))
    with pytest.raises(ModelError, match="diverged at step 2"):
        big.run()


def test_a_full_disk_leaves_the_old_state(tmp_path, monkeypatch):
    file = tmp_path / "run.npz"
    run = FineTuning(tiny_model(timesteps=3), OPTIONS, batches, state=file)
    run.step()
    run.save()
    before = file.read_bytes()

    def full(*_, **__):
        raise OutputError("cannot write run.npz: No space left on device")

    monkeypatch.setattr(state, "write_bytes", full)
    run.step()
    with pytest.raises(OutputError, match="No space left"):
        run.save()
    assert file.read_bytes() == before


def test_states_of_something_else_are_refused(tmp_path):
    file = tmp_path / "run.npz"
    run = FineTuning(tiny_model(timesteps=3), OPTIONS, batches, state=file)
    run.step()
    run.save()
    with pytest.raises(UsageError, match=r"another recipe \(rate\)"):
        FineTuning(tiny_model(timesteps=3), dataclasses.replace(OPTIONS, rate=1.0), batches, state=file)
    with pytest.raises(UsageError, match="another model"):
        FineTuning(tiny_model(neuron="if", timesteps=3), OPTIONS, batches, state=file)
    whole = file.read_bytes()
    for damaged in (b"", b"not a zip", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(BadInputError, match="cannot be read as a training state"):
            FineTuning(tiny_model(timesteps=3), OPTIONS, batches, state=file)


def test_recipes():
    assert FineTuningOptions.from_dict({"steps": 3, "pixel": "l1"}) == FineTuningOptions(steps=3, pixel="l1")
    with pytest.raises(UsageError, match=r"unknown key 'step'. Did you mean 'steps'"):
        FineTuningOptions.from_dict({"step": 3})
    for wrong in (
        {"optimiser": "adamm"},
        {"schedule": "line"},
        {"per": "pixel"},
        {"steps": -1},
        {"rate": -1.0},
        {"k": -1.0},
    ):
        with pytest.raises(UsageError):
            FineTuningOptions.from_dict(wrong)
    with pytest.raises(PluginError, match="there is no loss 'mes'"):
        FineTuning(tiny_model(), FineTuningOptions(pixel="mes"), batches)


def test_which_parameters_are_slow():
    """Kernels, biases and the head move by `rate`, thresholds and what neurons train by `neuron_rate`; kernels decay."""
    options = FineTuningOptions(rate=1e-3, neuron_rate=5e-3)
    run = FineTuning(tiny_model(neuron="mprn_beta", head="cpm"), options, batches)
    slow = {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "conv3.weight", "conv3.bias"}
    slow |= {"head.weight", "head.bias"}
    fast = {"relu1.threshold", "relu1.beta", "relu2.threshold", "relu2.beta", "output.threshold"}
    assert run.optimiser.rates == pytest.approx(dict.fromkeys(slow, 1.0) | dict.fromkeys(fast, 5.0))
    assert run.optimiser.decays == {"conv1.weight", "conv2.weight", "conv3.weight"}


def test_a_layer_called_head_is_trained_beside_the_head():
    """It has the names that EDSR and DRUNet have; under any other it comes out the same."""
    model = tiny_model(neuron="mprn", head="cpm")
    layers = [
        dataclasses.replace(layer, name="head") if layer.name == "conv1" else layer for layer in model.network.layers
    ]
    layers[1] = dataclasses.replace(layers[1], source="head")
    parameters = {name.replace("conv1", "head"): array for name, array in model.parameters.items()}
    network = dataclasses.replace(model.network, layers=tuple(layers))
    renamed = dataclasses.replace(model, network=network, parameters=parameters)
    run, other = (FineTuning(each, OPTIONS, batches) for each in (renamed, model))
    assert {"head.weight", "head.bias", "head_.weight", "head_.bias"} <= set(run.parameters)
    assert len(run.parameters) == len(other.parameters)
    assert run.optimiser.rates["head_.weight"] == 1.0
    assert "head_.weight" not in run.optimiser.decays
    assert "head.weight" in run.optimiser.decays
    first, second = run.run(), other.run()
    assert not np.array_equal(first.spiking.weights["head"], model.parameters["conv1.weight"])
    for name, array in second.spiking.weights.items():
        np.testing.assert_array_equal(first.spiking.weights[name.replace("conv1", "head")], array)
    for name, array in second.spiking.head_parameters["cpm"].items():
        np.testing.assert_array_equal(first.spiking.head_parameters["cpm"][name], array)


def test_a_record_is_saved_with_the_parameters_that_it_made(tmp_path, monkeypatch):
    """Interrupted after a step is in the history, before its parameters are known to be whole."""
    straight = FineTuning(tiny_model(timesteps=3), OPTIONS, batches)
    straight.run()
    file = tmp_path / "run.npz"
    run = FineTuning(tiny_model(timesteps=3), OPTIONS, batches, state=file)
    real = run._now

    def interrupted():
        if run.done == 3:
            raise KeyboardInterrupt
        return real()

    monkeypatch.setattr(run, "_now", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    resumed = FineTuning(tiny_model(timesteps=3), OPTIONS, batches, state=file)
    assert resumed.done == 2
    resumed.run()
    same(straight, resumed)


def test_of_equal_validations_the_first_is_the_best():
    run = FineTuning(tiny_model(timesteps=3), OPTIONS, batches)
    before = values(run)
    psnr = {0: 30.0, 2: 30.0, 4: 29.0, 6: 30.0}
    best = run.run(validate=lambda model, step: state.Validation(step, psnr[step], 20.0), every=2)
    assert run.best.step == 0
    assert not np.array_equal(run.parameters["conv1.weight"].data, before["conv1.weight"])
    np.testing.assert_array_equal(best.spiking.weights["conv1"], before["conv1.weight"])


def test_a_loss_of_every_step():
    """TET lowers the loss of every step; heads that fire and gradients of rates are refused before anything runs."""
    options = FineTuningOptions(steps=6, rate=3e-3, pixel={"tet": {"loss": "l1", "lambda": 0.01, "phi": 0.5}})
    run = FineTuning(tiny_model(timesteps=3), options, lambda number: batches(0))
    run.run()
    assert run.history[-1].loss < run.history[0].loss
    seen = run.forward(0)
    assert seen.steps.shape == (3, *seen.output.shape)
    assert run.pixels[0].options == {"loss": "l1", "lambda": 0.01, "phi": 0.5}
    with pytest.raises(UsageError, match=r"tet needs the steps: head cpm .* gives no image at each step; take a head"):
        FineTuning(nspike.swap(tiny_model(), head="cpm")[0], options, batches)
    with pytest.raises(UsageError, match="gradient 'rate' gives no image at each step"):
        FineTuning(tiny_model(), FineTuningOptions(pixel="tet", gradient="rate"), batches)
    with pytest.raises(UsageError, match=r"hkd needs the teacher: the recipe names no teacher: give a \[teacher\]"):
        FineTuning(tiny_model(), FineTuningOptions(pixel="hkd"), batches)
