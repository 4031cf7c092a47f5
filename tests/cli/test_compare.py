"""`nspike compare`, through real files: tables, resuming after a kill, repeating a row, an outside plugin's method."""

import json
import os
import re
import shlex
import signal
import sys

import pytest
from PIL import Image

from nspike.registry.plugins import registry
from tests.cli.console import interrupt, run, start
from tests.comparing.folders import OPTIONS, RECIPE, lay_out
from tests.tiny import image

METHOD = """
from nspike import Method, hookimpl

@hookimpl
def register_methods(register):
    register(Method("halves", "rueckauer at the median", "the tests of nspike", options={"percentile": 50.0}))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(lay_out(tmp_path))
    return tmp_path


def compare(*more, network="ann.h5", methods="rueckauer", timesteps="3", output="table"):
    words = ["compare", "--network", network, "--data", "data", "-o", output, *OPTIONS]
    return [*words, "--methods", methods, "--timesteps", timesteps, *more]


def rows(folder):
    return {path.stem: json.loads(path.read_text()) for path in (folder / "rows").glob("*.json")}


def test_all_tables_are_written(here, capsys):
    done = run(
        capsys,
        *compare("--json", "r.json", "--plugin", "memory45", "--plugin", "horowitz45", timesteps="rueckauer=3,5"),
    )
    assert done.code == 0
    for text in (
        "network tiny, protocol gray, sigma 25, seed 0, 2 images",
        "plain network",
        "rueckauer",
        "memory45 mJ",
    ):
        assert text in done.out
    found = json.loads((here / "r.json").read_text())
    assert found == json.loads((here / "table" / "table.json").read_text())
    assert [row["T"] for row in found["rows"]] == [None, 3, 5]
    assert f"{found['rows'][1]['mean']['psnr']:.2f}" in done.out
    assert {path.name for path in (here / "table").glob("table.*")} == {
        f"table.{s}" for s in ("json", "csv", "md", "html")
    }


def test_a_rows_command_gives_the_same_results(here, capsys):
    assert run(capsys, *compare("--limit", 1, "--sigma", 15, "--model", "mine=tiny.h5", "--memory", "64M")).code == 0
    for key, row in rows(here / "table").items():
        words = shlex.split(row["command"])
        assert words[0] == "nspike"
        assert words[words.index("--memory") + 1] == "64M"
        assert run(capsys, *words[1:-1], f"again-{key}").code == 0
        again = rows(here / f"again-{key}")[key]
        assert (again["digest"], again["model"]["digest"]) == (row["digest"], row["model"]["digest"])
        assert {k: v for k, v in again["mean"].items() if k not in ("wall", "processor")} == {
            k: v for k, v in row["mean"].items() if k not in ("wall", "processor")
        }


def test_killed_it_keeps_its_rows_and_goes_on(here, capsys):
    arguments = compare(timesteps="3,60,61")
    child = start([sys.executable, "-m", "nspike", *map(str, arguments)], env=os.environ | {"NSPIKE_PROGRESS": "1"})
    while not (here / "table" / "rows" / "rueckauer-T3.json").exists():
        child.stderr.readline()
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)
    kept = {path.name: path.read_bytes() for path in (here / "table" / "rows").glob("*.json")}
    assert "rueckauer-T3.json" in kept
    done = run(capsys, *arguments)
    assert done.code == 0
    for name, data in kept.items():
        assert (here / "table" / "rows" / name).read_bytes() == data
    assert run(capsys, *compare(timesteps="3,60,61", output="whole")).code == 0
    first, whole = rows(here / "table"), rows(here / "whole")
    assert set(first) == set(whole) == {"plain", "rueckauer-T3", "rueckauer-T60", "rueckauer-T61"}
    assert {key: row["digest"] for key, row in first.items()} == {key: row["digest"] for key, row in whole.items()}


def test_interrupted_it_says_so(here):
    Image.fromarray(image(900, 900)).save(here / "data" / "0.png")
    interrupt(*compare(timesteps="3,120"), progress=r"percent: \d+/100, measuring rueckauer T = 120")
    assert set(rows(here / "table")) == {"plain", "rueckauer-T3"}


def test_a_changed_option_ends_with_its_name(here, capsys):
    assert run(capsys, *compare()).code == 0
    before = rows(here / "table")
    failed = run(capsys, *compare("--seed", 3))
    assert failed.code == 2
    assert "table was begun with other options: --seed was 0, now is 3" in failed.err
    assert rows(here / "table") == before


def test_bad_input_has_exit_codes_and_writes_nothing(here, capsys):
    (here / "r.toml").write_text(RECIPE)
    for arguments, code, message in (
        (compare(methods="rückauer"), 4, "Did you mean 'rueckauer'"),
        (compare(timesteps="3,x"), 2, "--timesteps 3,x: expected whole numbers"),
        (compare(timesteps="rueckauer="), 2, "--timesteps rueckauer=: expected whole numbers"),
        (compare(timesteps="burst=3"), 2, "T of burst: there is no such method in this comparison"),
        (compare(timesteps="0"), 2, "T = 0 is out of range"),
        (compare(methods="qcfs"), 2, "--model qcfs=FILE, or a recipe"),
        (compare("--model", "x"), 2, "expected NAME=VALUE"),
        (compare("--model", "rueckauer=no.h5"), 3, "no.h5: no such model file"),
        (compare("--recipe", "rueckauer=r.toml"), 2, "it takes no recipe"),
        (compare("--lpips", "no.pth"), 3 if has_lpips() else 2, "no.pth" if has_lpips() else 'install "nspike[lpips]"'),
        (compare("--plugin", "if"), 2, "cannot be used here"),
        (compare(network="nothing"), 3, "nothing"),
    ):
        failed = run(capsys, *arguments)
        assert (failed.code, message in failed.err) == (code, True), failed.err
        assert not (here / "table").exists()
    failed = run(capsys, *["no" if word == "data" else word for word in compare()])
    assert failed.code == 3
    assert "no: " in failed.err


def has_lpips():
    import importlib.util

    return all(importlib.util.find_spec(name) for name in ("torch", "torchvision", "lpips"))


@pytest.fixture
def fresh():
    """A registry of its own, which forgets what files registered."""
    registry.cache_clear()
    yield
    registry.cache_clear()


def test_a_method_in_a_file_appears_and_its_row_can_be_repeated(here, capsys, fresh):
    (here / "mine.py").write_text(METHOD)
    done = run(capsys, *compare("--plugin", "mine.py", "--limit", 1))
    assert done.code == 0, done.err
    assert re.search(r"^halves +3 ", done.out, re.MULTILINE)
    row = rows(here / "table")["halves-T3"]
    assert row["made"]["options"] == {"percentile": 50.0}
    assert row["digest"] != rows(here / "table")["rueckauer-T3"]["digest"]
    assert "--plugin mine.py:method:halves" in row["command"]
    registry.cache_clear()
    again = run(capsys, *shlex.split(row["command"])[1:-1], "again")
    assert again.code == 0, again.err
    assert rows(here / "again")["halves-T3"]["digest"] == row["digest"]
