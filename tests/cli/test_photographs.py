"""`nspike run` as photographers use it: names, folders, streams, strength, time."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from nspike.cli import progress
from nspike.cli.group import main
from nspike.cli.meter import Meter
from nspike.errors import OutputError
from nspike.images import file as images
from nspike.restoration import estimate, job
from nspike.restoration.estimate import Estimate
from tests.cli.console import run
from tests.tiny import image, tiny_model


@pytest.fixture
def photos(here):
    """Two folders of noisy images, one inside the other."""
    for name in ("a.png", "deep/a.png", "deep/er/b.png", ".hidden/c.png"):
        path = here / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image(30, 33)).save(path)
    return here / "album"


def files(folder):
    """The images in a folder and its folders."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix != ".json"
                  and path.is_file())  # fmt: skip


# ----- names -----


def test_only_inputs_of_one_result_fail(here, photos, capsys):
    (photos / "a.jpg").write_bytes((photos / "a.png").read_bytes())
    (photos / "b.png").write_bytes((photos / "a.png").read_bytes())
    done = run(capsys, "run", "album", "-o", "out", "--sigma", 25, "--json", "r.json")
    assert done.code == 1
    message = "album/a.jpg and album/a.png would both be written to out/a.png"
    assert done.err.count(message) == 1
    assert files(here / "out") == ["b.png"]
    states = {entry["input"]: entry["state"] for entry in json.loads((here / "r.json").read_text())["files"]}
    assert states == {"album/a.jpg": "failed", "album/a.png": "failed", "album/b.png": "restored"}


def test_recursive_folders(here, photos, capsys):
    for name in ("x.png", "deep/y.png"):
        path = photos / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((photos / "a.png").read_bytes())
    for expected in ("3 restored", "3 skipped"):
        done = run(capsys, "run", "album", "-o", "album/out", "--recursive", "--sigma", 25)
        assert expected in done.out
        assert done.err.count("left out: 2 images in album/out, where results go") == 1
    assert files(photos / "out") == ["a.png", "deep/a.png", "deep/er/b.png", "deep/y.png", "x.png"]
    assert "left out" not in run(capsys, "run", "album", "-o", "out", "--recursive", "--sigma", 25).err
    assert files(here / "album" / "out" / "deep") == ["a.png", "er/b.png", "y.png"]


def test_format_quality_and_suffix(here, photos, capsys):
    assert run(capsys, "run", "photo.png", "--sigma", 25, "--format", "jpg", "--suffix", "-clean").code == 0
    low = run(capsys, "run", "photo.png", "--sigma", 25, "--format", "jpg", "--quality", 10, "--suffix", "-small")
    assert low.code == 0
    assert images.read(here / "photo-clean.jpg").format == "JPEG"
    assert (here / "photo-small.jpg").stat().st_size < (here / "photo-clean.jpg").stat().st_size
    assert run(capsys, "run", "album", "-o", "out", "--sigma", 25, "--format", "webp", "--suffix", "_x").code == 0
    assert files(here / "out") == ["a_x.webp"]


def test_another_quality_is_another_result(here, photos, capsys):
    arguments = ("run", "album", "-o", "out", "--sigma", 25, "--format", "jpg", "--quality")
    assert run(capsys, *arguments, 80).code == 0
    assert "1 skipped" in run(capsys, *arguments, 80).out
    assert "another quality" in run(capsys, *arguments, 70).err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quality", "90"], "--format jpg or webp"),
        (["-o", "x.png", "--format", "jpg"], "is no jpg"),
        (["-o", "x.png", "--suffix", "_y"], "leave out --suffix"),
        (["--suffix", "../y"], "slash"),
        (["--strength", "1.5"], "--strength"),
        (["-o", "-", "--json", "-"], "cannot both"),
        (["photos", "-o", "-"], "only one image"),
        (["-"], "with others"),
    ],
)
def test_usage(here, capsys, arguments, message):
    done = run(capsys, "run", "photo.png", *arguments)
    assert (done.code, message in done.err) == (2, True), done.err


def test_quiet(here, capsys):
    done = run(capsys, "run", "photo.png", "--sigma", 25, "--quiet", "--json", "r.json")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert json.loads((here / "r.json").read_text())["restored"] == 1
    assert "gone.png" in run(capsys, "run", "gone.png", "--quiet").err


# ----- what their files say, besides pixels -----


@pytest.fixture
def shot(here):
    """A JPEG as a camera makes it: turned, with EXIF, GPS, a resolution and a colour profile."""
    from tests.images.test_metadata import PROFILE, camera, photo

    return photo(here / "shot.jpg", camera(orientation=6), icc_profile=PROFILE)


