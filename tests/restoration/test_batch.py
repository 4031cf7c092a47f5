"""What is run, where it goes, and what is done already; and the choice of a model."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nspike.degradations import noise
from nspike.errors import BadInputError, ModelError, OutputError, PluginError, UsageError
from nspike.images.file import read
from nspike.model import shipped as models
from nspike.model.file import digest, save
from nspike.restoration.batch import ExistsError, Job, file_digest, gather, make_folder, plan, state, write_record
from nspike.restoration.choice import Chooser, Request
from nspike.restoration.noise import noise_of
from tests.tiny import image, tiny_model

SETTINGS = {"input": "aa", "model": "bb", "T": 4}


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths[0]


@pytest.fixture
def folder(tmp_path):
    touch(*(tmp_path / "in" / name for name in ("b.png", "a.jpg", "c.txt", ".hidden.png", "deeper/d.png")))
    return tmp_path / "in"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Tiny models in place of those that come with nspike."""
    found = []
    for name, model in {
        "dncnn-s15": tiny_model(degradation={"sigma": 15.0}, name="dncnn-s15"),
        "dncnn-s25": tiny_model(degradation={"sigma": 25.0}, name="dncnn-s25"),
        "dncnn-s50": tiny_model(degradation={"sigma": 50.0}, name="dncnn-s50"),
        "aodnet": tiny_model("dehaze", "rgb", "image", name="aodnet"),
        "vdsr": tiny_model("superres", "y", "add", name="vdsr"),
    }.items():
        save(tmp_path / f"{name}.h5", model)
        found.append((name, tmp_path / f"{name}.h5"))
    monkeypatch.setattr(models, "shipped", lambda: sorted(found))


# ----- which images -----


def test_gather(folder, monkeypatch):
    assert gather([str(folder)]) == ([folder / "a.jpg", folder / "b.png"], True, [])
    assert gather([str(folder / "*.png")]) == ([folder / "b.png"], False, [])
    assert gather([str(folder / "**" / "*.png")])[0] == [folder / "b.png", folder / "deeper" / "d.png"]
    assert gather([str(folder / "missing.png")]) == ([folder / "missing.png"], False, [])
    monkeypatch.chdir(folder)
    assert len(gather(["b.png", "./b.png", str(folder / "b.png"), "."])[0]) == 2


def test_gather_takes_brackets_literally_where_such_a_file_exists(tmp_path):
    path = touch(tmp_path / "shot[1].png")
    assert gather([str(path)])[0] == [path]


@pytest.mark.parametrize(("argument", "recursive"), [(".", False), (".", True), ("*.png", False)])
def test_gather_tells_of_links_to_nothing(folder, monkeypatch, argument, recursive):
    monkeypatch.chdir(folder)
    for name in ("e.png", ".f.png", "g.txt"):
        (folder / name).symlink_to("none")
    images, _, dangling = gather([argument], recursive=recursive)
    assert Path("b.png") in images
    assert dangling == [Path("e.png")]
    (folder / "b.png").unlink()
    (folder / "deeper" / "h.png").symlink_to("none")
    with pytest.raises(BadInputError, match=r"a link to what is not there, .*h\.png"):
        gather(["deeper/h*"])


