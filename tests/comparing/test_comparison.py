"""`nspike.compare`: what a row holds, what is resumed, and what is refused."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.comparing import comparison as module
from nspike.comparing import making
from nspike.comparing.tables import cells, markdown, to_csv
from nspike.contracts.method import Method
from nspike.errors import BadInputError, OutputError, PluginError, UsageError
from nspike.images.metrics import mae
from nspike.integer.grid import MOST_STEPS
from nspike.model.file import digest
from nspike.registry.plugins import registry
from tests.comparing.folders import MODEL, RECIPE, lay_out
from tests.tiny import tiny_model

QUICK = {"calibration": "calibrate", "crops": 2, "crop_size": 16, "threads": 1}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(lay_out(tmp_path))
    return tmp_path


@pytest.fixture
def extra():
    """A registry to which tests may add methods."""
    registry.cache_clear()
    yield lambda *methods: registry().add([("method", method) for method in methods], "tests", "")
    registry.cache_clear()


def compare(**options):
    return nspike.compare("ann.h5", "data", "table", **{"methods": ["rueckauer"], "timesteps": [3], **QUICK, **options})


def test_a_row_is_what_evaluate_measures_of_the_converted_model(here):
    found = compare(timesteps=[3, 5], energy=["horowitz45", "memory45"])
    assert [(row["label"], row["T"]) for row in found.rows] == [("plain", None), ("rueckauer", 3), ("rueckauer", 5)]
    ann = replace(MODEL, spiking=None)
    method = registry().methods["rueckauer"]
    model, _ = nspike.convert(ann, "calibrate", crops=2, crop_size=16, threads=1, **method.conversion(5))
    same, row = nspike.evaluate(model, "data"), found.row("rueckauer", 5)
    kept = nspike.load(here / "table" / row["model"]["file"])
    assert row["model"]["digest"] == digest(kept)
    assert all(np.array_equal(kept.spiking.scales[name], scale) for name, scale in model.spiking.scales.items())
    for name, figure in same.to_dict()["mean"].items():
        if name in ("psnr", "ssim_gauss11", "ssim_uniform7", "mae", "spikes", "synops", "firing_rate"):
            assert row["mean"][name] == figure
    assert row["mean"]["energy"]["horowitz45"] == same.to_dict()["mean"]["energy"]
    assert set(row["mean"]["energy"]) == {"horowitz45", "memory45"}
    assert row["conversion_rate"] == same.conversion_rate
    plain = found.row("plain")
    assert plain["mean"]["psnr"] == same.mean("ann").psnr
    assert "spikes" not in plain["mean"]
    assert found.input["psnr"] == same.mean("input").psnr
    assert min(row["mean"]["wall"], row["mean"]["processor"]) > 0
    assert [image["name"] for image in row["images"]] == ["0.png", "1.png"]


def test_digests_are_of_the_results_whatever_the_threads(here):
    first = compare().row("rueckauer", 3)
    again = nspike.compare("ann.h5", "data", "other", methods=["rueckauer"], timesteps=[3], **{**QUICK, "threads": 2})
    assert again.row("rueckauer", 3)["digest"] == first["digest"]
    assert again.row("rueckauer", 3)["images"][0]["digest"] == first["images"][0]["digest"]


def test_finished_rows_are_not_measured_again_and_others_are_added(here, monkeypatch):
    compare()
    kept = (here / "table" / "rows" / "rueckauer-T3.json").read_bytes()
    measured = []
    image = module.Measuring.image
    monkeypatch.setattr(module.Measuring, "image", lambda self, *a: measured.append(a[1].name) or image(self, *a))
    compare()
    assert measured == []
    found = compare(timesteps=[4])
    assert measured == ["0.png", "1.png"]
    assert [row["key"] for row in found.rows] == ["plain", "rueckauer-T3", "rueckauer-T4"]
    assert (here / "table" / "rows" / "rueckauer-T3.json").read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sigma": 10.0}, "options: sigma was 25"),
        ({"seed": 4}, "options: seed was 0, now is 4"),
        ({"limit": 1}, "options: limit was not given, now is 1"),
        ({"energy": ["memory45"]}, "options: energy was horowitz45, now is memory45"),
        ({"crops": 3}, "options: calibration, crops or crop_size differs"),
        ({"calibration": "data"}, "options: calibration, crops or crop_size differs"),
        ({"protocol": "rgb"}, "options: protocol was gray, now is rgb"),
    ],
)
def test_a_changed_option_is_named(here, change, named):
    compare()
    before = {path: path.read_bytes() for path in (here / "table").rglob("*.json")}
    if change == {"protocol": "rgb"}:
        change = {"protocol": "rgb", "sigma": 25.0}
    with pytest.raises(UsageError, match=named):
        compare(**change)
    assert {path: path.read_bytes() for path in (here / "table").rglob("*.json")} == before


def test_other_images_and_another_network_are_named(here):
    compare()
    with pytest.raises(UsageError, match="begun with other options: network differs"):
        nspike.compare(tiny_model(seed=2), "data", "table", methods=["rueckauer"], timesteps=[3], **QUICK)
    (here / "data" / "0.png").write_bytes((here / "data" / "1.png").read_bytes())
    with pytest.raises(UsageError, match=r"the images of data differs.*another output"):
        compare()


def test_a_finished_row_made_otherwise_is_named(here):
    compare()
    with pytest.raises(UsageError, match="finished row rueckauer T = 3 was made by conversion, not by model"):
        compare(models={"rueckauer": "tiny.h5"})
    compare(methods=[], models={"own": "tiny.h5"})
    with pytest.raises(UsageError, match="finished row own T = 3 was made with another model"):
        compare(methods=[], models={"own": tiny_model(seed=2)})


def test_steps_of_one_method(here):
    found = compare(models={"my-own": MODEL}, timesteps=[2], timesteps_of={"my-own": [1, 3]})
    assert [row["key"] for row in found.rows] == ["plain", "my-own-T1", "my-own-T3", "rueckauer-T2"]


def test_models_under_a_methods_name_and_a_label_of_their_own(here):
    found = compare(models={"rueckauer": "tiny.h5", "my-own": MODEL}, timesteps=None)
    assert [row["key"] for row in found.rows] == ["plain", "my-own-T4", "rueckauer-T4"]
    first, second = found.rows[1:]
    assert first["digest"] == second["digest"]
    assert first["mean"]["psnr"] == nspike.evaluate(MODEL, "data").mean().psnr
    alone = nspike.compare(None, "data", "alone", models={"it": "tiny.h5"}, timesteps=[4], threads=1)
    assert [row["key"] for row in alone.rows] == ["it-T4"]
    assert alone.rows[0]["digest"] == first["digest"]
    assert alone.rows[0]["conversion_rate"] is None


def test_recipes_train_once_and_are_kept(here, extra, monkeypatch):
    (here / "r.toml").write_text(RECIPE)
    (here / "fixed.toml").write_text(RECIPE + "timesteps = 3\n")
    extra(
        Method(
            "trained",
            "t",
            "s",
            converter="qcfs",
            trained_by="train",
            needs_training=True,
            recipe={"activation": "qcfs"},
        )
    )
    extra(
        Method("tuned", "t", "s", trained_by="finetune", needs_training=True),
        Method("tuned2", "t", "s", trained_by="finetune"),
    )
    seen = []
    recipes = {"trained": "r.toml", "tuned": "r.toml", "tuned2": "fixed.toml"}
    options = {"methods": list(recipes), "timesteps": [2, 3], "recipes": recipes}
    found = compare(**options, progress=lambda what, done, total: seen.append(what))
    assert len(found.rows) == 7
    names = {path.name for path in (here / "table" / "models").glob("*.h5")}
    assert {"trained.trained.h5", "tuned-T2.trained.h5", "tuned-T3.trained.h5", "tuned2.trained.h5"} < names
    assert nspike.load("table/models/trained.trained.h5").spiking is None
    assert nspike.load("table/models/tuned-T2.h5").spiking.timesteps == 2
    assert "training trained" in seen
    assert "training tuned T = 2" in seen
    digests = {row["key"]: row["model"]["digest"] for row in found.rows}
    for path in (here / "table" / "rows").glob("t*.json"):
        path.unlink()
    monkeypatch.setattr("nspike.comparing.making.train", None)
    monkeypatch.setattr("nspike.comparing.making.finetune", None)
    assert {row["key"]: row["model"]["digest"] for row in compare(**options).rows} == digests


def test_what_needs_training_says_so(here, extra):
    extra(Method("direct", "t", "s", trained_by="finetune", needs_training=True))
    with pytest.raises(
        UsageError, match=r'method direct.*models=\{"direct": model\}, or a recipe, recipes=\{"direct": "FILE.toml"\}'
    ):
        compare(methods=["direct"])
    with pytest.raises(UsageError, match="method qcfs: its network must be trained for it, and tiny is not"):
        compare(methods=["qcfs"])
    (here / "r.toml").write_text(RECIPE)
    with pytest.raises(UsageError, match="method rueckauer: nothing is trained"):
        compare(recipes={"rueckauer": "r.toml"})
    with pytest.raises(UsageError, match="model direct is for dehaze, rgb, but the network tiny for denoise, gray"):
        compare(methods=["direct"], models={"direct": tiny_model("dehaze", "rgb", "image")})
    with pytest.raises(UsageError, match="its model must be a spiking one"):
        compare(methods=["direct"], models={"direct": "ann.h5"})
    assert not (here / "table").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": ["rückauer"]}, PluginError, "there is no method 'rückauer'. Did you mean 'rueckauer'"),
        ({"timesteps": [0]}, UsageError, "T = 0 is out of range"),
        ({"timesteps_of": {"rueckauer": [2, 0]}}, UsageError, "T = 0 is out of range"),
        ({"timesteps_of": {"rueckaur": [2]}}, UsageError, "T of rueckaur.*Did you mean 'rueckauer'"),
        (
            {"timesteps": [MOST_STEPS + 1]},
            UsageError,
            f"rueckauer: T = {MOST_STEPS + 1} is out of range; expected 1 to",
        ),
        ({"models": {"rueckaur": "tiny.h5"}}, UsageError, "model rueckaur: there is no such method. Did you mean"),
        ({"models": {"plain": "tiny.h5"}}, UsageError, "'plain': a label consists of"),
        ({"models": {"x": "ann.h5"}}, UsageError, "model x: is a plain network"),
        ({"recipes": {"rueckaur": "r.toml"}}, UsageError, "recipe rueckaur.*Did you mean 'rueckauer'"),
        ({"recipes": {"rueckauer": "no.toml"}}, BadInputError, "no.toml: cannot be read"),
        ({"energy": ["horowitz"]}, PluginError, "no energy 'horowitz'. Did you mean 'horowitz45'"),
        ({"protocol": "y-crop"}, UsageError, "protocol y-crop is for super-resolution"),
        ({"calibration": "nowhere"}, BadInputError, "nowhere"),
        ({"crops": 0}, UsageError, "at least 1 crop"),
        ({"limit": 0}, UsageError, "limit = 0"),
    ],
)
def test_bad_options_before_anything_is_written(here, options, error, message):
    with pytest.raises(error, match=message):
        compare(**options)
    assert not (here / "table").exists()


def test_a_folder_without_pairs(here):
    hazy = tiny_model("dehaze", "rgb", "image")
    with pytest.raises(BadInputError, match="hazy/ and GT/"):
        nspike.compare(hazy, "data", "table", methods=["rueckauer"], **QUICK)
    with pytest.raises(UsageError, match="nothing to compare"):
        nspike.compare(None, "data", "table")
    assert not (here / "table").exists()


def test_a_full_disk_loses_no_finished_row(here, monkeypatch):
    whole, write = compare(timesteps=[3, 4]), making.save

    def full(path, model):
        if path.name == "rueckauer-T4.h5":
            raise OutputError(f"cannot write {path}: No space left on device")
        write(path, model)

    monkeypatch.setattr(making, "save", full)
    with pytest.raises(OutputError, match=r"rueckauer-T4\.h5: No space left on device"):
        nspike.compare("ann.h5", "data", "other", methods=["rueckauer"], timesteps=[3, 4], **QUICK)
    assert sorted(path.name for path in (here / "other" / "rows").iterdir()) == ["plain.json", "rueckauer-T3.json"]
    kept = (here / "other" / "rows" / "rueckauer-T3.json").read_bytes()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    again = nspike.compare("ann.h5", "data", "other", methods=["rueckauer"], timesteps=[3, 4], **QUICK)
    assert [row["digest"] for row in again.rows] == [row["digest"] for row in whole.rows]
    assert (here / "other" / "rows" / "rueckauer-T3.json").read_bytes() == kept


def test_a_damaged_row_is_named(here):
    compare()
    path = here / "table" / "rows" / "rueckauer-T3.json"
    path.write_text("{")
    with pytest.raises(BadInputError, match=r"rueckauer-T3\.json: is damaged; remove it"):
        compare()


def test_by_default_conversions_see_the_bundled_images(here):
    found = compare(calibration=None)
    assert found.row("rueckauer", 3)["mean"]["spikes"] > 0
    hazy = tiny_model("dehaze", "rgb", "image")
    lists = [(np.full((20, 20, 3), 0.5), np.full((20, 20, 3), 0.25))]
    found = nspike.compare(hazy, lists, "hazy", methods=["rueckauer"], timesteps=[2], crops=2, crop_size=16, threads=1)
    assert found.input["mae"] == mae(*lists[0]) == 0.25
    assert found.rows[0]["command"] == "nspike compare --network ... --data ... --crops 2 --crop-size 16 -o again"


def test_tables_hold_the_rows(here):
    found = compare(energy=["horowitz45", "memory45"])
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["method"] for row in rows] == ["plain", "rueckauer"]
    row = found.row("rueckauer", 3)
    assert float(rows[1]["psnr"]) == row["mean"]["psnr"]
    assert float(rows[1]["horowitz45 paper snn J"]) == row["mean"]["energy"]["horowitz45"]["paper"]["snn"]
    assert rows[0]["horowitz45 paper snn J"] == rows[0]["spikes"] == ""
    assert rows[1]["command"] == row["command"]
    assert rows[1]["result digest"] == row["digest"]
    text = markdown(found)
    assert f"| rueckauer | 3 | {row['mean']['psnr']:.2f} |" in text
    assert f"`{row['command']}`" in text
    header, shown = cells(found)
    assert {len(header)} == {len(each) for each in shown}
    assert "memory45 mJ" in header
    assert json.dumps(found.to_dict(), allow_nan=False)
