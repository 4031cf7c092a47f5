"""Each executor knows every kind of layer, in one table, and nothing else asks for a layer's kind."""

import ast
import typing
from pathlib import Path

import pytest

import nspike
from nspike.ann.layers import PLAIN
from nspike.engine.prepared import LAYOUT
from nspike.engine.stages import FIRE
from nspike.engine.tiling import NARROW_ONLY
from nspike.graph.geometry import GEOMETRY
from nspike.graph.initialise import INITIAL
from nspike.graph.layer import KINDS, Driver
from nspike.graph.values import ACCEPTS
from nspike.integer.components import BITS
from nspike.integer.driver import FLOATS
from nspike.integer.reference_layers import LAYERS

CLASSES = {kind.__name__ for kind in KINDS.values()}

FOLDER = Path(nspike.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("table", [GEOMETRY, INITIAL, PLAIN])
def test_a_table_of_all_kinds(table):
    assert set(table) == set(KINDS.values())


@pytest.mark.parametrize("table", [FLOATS, NARROW_ONLY, LAYOUT, FIRE])
def test_a_table_of_the_kinds_that_give_currents(table):
    assert set(table) == set(typing.get_args(Driver))


def of_roles(*roles):
    return {kind for kind, entry in GEOMETRY.items() if entry.role in roles}


def test_tables_of_what_a_layer_does_in_the_spiking_network():
    assert set(BITS) == of_roles("linear")
    assert set(LAYERS) == of_roles(*(role for role in ACCEPTS if role not in ("plain", "neurons")))


def kind_tests(source):
    """The lines that ask for a layer's kind: isinstance and issubclass, comparisons with a kind, patterns of match."""
    for node in ast.walk(ast.parse(source)):
        asked: list[ast.AST] = []
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            asked = node.args[1:]
        elif isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        names = {getattr(part, "id", getattr(part, "attr", None)) for each in asked for part in ast.walk(each)}
        if names & CLASSES:
            yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(FOLDER)) for path in SOURCES])
def test_nothing_asks_for_the_kind_of_a_layer(path):
    assert list(kind_tests(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(layer, Conv)",
        "isinstance(layer, Conv | Gate)",
        "isinstance(layer, (layers.Activation, int))",
        "type(layer) is Concat",
        "type(layer) in (Conv, Gate)",
        "match layer:\n    case Gate(name=n): pass",
    ],
)
def test_a_planted_question_is_caught(source):
    assert list(kind_tests(source))


def test_what_may_stand():
    assert not list(
        kind_tests("isinstance(layer, kind)\nTABLE = {Conv: f}\nTABLE[type(layer)](layer)\nnetwork.of_kind(Gate)")
    )
