import dataclasses

import pytest

from nspike.contracts.signed import signed_form
from nspike.errors import PluginError
from nspike.registry.plugins import registry


def test_the_signed_form_of_a_declared_neuron():
    mprn = registry().neurons["mprn"]
    form = signed_form(mprn)
    assert form.planes == (1, -1)
    assert form == dataclasses.replace(mprn, planes=(1, -1))
    assert signed_form(mprn) is form


def test_a_burst_gets_negative_planes_too():
    burst = dataclasses.replace(registry().neurons["if"], name="burst", planes=(1, 2), most_spikes=3)
    assert signed_form(burst).planes == (1, 2, -1, -2)
    assert signed_form(burst).most_spikes == 3


def test_a_neuron_with_a_negative_plane_is_its_own():
    signed = registry().neurons["signed"]
    assert signed_form(signed) is signed


def test_a_neuron_with_a_kernel_of_its_own_has_none():
    own = dataclasses.replace(
        registry().neurons["if"], name="own", step=lambda *_: None, step_parameters=lambda *_: None
    )
    with pytest.raises(PluginError, match="own has no signed form, which a layer of this network needs"):
        signed_form(own)
