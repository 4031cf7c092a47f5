"""Training of plain networks: it learns with every activation, ceilings too, and goes on to the bit."""

import dataclasses

import numpy as np
import pytest

from nspike.ann import run as ann
from nspike.errors import UsageError
from nspike.fitting.training import Training, TrainingOptions
from nspike.graph.mode import restored
from tests.fitting.test_finetuning import batches, same
from tests.tiny import tiny_model

OPTIONS = TrainingOptions(steps=6, rate=3e-3)


@pytest.mark.parametrize("activation", ["relu", "clipped", "qcfs"])
def test_it_learns(activation):
    run = Training(
        tiny_model(), TrainingOptions(steps=60, rate=1e-2, activation=activation, ceiling_rate=1e-2), batches
    )
    before = {name: tensor.data.copy() for name, tensor in run.parameters.items()}
    model = run.run()
    losses = [record.loss for record in run.history]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    changed = [name for name, value in before.items() if not np.array_equal(value, run.parameters[name].data)]
    assert sorted(changed) == sorted(before), "everything is trained, ceilings too"
    degraded, clean = batches(99)
    trained = restored(model.network.mode, degraded, ann.run(model.network, model.parameters, degraded))
    assert np.mean((trained - clean) ** 2) < 0.7 * np.mean((degraded - clean) ** 2)
    levels = {layer.levels for layer in model.network.activations}
    assert levels == ({8} if activation == "qcfs" else {None})


@pytest.mark.parametrize(("activation", "overshoot"), [("relu", 0.0), ("qcfs", 0.0), ("qcfs", 0.4)])
def test_a_resumed_run_gives_the_same_bits(tmp_path, activation, overshoot):
    recipe = dataclasses.replace(OPTIONS, activation=activation, overshoot=overshoot)
    straight = Training(tiny_model(), recipe, batches)
    straight.run()
    for _ in range(3):
        run = Training(tiny_model(), recipe, batches, state=tmp_path / "run.npz")
        run.step()
        run.step()
        run.save()
    same(straight, run)
    with pytest.raises(UsageError, match=r"another recipe \(activation"):
        Training(
            tiny_model(),
            dataclasses.replace(recipe, activation="clipped", overshoot=0.0),
            batches,
            state=tmp_path / "run.npz",
        )


def test_overshoot_disturbs_training_alone():
    given = [
        Training(tiny_model(), TrainingOptions(activation="qcfs", overshoot=overshoot), batches)
        for overshoot in (0.0, 0.4)
    ]
    plain, disturbed = ([run.forward(n).output.data for n in (0, 0, 1)] for run in given)
    np.testing.assert_array_equal(disturbed[0], disturbed[1])
    assert np.abs(disturbed[0] - plain[0]).max() > 1e-3
    settled = [run.network.run(batches(0)[0]).data for run in given]
    np.testing.assert_array_equal(*settled)
    np.testing.assert_array_equal(settled[0], plain[0])


def test_recipes():
    for wrong, said in (
        ({"activation": "qfcs"}, "Did you mean 'qcfs'"),
        ({"levels": 0}, "levels of 1 or more"),
        ({"per": "pixel"}, "per layer or channel"),
        ({"percentile": 10}, "percentile from 50"),
        ({"activation": "qcfs", "overshoot": -1}, "overshoot is a number of levels from 0"),
        ({"activation": "clipped", "overshoot": 0.3}, "of the activation qcfs alone"),
        ({"floor": -1}, "no negative numbers"),
    ):
        with pytest.raises(UsageError, match=said):
            TrainingOptions.from_dict(wrong)