def test_gather_does_not_pass_over_a_folder_that_cannot_be_read(folder, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("deeper"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInputError, match="deeper: Permission denied"):
        gather([str(folder)], recursive=True)


@pytest.mark.parametrize("name", ["deeper/nothing", "*.bmp"])
def test_gather_nothing(folder, name):
    (folder / "deeper" / "nothing").mkdir()
    with pytest.raises(BadInputError):
        gather([str(folder / name)])


# ----- where results go -----


def targets(jobs):
    return [str(job.target) for job in jobs]


def test_plan_names(folder, tmp_path):
    one, two = [folder / "b.png"], [folder / "b.png", folder / "a.jpg"]
    assert targets(plan(one, None, "denoise")) == ["b_denoise.png"]
    assert targets(plan(one, "x/y.jpg", "denoise")) == ["x/y.jpg"]
    assert targets(plan(one, "new/", "denoise")) == [os.path.join("new", "b.png")]
    assert targets(plan(one, str(tmp_path), "denoise")) == [str(tmp_path / "b.png")]
    assert targets(plan(two, "new", "dehaze", folder=True)) == [os.path.join("new", n) for n in ("b.png", "a.png")]
    assert targets(plan(two, None, "superres")) == ["b_superres.png", "a_superres.png"]


def test_plan_records(folder):
    assert not plan([folder / "b.png"], None, "denoise")[0].recorded
    assert plan([folder / "b.png"], "new/", "denoise")[0].recorded
    job = plan([folder / "b.png", folder / "a.jpg"], None, "denoise")[0]
    assert job.recorded
    assert job.record.name == "b_denoise.nspike.json"


def test_plan_usage(folder, tmp_path):
    one, two = [folder / "b.png"], [folder / "b.png", folder / "a.jpg"]
    for sources, output, options, message in [
        (two, None, {"folder": True}, "need -o FOLDER"),
        (two, "out.png", {}, "need a folder"),
        (two, str(touch(tmp_path / "file")), {}, "need a folder"),
        (one, "out", {}, "ending in a slash"),
        (one, "out.gif", {}, "expected an image's name"),
        ([folder / "b.png", folder / "deeper" / "b.jpg"], "new", {}, "both be written"),
        (one, str(folder), {}, "would replace an input"),
        (one, str(folder / "b.png"), {}, "would replace an input"),
        ([folder / "a.jpg"], str(folder / "b.png"), {"reference": str(folder / "b.png")}, "would replace an input"),
        (two, "new", {"reference": str(folder / "b.png")}, "need the folder"),
    ]:
        with pytest.raises(UsageError, match=message):
            plan(sources, output, "denoise", **options)


def test_plan_references(tmp_path):
    sources = [tmp_path / "hazy" / "1400_1.png", tmp_path / "hazy" / "1402_3.png"]
    touch(*sources, tmp_path / "GT" / "1400.png", tmp_path / "GT" / "1402.png")
    jobs = plan(sources, "new", "dehaze", reference=str(tmp_path / "GT"))
    assert [job.reference.name for job in jobs] == ["1400.png", "1402.png"]
    (tmp_path / "GT" / "1402.png").unlink()
    with pytest.raises(BadInputError, match="1402_3"):
        plan(sources, "new", "dehaze", reference=str(tmp_path / "GT"))


# ----- what is done -----


@pytest.fixture
def done(tmp_path):
    job = Job(tmp_path / "in.png", touch(tmp_path / "out.png"), recorded=True)
    write_record(job, SETTINGS, {"spikes": 3}, "0.1.0")
    return job


def test_state(done):
    assert state(done, SETTINGS, overwrite=False) == "done"
    assert state(done, SETTINGS, overwrite=True) == "done"
    done.target.unlink()
    assert state(done, SETTINGS, overwrite=False) == "new"


def test_state_of_other_settings(done):
    with pytest.raises(ExistsError, match=r"other settings \(another T\).*--overwrite"):
        state(done, {**SETTINGS, "T": 5}, overwrite=False)
    assert state(done, {**SETTINGS, "T": 5}, overwrite=True) == "replace"


def test_state_of_a_changed_output(done):
    done.target.write_bytes(b"other")
    with pytest.raises(ExistsError, match="changed since"):
        state(done, SETTINGS, overwrite=False)


def test_state_of_a_run_that_was_killed_between_record_and_image(done):
    write_record(done, SETTINGS, None, "0.1.0")
    assert state(done, SETTINGS, overwrite=False) == "replace"
    with pytest.raises(ExistsError):
        state(done, {**SETTINGS, "T": 5}, overwrite=False)


@pytest.mark.parametrize("record", [None, b"", b"{", b"[]", b"{}", b'{"format": 99}', b"\xff\x00", b"[" * 100_000])
def test_state_without_a_readable_record(done, record):
    done.record.unlink()
    if record is not None:
        done.record.write_bytes(record)
    with pytest.raises(ExistsError, match="no record"):
        state(done, SETTINGS, overwrite=False)


def test_state_of_a_single_image(tmp_path):
    job = Job(tmp_path / "in.png", tmp_path / "out.png")
    assert state(job, {}, overwrite=False) == "new"
    touch(job.target)
    with pytest.raises(ExistsError, match="--overwrite"):
        state(job, {}, overwrite=False)
    assert state(job, {}, overwrite=True) == "replace"


def test_records_hold_no_paths(done, tmp_path):
    text = done.record.read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["output"] == {"sha256": file_digest(done.target)}


def test_make_folder(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    with pytest.raises(OutputError, match="cannot make the folder"):
        make_folder(touch(tmp_path / "file") / "x")


# ----- which model -----


def noisy(sigma, height=256, width=256):
    return np.clip(128 + np.random.default_rng(0).normal(0, sigma, (height, width)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("sigma", "name"), [(13, "dncnn-s15"), (24, "dncnn-s25"), (45, "dncnn-s50")])
def test_noise_chooses_the_nearest_model(shipped, sigma, name):
    chooser = Chooser(Request())
    choice = chooser.choose(noisy(sigma))
    assert (chooser.task, choice.name) == ("denoise", name)
    assert choice.sigma == pytest.approx(sigma, rel=0.1)
    assert "noise estimated" in choice.notes[0]
    assert name in choice.notes[0]
    assert choice.warnings == ()
    given = Chooser(Request(sigma=sigma)).choose(noisy(1))
    assert (given.name, given.notes) == (name, ())


def test_noise_outside_the_trained_range_is_told(shipped):
    assert "outside" in Chooser(Request()).choose(noisy(3)).warnings[0]
    assert "outside" in Chooser(Request(model="dncnn-s25", sigma=50)).choose(noisy(3)).warnings[0]
    assert not Chooser(Request(model="dncnn-s25", sigma=30)).choose(noisy(3)).warnings


def test_noise_of_large_images_is_taken_from_the_middle():
    pixels = noisy(20, 1400, 1300)
    middle = pixels[188:1212, 138:1162] / 255.0
    assert noise_of(pixels).sigma == 255 * noise.estimate_sigma(middle)
    assert noise_of(pixels.astype(np.uint16) * 257).sigma == pytest.approx(noise_of(pixels).sigma)
    assert noise_of(pixels[:5]) is None


def test_tiny_images_get_the_default(shipped):
    choice = Chooser(Request()).choose(noisy(20, 1, 1))
    assert choice.name == models.IN_STEPS
    assert "too small" in choice.notes[0]


def test_tasks(shipped):
    assert Chooser(Request(task="dehaze")).choose(image(channels=3)).name == "aodnet"
    choice = Chooser(Request(task="superres")).choose(image())
    assert (choice.name, choice.scale) == ("vdsr", 2)
    assert Chooser(Request(scale=4)).choose(image()).scale == 4
    assert Chooser(Request(model="aodnet")).task == "dehaze"
    assert "none that" in Chooser(Request(model="vdsr", scale=5)).choose(image()).warnings[0]


def test_parts_are_swapped(shipped):
    choice = Chooser(Request(neuron="if", timesteps=6)).choose(noisy(25))
    assert choice.model.spiking.neuron == "if"
    assert len(choice.changes) == 2
    assert choice.digest == digest(tiny_model(name="dncnn-s25"))


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (Request(sigma=0), UsageError, "out of range"),
        (Request(sigma=float("nan")), UsageError, "out of range"),
        (Request(sigma=25, scale=2), UsageError, "one of them"),
        (Request(task="dehaze", sigma=25), UsageError, "denoising"),
        (Request(task="dehaze", scale=2), UsageError, "super-resolution"),
        (Request(task="dehaze", model="vdsr"), UsageError, "is for superres"),
        (Request(timesteps=0), UsageError, "at least 1"),
        (Request(ann=True, timesteps=3), UsageError, "plain ANN"),
        (Request(neuron="iff"), PluginError, "if"),
        (Request(model="dncn-s25"), ModelError, "dncnn-s25"),
        (Request(task="superres", scale=7), ModelError, "7"),
    ],
)
def test_bad_requests_fail_before_the_first_image(shipped, request_, error, message):
    with pytest.raises(error, match=message):
        Chooser(request_)


def test_images_are_bundled_for_every_task():
    from nspike.restoration.bundled import image_for

    for task, times in (("denoise", 1), ("dehaze", 1), ("superres", 2)):
        degraded, clean = (Image.open(path) for path in image_for(task))
        assert clean.size == (times * degraded.width, times * degraded.height)


def test_another_t_than_the_models_is_warned_of():
    assert (
        "was made for T = 10: at T = 20 it may be worse"
        in Chooser(Request(timesteps=20)).choose(noisy(25)).warnings[-1]
    )
    assert not Chooser(Request(timesteps=10, sigma=25)).choose(noisy(25)).warnings


def test_a_neuron_without_digits_in_a_model_of_them_is_warned_of():
    few = {"model": "dncnn-s25-few", "sigma": 25}
    (warning,) = Chooser(Request(neuron="mprn", **few)).choose(noisy(25)).warnings
    assert "was made for few_spikes, whose spikes are digits: mprn cannot say such numbers" in warning
    assert not Chooser(Request(**few)).choose(noisy(25)).warnings
    assert not Chooser(Request(neuron="if", model="dncnn-s25", sigma=25)).choose(noisy(25)).warnings


def test_a_range_from_zero_begins_where_running_is_worth_it(shipped, tmp_path, monkeypatch):
    save(tmp_path / "blind.h5", tiny_model("denoise", "rgb", degradation={"sigma": [0.0, 55.0]}, name="blind"))
    monkeypatch.setattr(models, "shipped", lambda: [("blind", tmp_path / "blind.h5")])
    clean, little = (np.stack([noisy(sigma)] * 3, axis=2) for sigma in (1, 7))
    assert Chooser(Request(spare=True)).choose(clean).name == "blind"
    assert Chooser(Request(spare=True)).choose(clean).enough == 3
    assert Chooser(Request(spare=True)).choose(little).enough is None
    assert Chooser(Request()).choose(clean).enough is None


def test_a_jpeg_has_to_be_noisier(tmp_path, monkeypatch):
    degradation = {"kind": "jpeg", "sigma": [0.0, 50.0], "share": 1.0}
    save(tmp_path / "blind.h5", tiny_model("denoise", "rgb", degradation=degradation, name="blind"))
    monkeypatch.setattr(models, "shipped", lambda: [("blind", tmp_path / "blind.h5")])
    for sigma, enough in ((5, 7.0), (15, None)):
        Image.fromarray(np.stack([noisy(sigma)] * 3, axis=2)).save(tmp_path / "photo.jpg", quality=95)
        photo = read(tmp_path / "photo.jpg")
        choice = Chooser(Request(spare=True)).choose(photo.pixels, photo.blocks)
        assert (3 < choice.sigma < 7) == (sigma == 5)
        assert choice.enough == enough


def test_too_little_noise_is_told_apart_from_a_gap_between_models(shipped, tmp_path):
    assert Chooser(Request(spare=True)).choose(noisy(3)).enough == pytest.approx(15 / 1.4)
    assert Chooser(Request(spare=True, sigma=3)).choose(noisy(3)).enough is None
    assert Chooser(Request(spare=True, model="dncnn-s15")).choose(noisy(3)).enough is None
    assert Chooser(Request()).choose(noisy(3)).enough is None
    (tmp_path / "dncnn-s50.h5").unlink()
    save(tmp_path / "dncnn-s50.h5", tiny_model(degradation={"sigma": 60.0}, name="dncnn-s50"))
    assert Chooser(Request(spare=True)).choose(noisy(42.5)).enough is None
