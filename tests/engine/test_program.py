"""A program is built once a model."""

import gc
from dataclasses import replace

import numpy as np

import nspike
from nspike.engine import program
from nspike.engine.program import program_of
from nspike.registry.parts import head_of, neuron_of
from tests.tiny import image, tiny_model


def of(model):
    return program_of(model, neuron_of(model), head_of(model))


def test_built_once_a_model(monkeypatch):
    built = []
    build = program.build
    monkeypatch.setattr(program, "build", lambda *parts: built.append(parts) or build(*parts))
    model = tiny_model()
    for _ in range(3):
        nspike.restore(model, image(20, 30))
    assert len(built) == 1
    nspike.restore(replace(model), image(20, 30))
    assert len(built) == 2


def test_built_anew_for_other_parts():
    model = tiny_model()
    assert of(model) is of(model)
    other = replace(neuron_of(model), summary="another")
    assert program_of(model, other, head_of(model)) is not of(model)


def test_an_array_that_was_changed_in_place_is_seen():
    model, pixels = tiny_model(), image(20, 30)
    before = nspike.restore(model, pixels).image
    name = next(iter(model.parameters))
    model.parameters[name][:] = model.parameters[name][::-1].copy()
    changed = nspike.restore(model, pixels).image
    assert not np.array_equal(changed, before)
    assert np.array_equal(changed, nspike.restore(replace(model), pixels).image)


def test_forgotten_with_its_model():
    gc.collect()
    count = len(program._kept)
    model = tiny_model()
    of(model)
    assert len(program._kept) == count + 1
    del model
    gc.collect()
    assert len(program._kept) == count
