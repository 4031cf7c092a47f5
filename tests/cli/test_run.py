"""`nspike run`, through real files."""

import errno
import json
import os

import numpy as np
import pytest
from PIL import Image

import nspike
from nspike.errors import ModelError
from nspike.images import file as images
from nspike.images.metrics import psnr
from nspike.model import shipped as models
from nspike.model.file import save
from nspike.restoration import job
from nspike.restoration.bundled import image_for
from tests.cli.console import interrupt, run
from tests.tiny import image, tiny_model

MODEL = tiny_model(degradation={"sigma": 8.0})


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, with tiny models beside it, which also stand in for those that are shipped."""
    shipped = []
    for name, model in {
        "dncnn-s25": MODEL,
        "aodnet": tiny_model("dehaze", "rgb", "image"),
        "vdsr": tiny_model("superres", "y", "add"),
    }.items():
        save(tmp_path / f"{name}.h5", model)
        shipped.append((name, tmp_path / f"{name}.h5"))
    monkeypatch.setattr(models, "shipped", lambda: sorted(shipped))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def save_image(path, *shape, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image(*shape, **options)).save(path)
    return path


@pytest.fixture
def folder(here):
    for i in range(3):
        save_image(here / "in" / f"p{i}.png", 30 + i, 33, 3 if i == 2 else None, seed=i)
    return here / "in"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def load(path):
    return json.loads(path.read_text())


# ----- one image -----


def test_no_image_restores_a_bundled_one(here, capsys):
    done = run(capsys, "run", "--plugin", "mprn")
    assert done.code == 0
    assert "bundled" in done.out
    assert "chelsea_noisy25.png -> chelsea_noisy25_denoise.png" in done.out
    assert "quality   PSNR 20." in done.out
    assert "not the shipped" not in done.out
    assert names(here) == ["chelsea_noisy25_denoise.png"]


@pytest.mark.parametrize(("task", "output"), [("dehaze", "coffee_hazy"), ("superres", "astronaut_lr")])
def test_no_image_but_a_task(here, capsys, task, output):
    done = run(capsys, "run", "--task", task, "--ann")
    assert done.code == 0
    assert "quality" in done.out
    assert names(here) == [f"{output}_{task}.png"]


def test_one_image(here, capsys):
    save_image(here / "a.png", 40, 48)
    done = run(capsys, "run", "a.png", "--json", "r.json", "-v")
    assert done.code == 0
    for text in ("spikes", "synops", "modelled, not measured", "ANN", "MP/s", "noise estimated"):
        assert text in done.out
    assert names(here) == ["a.png", "a_denoise.png", "r.json"]
    pixels = image(40, 48)
    result = MODEL.run(pixels)
    assert np.array_equal(images.read("a_denoise.png").pixels, result.image)
    report = load(here / "r.json")["files"][0]
    assert report["spikes"] == result.ledger.spikes
    assert report["synops"] == result.ledger.synops
    assert (report["neuron"], report["T"], report["state"]) == ("mprn", 4, "restored")
    assert report["energy"]["horowitz45"]["columns"]["paper"]["ann"] > 0


def test_json_alone_on_stdout(here, capsys):
    save_image(here / "a.png")
    done = run(capsys, "run", "a.png", "--json", "-")
    assert json.loads(done.out)["restored"] == 1


def test_an_output_that_exists(here, capsys):
    save_image(here / "a.png")
    (here / "out.png").write_bytes(b"precious")
    done = run(capsys, "run", "a.png", "-o", "out.png")
    assert done.code == 5
    assert "--overwrite" in done.err
    assert (here / "out.png").read_bytes() == b"precious"
    assert run(capsys, "run", "a.png", "-o", "out.png", "--overwrite").code == 0
    assert images.read("out.png").pixels.shape == (40, 48)


def test_an_input_is_never_replaced(here, capsys):
    before = save_image(here / "a.png").read_bytes()
    done = run(capsys, "run", "a.png", "-o", "./a.png", "--overwrite")
    assert done.code == 2
    assert (here / "a.png").read_bytes() == before


def test_parts_are_swapped(here, capsys):
    save_image(here / "a.png")
    done = run(capsys, "run", "a.png", "--plugin", "if", "--plugin", "head:rate", "-T", 7, "--plugin", "memory45")
    assert done.code == 0
    assert "not the shipped configuration: neuron if instead of mprn" in done.out
    assert "T = 7 instead of 4" in done.out
    assert "memory45" in done.out
    assert "horowitz45" not in done.out
    expected = MODEL.run(image(), neuron="if", head="rate", timesteps=7).image
    assert np.array_equal(images.read("a_denoise.png").pixels, expected)


def test_parameters_are_set_and_their_cost_is_told(here, capsys):
    save_image(here / "a.png")
    save_image(here / "clean.png", seed=1)
    done = run(capsys, "run", "a.png", "--set", "v_init=0.5", "--reference", "clean.png")
    assert "not the shipped configuration: v_init = 0.5 instead of 0" in done.out
    changed, shipped = MODEL.run(image(), parameters={"v_init": 0.5}).image, MODEL.run(image()).image
    assert np.array_equal(images.read("a_denoise.png").pixels, changed)
    clean = images.read("clean.png").pixels
    cost = psnr(changed, clean, 255) - psnr(shipped, clean, 255)
    assert f"{abs(cost):.2f} dB {'less' if cost < 0 else 'more'} than the" in done.out
    assert (
        "shipped configuration gives" not in run(capsys, "run", "a.png", "-o", "b.png", "--reference", "clean.png").out
    )
    assert run(capsys, "run", "a.png", "-o", "c.png", "--ann", "--set", "v_init=0.5").code == 2


def test_another_neuron_on_a_shipped_model_still_restores(tmp_path, monkeypatch, capsys):
    """v_init = 0.5 of mprn stays: without it the output is no better than the input."""
    monkeypatch.chdir(tmp_path)
    noisy, clean = image_for("denoise")
    for path in (noisy, clean):
        pixels = images.read(path).pixels[:48, :48]
        images.write(path.name, images.ImageData(pixels))
    arguments = (noisy.name, "--model", "dncnn-s25", "--reference", clean.name, "--plugin", "if", "--json", "-")
    quality = json.loads(run(capsys, "run", *arguments).out)["files"][0]["quality"]
    assert quality["output"]["psnr"] > quality["input"]["psnr"] + 5
    assert quality["shipped"]["psnr"] > quality["output"]["psnr"]


def test_results_of_other_parameters_are_others(here, folder, capsys):
    assert run(capsys, "run", "in", "-o", "out").code == 0
    assert "3 skipped" in run(capsys, "run", "in", "-o", "out").out
    done = run(capsys, "run", "in", "-o", "out", "--set", "v_init=0.5")
    assert (done.code, "another parameters" in done.err) == (1, True)


def test_a_plugin_from_a_file(here, capsys):
    save_image(here / "a.png")
    (here / "mine.py").write_text(
        "from nspike import Neuron, hookimpl\n"
        "@hookimpl\n"
        "def register_neurons(register):\n"
        "    register(Neuron(name='trial-of-run', summary='plain', source='a test'))\n"
    )
    done = run(capsys, "run", "a.png", "--plugin", "mine.py")
    assert done.code == 0
    assert "neuron trial-of-run instead of mprn" in done.out


def test_reference(here, capsys):
    save_image(here / "a.png")
    save_image(here / "clean.png", seed=5)
    done = run(capsys, "run", "a.png", "--reference", "clean.png", "--json", "r.json")
    assert "quality   PSNR" in done.out
    quality = load(here / "r.json")["files"][0]["quality"]
    a, b = image() / 255.0, image(seed=5) / 255.0
    assert quality["input"]["psnr"] == nspike.images.metrics.psnr(a, b, 1.0)
    assert set(quality["output"]) == {"psnr", "ssim_gauss11", "ssim_uniform7", "mae"}


def test_reference_of_another_size(here, capsys):
    save_image(here / "a.png")
    save_image(here / "clean.png", 20, 20)
    done = run(capsys, "run", "a.png", "--reference", "clean.png")
    assert done.code == 3
    assert "20x20 grey" in done.err
    assert names(here) == ["a.png", "clean.png"]


def test_enlarging_with_alpha_and_16_bits(here, capsys):
    pixels = image(20, 24, 3)
    Image.fromarray(np.dstack([pixels, np.full((20, 24), 200, np.uint8)])).save("a.png")
    images.write("deep.png", images.ImageData(image(20, 24, 3, np.uint16)))
    assert run(capsys, "run", "a.png", "--task", "superres", "--scale", 3).code == 0
    assert run(capsys, "run", "deep.png", "--task", "superres", "--scale", 2).code == 0
    result = images.read("a_superres.png")
    assert result.pixels.shape == (60, 72, 3)
    assert (result.alpha == 200).all()
    deep = images.read("deep_superres.png").pixels
    assert (deep.dtype, deep.shape) == (np.uint16, (40, 48, 3))


def test_tiles_and_memory_change_nothing(here, capsys):
    save_image(here / "a.png", 150, 140)
    run(capsys, "run", "a.png", "-o", "one.png", "--threads", 1, "--tile", 64)
    run(capsys, "run", "a.png", "-o", "two.png", "--threads", 2, "--memory", "1G")
    assert np.array_equal(images.read("one.png").pixels, images.read("two.png").pixels)


def test_a_plain_ann(here, capsys):
    from dataclasses import replace

    save(here / "ann.h5", replace(MODEL, spiking=None))
    save_image(here / "a.png")
    done = run(capsys, "run", "a.png", "--model", "ann.h5")
    assert done.code == 3
    assert "--ann" in done.err
    done = run(capsys, "run", "a.png", "--model", "ann.h5", "--ann")
    assert done.code == 0
    assert "as a plain ANN" in done.out
    assert "spikes" not in done.out
    assert np.array_equal(images.read("a_denoise.png").pixels, MODEL.run(image(), ann=True).image)


# ----- many -----


def test_a_folder_is_run_and_resumed(folder, here, capsys):
    (folder / "bad.png").write_bytes(b"no image")
    done = run(capsys, "run", "in", "-o", "out", "--sigma", 25)
    assert done.code == 1
    assert "3 restored, 0 skipped, 1 failed" in done.out
    assert (done.out + done.err).count("in/bad.png: is not an image") == 1
    records = [f"p{i}.nspike.json" for i in range(3)]
    assert names(here / "out") == sorted([f"p{i}.png" for i in range(3)] + records)
    record = load(here / "out" / "p0.nspike.json")
    assert record["nspike"] == nspike.__version__
    assert record["output"]["sha256"] == images.read(here / "out" / "p0.png").sha256
    assert record["settings"]["input"] == images.read(folder / "p0.png").sha256
    assert record["report"]["spikes"] == MODEL.run(image(30, 33, seed=0)).ledger.spikes
    assert str(here) not in (here / "out" / "p0.nspike.json").read_text()

    (folder / "bad.png").unlink()
    (here / "out" / "p1.png").unlink()
    before = (here / "out" / "p0.png").stat().st_mtime_ns
    done = run(capsys, "run", "in", "-o", "out", "--sigma", 25, "--threads", 1, "--json", "r.json")
    assert done.code == 0
    assert "1 restored, 2 skipped, 0 failed" in done.out
    assert (here / "out" / "p0.png").stat().st_mtime_ns == before
    assert load(here / "r.json")["files"][0]["spikes"] == record["report"]["spikes"]

    done = run(capsys, "run", "in", "-o", "out", "--sigma", 25, "-T", 5)
    assert done.code == 1
    assert "0 restored, 0 skipped, 3 failed" in done.out
    assert "other settings (another T)" in done.err
    assert run(capsys, "run", "in", "-o", "out", "--sigma", 25, "-T", 5, "--overwrite").code == 0
    assert load(here / "out" / "p0.nspike.json")["settings"]["T"] == 5


def test_files_and_globs_without_an_output(folder, here, capsys):
    done = run(capsys, "run", "in/p0.png", "in/p[12].png", "in/missing.png")
    assert done.code == 1
    assert "in/missing.png: No such file" in done.err
    assert "p2_denoise.png" in names(here)
    assert "p2_denoise.nspike.json" in names(here)


def test_outputs_of_one_name(folder, here, capsys):
    save_image(here / "in2" / "p0.jpg")
    done = run(capsys, "run", "in", "in2", "-o", "out")
    assert done.code == 1
    assert "in/p0.png and in2/p0.jpg would both be written to out/p0.png" in done.err
    assert names(here / "out") == ["p1.nspike.json", "p1.png", "p2.nspike.json", "p2.png"]
    done = run(capsys, "run", "in/p0.png", "in2/p0.jpg", "-o", "none")
    assert (done.code, (here / "none").exists()) == (2, False), "nothing would be left to do"


def test_a_folder_needs_an_output(folder, capsys):
    assert run(capsys, "run", "in").code == 2


def test_references_of_a_folder(folder, here, capsys):
    for i in range(3):
        save_image(here / "clean" / f"p{i}.png", 30 + i, 33, 3 if i == 2 else None, seed=9)
    done = run(capsys, "run", "in", "-o", "out", "--reference", "clean")
    assert done.code == 0
    assert done.out.count("quality") == 3


def test_what_is_wrong_for_all_stops_the_run(folder, here, capsys, monkeypatch):
    assert run(capsys, "run", "in", "-o", "out", "--tile", 65).code == 2

    def broken(*_, **__):
        raise ModelError("broken in the middle")

    monkeypatch.setattr(job, "restore", broken)
    assert run(capsys, "run", "in", "-o", "out").code == 3


# ----- what goes wrong -----


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-T", "0"], 2, "at least 1"),
        (["-T", "200"], 2, "at most T = 125"),
        (["--threads", "0"], 2, "--threads"),
        (["--tile", "100"], 2, "multiple of 64"),
        (["--memory", "1K"], 2, "allow more (--memory 1M)"),
        (["--memory", "plenty"], 2, "512M"),
        (["--max-pixels", "100"], 3, "too large"),
        (["--task", "paint"], 2, "denoise"),
        (["--task", "deblur"], 3, "no model for the task deblur"),
        (["--sigma", "-1"], 2, "out of range"),
        (["--sigma", "25", "--scale", "2"], 2, "one of them"),
        (["--task", "superres", "--scale", "9"], 3, "9"),
        (["--model", "dncn-s25"], 3, "'dncnn-s25'"),
        (["--model", "a.png"], 3, "not an nspike model file"),
        (["--plugin", "mprm"], 4, "'mprn'"),
        (["--plugin", "rueckauer"], 2, "a plugin of kind converter and method cannot be used here"),
        (["--plugin", "dncnn"], 2, "a plugin of kind network cannot be used here"),
        (["--plugin", "if", "--plugin", "lif"], 2, "two plugins of kind neuron are given, if and lif"),
        (["--plugin", "missing.py"], 4, "missing.py"),
        (["--ann", "-T", "4"], 2, "plain ANN"),
        (["-o", "out.xyz"], 2, "out.xyz"),
        (["-o", "a.png/x.png"], 5, "a.png is a file, not a folder"),
        (["-o", "x.png", "--json", "a.png/r.json"], 5, "a.png is a file, not a folder"),
        (["--reference", "gone.png"], 3, "gone.png"),
        (["nothing*.png"], 3, "no file matches"),
    ],
)
def test_errors(here, capsys, arguments, code, message):
    save_image(here / "a.png")
    done = run(capsys, "run", "a.png", *arguments)
    assert (done.code, message in done.err) == (code, True), done
    assert names(here) == ["a.png"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.png", b""),
        ("cut.png", None),
        ("text.jpg", b"hello"),
        ("gone.png", False),
    ],
)
def test_bad_images(here, capsys, name, content):
    if content is None:
        content = save_image(here / "a.png").read_bytes()[:-60]
        (here / "a.png").unlink()
    if content is not False:
        (here / name).write_bytes(content)
    done = run(capsys, "run", name)
    assert done.code == 3
    assert name in done.err
    assert not list(here.glob("*_denoise*"))


def test_one_pixel(here, capsys):
    save_image(here / "a.png", 1, 1)
    done = run(capsys, "run", "a.png")
    assert done.code == 0
    assert "too small to estimate" in done.out


def test_alpha_is_refused_before_the_work(here, capsys, monkeypatch):
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save("a.png")
    monkeypatch.setattr(job, "restore", lambda *_, **__: pytest.fail("worked first"))
    done = run(capsys, "run", "a.png", "-o", "a.jpg")
    assert done.code == 5
    assert "transparency" in done.err


def test_a_full_disk(folder, here, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    done = run(capsys, "run", "in/p0.png")
    assert done.code == 5
    assert "No space left" in done.err
    assert run(capsys, "run", "in", "-o", "out").code == 5
    assert names(here) == ["in", "out"]
    assert names(here / "out") == []


def test_control_c(folder, here, capsys, monkeypatch):
    calls = []
    real = job.restore

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(job, "restore", interrupted)
    done = run(capsys, "run", "in", "-o", "out")
    assert done.code == 130
    assert "1 of 3 images done; the same command goes on from there" in done.err
    assert names(here / "out") == ["p0.nspike.json", "p0.png"]
    monkeypatch.setattr(job, "restore", real)
    assert "2 restored, 1 skipped" in run(capsys, "run", "in", "-o", "out").out


def test_control_c_from_outside(here, tmp_path):
    save_image(here / "a.png", 800, 800)
    interrupt("run", "a.png", "-T", 60, "--tile", 64, "--model", tmp_path / "dncnn-s25.h5")
    assert names(here) == ["a.png"]


def test_progress_is_on_stderr(here, capsys, monkeypatch):
    monkeypatch.setenv("NSPIKE_PROGRESS", "1")
    save_image(here / "a.png")
    done = run(capsys, "run", "a.png")
    assert "percent" in done.err
    assert "percent" not in done.out
