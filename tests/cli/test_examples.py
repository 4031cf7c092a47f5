import json

from nspike.restoration.bundled import image_for
from tests.cli.console import run

NAMES = ["clean.png", "hazy.png", "hazy_clean.png", "noisy.png", "small.png", "small_clean.png"]


def test_the_bundled_images_are_written(tmp_path, capsys):
    folder = tmp_path / "images"
    assert run(capsys, "examples", folder).code == 0
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    for task, degraded, clean in (
        ("denoise", "noisy", "clean"),
        ("dehaze", "hazy", "hazy_clean"),
        ("superres", "small", "small_clean"),
    ):
        sources = image_for(task)
        for name, source in zip((degraded, clean), sources, strict=True):
            assert (folder / f"{name}.png").read_bytes() == source.read_bytes()


def test_nothing_is_replaced(tmp_path, capsys):
    (tmp_path / "noisy.png").write_bytes(b"mine")
    outcome = run(capsys, "examples", tmp_path)
    assert (outcome.code, "noisy.png: it exists already; --overwrite" in outcome.err) == (5, True)
    assert [path.name for path in tmp_path.iterdir()] == ["noisy.png"]
    outcome = run(capsys, "examples", tmp_path, "--overwrite", "--json", "-")
    assert sorted(json.loads(outcome.out)["files"]) == NAMES
    assert (tmp_path / "noisy.png").read_bytes() != b"mine"
