"""The constraints that .ci/run installs for its run on the lowest versions."""

import importlib.util
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lowest(project, *extras):
    """`lowest` of .ci/lowest.py, which no package holds."""
    spec = importlib.util.spec_from_file_location("lowest", ROOT / ".ci" / "lowest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lowest(project, list(extras))


PROJECT = {
    "name": "p",
    "dependencies": ["a>=1.2", "b[fast]>=2,<3"],
    "optional-dependencies": {"x": ["p[y]", "a>=1.10"], "y": ["c-d>=0.1"], "z": ["e"]},
}


def test_of_a_project_and_its_extras():
    assert lowest(PROJECT) == {"a": "1.2", "b": "2"}
    assert lowest(PROJECT, "x") == {"a": "1.10", "b": "2", "c-d": "0.1"}, "1.10 is later than 1.2"


def test_planted_dependency_without_a_bound_is_caught():
    with pytest.raises(SystemExit, match=r"'e' in pyproject\.toml has no lower bound"):
        lowest(PROJECT, "z")


def test_every_dependency_of_ours_has_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = lowest(project, *project["optional-dependencies"])
    assert {"numpy", "numba", "pytest", "torch", "sphinx"} <= set(bounds)
