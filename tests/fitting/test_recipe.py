"""Recipes: read from TOML, checked key by key; those of the shipped models are valid."""

import os
from pathlib import Path

import pytest

import nspike
from nspike.errors import BadInputError, UsageError
from nspike.fitting.reading import parse, read_recipe
from nspike.fitting.recipe import FineTuningRecipe, TrainingRecipe, is_recipe, recipe_of
from nspike.registry.plugins import registry

RECIPES = sorted((Path(__file__).parents[2] / "weights" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_shipped_models_recipes(path):
    recipe = recipe_of(read_recipe(path))
    kinds = registry()
    assert all(name in kinds.losses for name in recipe.options.pixels)
    if isinstance(recipe, TrainingRecipe):
        assert recipe.network is None or kinds.networks[recipe.network].network(recipe.network_options)
    else:
        kinds.converters[recipe.converter or "qcfs"].values(recipe.converter_options)
        assert recipe.neuron is None or recipe.neuron in kinds.neurons
        assert recipe.head is None or recipe.head in kinds.heads
    for given in (recipe.model, getattr(recipe, "baseline", None)):
        assert not is_recipe(given) or Path(given) in RECIPES, "a recipe that is there"
    assert recipe.name == path.stem
    assert path.name in path.read_text(encoding="utf-8"), "says how it is called"


def test_there_are_recipes():
    assert {"aodnet", "dncnn-s15", "dncnn-s25", "dncnn-s50", "vdsr"} <= {path.stem for path in RECIPES}


def test_paths_are_relative_to_the_recipe_where_they_exist_there(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "r.toml").write_text('data = ["photos", "elsewhere"]\nmodel = "dncnn-s25"\nvalidation = "photos"\n')
    values = read_recipe(tmp_path / "r.toml")
    assert values == {
        "data": [str(tmp_path / "photos"), "elsewhere"],
        "model": "dncnn-s25",
        "validation": str(tmp_path / "photos"),
    }


def test_a_folder_of_kernels_is_placed_and_kept_by_its_name(tmp_path):
    (tmp_path / "kernels").mkdir()
    parts = '[{kind = "shake"}, {kind = "kernels", folder = "kernels"}]'
    (tmp_path / "r.toml").write_text(
        f'model = "dncnn-s25"\ndata = ["x"]\ndegradation = {{kind = "mixed", of = {parts}}}\n'
    )
    values = read_recipe(tmp_path / "r.toml")
    assert values["degradation"]["of"] == [{"kind": "shake"}, {"kind": "kernels", "folder": str(tmp_path / "kernels")}]
    kept = FineTuningRecipe.of(values).to_dict()
    assert kept["degradation"]["of"][1] == {"kind": "kernels", "folder": "kernels"}
    assert str(tmp_path) not in str(kept)
    values["degradation"] = {"kind": "kernels", "folder": str(tmp_path / "kernels")}
    assert FineTuningRecipe.of(values).to_dict()["degradation"] == {"kind": "kernels", "folder": "kernels"}


def test_what_a_model_keeps_of_a_recipe():
    recipe = FineTuningRecipe.of(
        {"model": "/home/me/a.h5", "data": ["/home/me/x", "y"], "threads": 2, "name": "n", "rate": 1, "k": 0.5}
    )
    kept = recipe.to_dict()
    assert (kept["model"], kept["data"], kept["rate"], kept["k"]) == ("a.h5", ["x", "y"], 1.0, 0.5)
    assert "threads" not in kept
    assert "/home" not in str(kept)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 2.5}, "steps = 2.5; expected a whole number"),
        ({"steps": True}, "steps = True; expected a whole number"),
        ({"rate": "fast"}, "rate = 'fast'; expected a number"),
        ({"data": 3}, "data = 3; expected a list"),
        ({"follow_reset": 1}, "follow_reset = 1; expected true or false"),
        ({"converter_options": "x"}, "expected a table"),
        ({"surrogate": 3}, "expected text"),
        ({"seed": -1}, "seed, validation_every and minutes from 0"),
        ({"warm_start": "hot"}, "expected none or regression"),
        ({"gamm": 0.1}, "Did you mean 'gamma'"),
        ({"degradation": {"kind": 1}}, "degradation.kind = 1; expected text"),
        ({"pixel": {}}, "pixel = {}; expected a loss, or losses with their weights"),
        ({"pixel": {"mse": "much"}}, "expected a loss, or losses with their weights"),
        ({"pixel": {"mse": -1.0}}, "expected a loss, or losses with their weights"),
        ({"steps": 10**5000}, "steps beyond 2\\^53"),
        ({"data": ["a", 3]}, "data = .*expected a list"),
        ({"rate": float("inf")}, "rate = inf; expected a finite number"),
        ({"converter": "x" * 999, "head": ["y" * 999]}, "head = .{80}; expected text"),
    ],
)
def test_values_of_another_type(values, message):
    with pytest.raises(UsageError, match=message):
        FineTuningRecipe.of({"model": "m", "data": "d"} | values)


def test_values_of_options():
    assert [parse(text) for text in ("3", "1e-4", "true", "mse", "{a = 1}", "[1, 2]", "'x'")] == [
        3, 1e-4, True, "mse", {"a": 1}, [1, 2], "x",
    ]  # fmt: skip


def test_what_is_no_recipe(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name, said in (("binary.toml", "cannot be read"), ("none.toml", "cannot be read: No such file")):
        with pytest.raises(BadInputError, match=said):
            read_recipe(tmp_path / name)
    with pytest.raises(BadInputError, match="a network's name is network=NAME, a model is model=NAME"):
        nspike.train("dncnn", data=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = " + "9" * 5000, "is no TOML: .*limit"),
        ("a = " + "[" * 50_000, "is no TOML: it is nested too deeply"),
        (".".join(["a"] * 30_000) + " = 1", "is no TOML: a key has more than 33 parts"),
        ('"=" . ' + " . ".join(["'a.b'"] * 40) + " = 1", "is no TOML: a key has more than 33 parts"),
        ("[" + ".".join(["a"] * 99) + "]", "is no TOML: a key has more than 33 parts"),
        ("#" * 2**20 + "#", "it is too large: 1048577 bytes, at most 1048576 are read"),
    ],
    ids=["number", "depth", "key", "quoted", "table", "size"],
)
def test_recipes_that_cost_too_much(tmp_path, text, said):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(BadInputError, match=said):
        read_recipe(tmp_path / "r.toml")


def test_long_values_are_no_long_keys(tmp_path):
    (tmp_path / "r.toml").write_text("a" * 200_000 + " = '" + "../" * 5000 + "'\n" + "[x" + ".x" * 20 + "]\n")
    assert len(read_recipe(tmp_path / "r.toml")) == 2


def test_a_recipe_is_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    for name, said in {
        "pipe": "is not a regular file",
        "zero": "is not a regular file",
        "folder": "is a folder",
    }.items():
        with pytest.raises(BadInputError, match=f"{name}.toml: cannot be read: it {said}"):
            read_recipe(tmp_path / f"{name}.toml")


def test_options_whose_value_is_no_toml_are_text():
    assert parse("9" * 5000) == "9" * 5000
    assert parse("[" * 50_000)[:2] == "[["