@pytest.mark.parametrize("name", ["x.tif", "x.png", "x.jpg", "x.webp"])
@pytest.mark.parametrize("task", ["denoise", "superres"])
def test_a_cameras_photograph(here, capsys, shot, name, task):
    from tests.images.test_metadata import EXIF, GPS, PROFILE, opened

    how = ("--sigma", 25) if task == "denoise" else ("--scale", 2)
    done = run(capsys, "run", "shot.jpg", "-o", name, "--task", task, *how)
    assert (done.code, "warning" in done.out) == (0, False), done.err
    exif, _ = opened(here / name)
    times = 1 if task == "denoise" else 2
    assert (exif.get_ifd(EXIF)[0xA002], exif.get_ifd(EXIF)[0xA003]) == (16 * times, 24 * times)
    assert exif.get_ifd(GPS)[2] == (52, 31, 12)
    result = images.read(here / name)
    assert result.pixels.shape[:2] == (24 * times, 16 * times)
    assert result.icc_profile == PROFILE
    assert result.dpi == pytest.approx((150, 300), abs=0.013)


def test_what_a_format_cannot_hold_is_told_once(here, capsys, shot):
    done = run(capsys, "run", "shot.jpg", "-o", "x.bmp", "--sigma", 25, "--json", "r.json")
    told = "left out: EXIF and colour profile, which BMP cannot hold"
    assert (done.code, (done.out + done.err).count(told)) == (0, 1)
    assert json.loads((here / "r.json").read_text())["files"][0]["warnings"] == [told]
    assert images.read(here / "x.bmp").dpi == pytest.approx((150, 300), abs=0.013)
    assert told in run(capsys, "run", "shot.jpg", "-o", "y.bmp").out, "unchanged: too little noise"


# ----- what cannot be written -----


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_failed_write_leaves_no_record_behind(here, capsys, monkeypatch, overwrite):
    if overwrite:
        assert run(capsys, "run", "photos", "-o", "out", "--sigma", 25).code == 0
    before = {path: path.read_bytes() for path in (here / "out").glob("*")}

    def refused(path, *_, **__):
        raise OutputError(f"cannot write {path}: the system refuses")

    monkeypatch.setattr(job, "write_bytes", refused)
    done = run(capsys, "run", "photos", "-o", "out", "--sigma", 50, *overwrite)
    assert (done.code, done.err.count("the system refuses")) == (1, 2)
    assert {path: path.read_bytes() for path in (here / "out").glob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.png", "-o", "photo.png/x.png"], "photo.png is a file, not a folder"),
        (["photos", "-o", "photo.png/out"], "photo.png is a file, not a folder"),
        (["photo.png", "-o", "link/x.png"], "link is a link to what is not there"),
        (["photos", "-o", "link"], "link is a link to what is not there"),
        (["photo.png", "-o", "/proc/x.png"], "cannot write into /proc: no file can be made in /proc"),
        (["photos", "-o", "/proc/deep/er"], "cannot write into /proc/deep/er: no file can be made in /proc"),
        (
            ["photo.png", "-o", "x.png", "--json", "/proc/r.json"],
            "cannot write into /proc: no file can be made in /proc",
        ),
    ],
)
def test_where_nothing_can_be_written_is_told_before_the_work(here, capsys, monkeypatch, arguments, message):
    (here / "link").symlink_to("gone")
    before = files(here)
    monkeypatch.setattr(job, "restore", None)
    done = run(capsys, "run", *arguments, "--sigma", 25)
    assert (done.code, done.err.count(message)) == (5, 1), done.err
    assert files(here) == before


# ----- streams -----


def piped(data, *arguments):
    """`nspike run` with bytes on standard input."""
    command = [sys.executable, "-m", "nspike", "run", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=60, env=os.environ)


