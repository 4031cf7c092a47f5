"""The modules know every kind of layer."""

import pytest

from nspike.graph.geometry import GEOMETRY
from nspike.graph.layer import KINDS

pytest.importorskip("torch")


def test_tables_of_all_kinds():
    from nspike.twin import plain, spiking

    assert set(plain.LAYERS) == set(KINDS.values())
    assert set(spiking.LAYERS) == {kind for kind, entry in GEOMETRY.items() if entry.role != "plain"}
