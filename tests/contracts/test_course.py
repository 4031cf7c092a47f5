"""The course of a neuron: what it answers at every step, silence, and what a spike is worth."""

import dataclasses

import numpy as np
import pytest

from nspike.contracts.course import course, worth
from nspike.contracts.neuron import NEVER, Neuron
from nspike.errors import PluginError

FALLING = Neuron(
    name="falling",
    summary="",
    source="",
    post_steps=2,
    initial=lambda values: 0.25,
    fire=lambda values, t, timesteps: 1.0 / t if t <= timesteps else NEVER,
    amplitude=lambda values, t, timesteps: 2.0 if t <= timesteps else 0.5,
)


def test_every_step_is_asked():
    of_steps = course(FALLING, {}, 3)
    np.testing.assert_array_equal(of_steps.fires, [1.0, 0.5, round(1 / 3, 12), NEVER, NEVER])
    np.testing.assert_array_equal(of_steps.amplitudes, [2, 2, 2, 0.5, 0.5])
    assert of_steps.initial == 0.25


def test_silent_after_its_own_post_steps_and_where_it_does_not_fire():
    longer = course(FALLING, {}, 3, 7)
    np.testing.assert_array_equal(longer.fires[5:], [NEVER, NEVER])
    np.testing.assert_array_equal(longer.amplitudes, [2, 2, 2, 0.5, 0.5, 1, 1])
    silent = course(FALLING, {}, 3, 4, fires=False)
    np.testing.assert_array_equal(silent.fires, [NEVER] * 4)
    np.testing.assert_array_equal(silent.amplitudes, [1.0] * 4)
    assert silent.initial == 0.25


def test_worth():
    assert worth(FALLING, {}, 4) == (2.0, 0.5)
    assert worth(dataclasses.replace(FALLING, post_steps=0), {}, 4) == (2.0, 2.0)
    for changing in (lambda values, t, timesteps: 1.0 + t, lambda values, t, timesteps: 1.0 + max(0, t - timesteps)):
        with pytest.raises(PluginError, match="may change only once"):
            worth(dataclasses.replace(FALLING, amplitude=changing), {}, 4)


def test_answers_are_checked():
    with pytest.raises(PluginError, match="fire at step 1"):
        course(dataclasses.replace(FALLING, fire=lambda *_: -1.0), {}, 3)