def test_streams(here, capsys):
    model = here.parent / "shelf" / "dncnn-s25.h5"
    assert run(capsys, "run", "photo.png", "--model", model, "-o", "file.png").code == 0
    done = piped((here / "photo.png").read_bytes(), "-", "--model", model, "--json", "r.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (here / "file.png").read_bytes()
    assert b"- -> -" in done.stderr
    assert json.loads((here / "r.json").read_text())["files"][0]["output"] == "-"
    done = piped((here / "photo.png").read_bytes(), "-", "--model", model, "--format", "jpg")
    assert Image.open(io.BytesIO(done.stdout)).format == "JPEG"
    done = piped((here / "photo.png").read_bytes(), "-", "--model", model, "-o", "second.png")
    assert (here / "second.png").read_bytes() == (here / "file.png").read_bytes()
    assert b"second.png" in done.stdout
    done = piped(b"", "photo.png", "--model", model, "-o", "-")
    assert done.stdout == (here / "file.png").read_bytes()
    done = piped(b"no image", "-", "--model", model)
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"standard input: is not an image" in done.stderr


# ----- no change, strength -----


def test_an_image_with_little_noise_is_unchanged(here, capsys):
    done = run(capsys, "run", "photo.png", "--json", "r.json", "--reference", "clean.png")
    assert done.code == 0
    assert "the image is unchanged" in done.out
    assert np.array_equal(images.read(here / "photo_denoise.png").pixels, images.read(here / "photo.png").pixels)
    report = json.loads((here / "r.json").read_text())
    assert (report["unchanged"], report["files"][0]["state"]) == (1, "unchanged")
    assert report["files"][0]["quality"]["input"] == report["files"][0]["quality"]["output"]
    for number, arguments in enumerate((["--sigma", 15], ["--model", "dncnn-s15"], ["--plugin", "if"], ["-T", 4])):
        done = run(capsys, "run", "photo.png", *arguments, "-o", f"{number}.png")
        assert "unchanged" not in done.out
        assert not np.array_equal(images.read(here / f"{number}.png").pixels, images.read(here / "photo.png").pixels)


def test_unchanged_images_of_a_folder_are_skipped_the_second_time(here, capsys):
    assert "2 unchanged" in run(capsys, "run", "photos", "-o", "out").out
    assert "2 skipped" in run(capsys, "run", "photos", "-o", "out").out


@pytest.mark.parametrize("name", ["dncnn-s25", "aodnet", "vdsr"])
@pytest.mark.parametrize("ann", [[], ["--ann"]], ids=["snn", "ann"])
def test_strength_blends_before_the_one_rounding(here, capsys, name, ann):
    from nspike.restoration.opening import load

    model = load(here.parent / "shelf" / f"{name}.h5")
    pixels = images.read(here / "hazy.png").pixels
    exact = model.run(pixels / 255.0, ann=bool(ann)).image
    before = model.run(pixels / 255.0, strength=0.0).image
    if name != "vdsr":
        assert np.array_equal(before, pixels / 255.0)
    done = run(capsys, "run", "hazy.png", "--model", name, *ann, "--strength", 0.3, "-o", "x.png", "--json", "r.json")
    assert done.code == 0, done.err
    expected = 0.3 * exact + 0.7 * before
    got = images.read(here / "x.png").pixels
    assert np.abs(255 * expected - got).max() <= 0.5 + 1e-6
    assert json.loads((here / "r.json").read_text())["files"][0]["strength"] == 0.3


def test_strength_stands_in_the_record(here, capsys):
    arguments = ("run", "photos", "-o", "out", "--sigma", 25, "--strength")
    assert run(capsys, *arguments, 0.5).code == 0
    assert json.loads((here / "out" / "p0.nspike.json").read_text())["settings"]["strength"] == 0.5
    assert "another strength" in run(capsys, *arguments, 0.25).err


# ----- time -----


def test_a_long_run_is_announced(here, capsys, monkeypatch):
    monkeypatch.setattr(job, "estimated", lambda *_, **__: Estimate(1500.0, 420.0))
    done = run(capsys, "run", "photo.png", "--sigma", 25)
    assert "about 25 min; the plain network takes 7 min: --ann" in done.err
    done = run(capsys, "run", "photos", "-o", "out", "--sigma", 25)
    assert done.err.count("the first of 2 images: about 25 min") == 1
    assert "about" not in run(capsys, "run", "photo.png", "--sigma", 25, "-o", "q.png", "--quiet").err


def test_an_estimate_is_measured_on_a_part(monkeypatch):
    seconds, sizes = iter(range(0, 1000, 10)), []
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: float(next(seconds)))
    monkeypatch.setattr(estimate, "restore", lambda _, pixels, **how: sizes.append((pixels.shape, how["ann"])))
    monkeypatch.setattr(estimate, "_WORTH", {True: 0, False: 0})
    pixels = np.zeros((256, 512, 3), np.uint8)
    result = estimate.estimated(tiny_model(), pixels, None, memory=1 << 28)
    assert result == Estimate(10.0 * 3 * 8, 10.0 * 3 * 8)
    assert sizes == [((16, 16), False), ((128, 128), False), ((16, 16), True), ((128, 128), True)]
    result = estimate.estimated(tiny_model("superres", "y", "add"), pixels, 2, ann=True, memory=1 << 28)
    assert (result, sizes[-1]) == (Estimate(10.0 * 32), ((64, 64, 3), True))


def test_short_runs_are_not_measured(monkeypatch):
    monkeypatch.setattr(estimate, "restore", None)
    assert estimate.estimated(tiny_model(), image(), None, memory=1 << 28) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(31, "30 s"), (89, "90 s"), (100, "2 min"), (1510, "25 min"), (7500, "2.1 h")]
)
def test_times_of_estimates(seconds, text):
    assert progress.about(seconds) == text


def test_results_stand_on_lines_of_their_own(here, capsys, monkeypatch):
    """What a terminal shows: each line as it was last written over, cut where it was cleared."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    (here / "photos" / "zz.png").write_bytes(b"no image")
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("sys.stderr", screen)
    assert main(["run", "photos", "-o", "out", "--sigma", "25"]) == 1
    lines = [line.rpartition("\r\033[K")[2] for line in screen.getvalue().rstrip("\n").split("\n")]
    assert lines[-2:] == [
        "photos/zz.png: is not an image in a known format (BMP, GIF, JPEG, PNG, TIFF, WebP)",
        "2 restored, 0 skipped, 1 failed",
    ]
    assert not any("percent" in line for line in lines)


def test_progress_off_a_terminal_is_a_line_every_30_s(capsys, monkeypatch):
    monkeypatch.delenv("NSPIKE_PROGRESS", raising=False)
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Meter(1) as meter:
        for done in range(1, 1001):
            now[0] += 0.1
            meter.image(0)(done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["percent: 30/100", "percent: 60/100", "percent: 90/100"]
