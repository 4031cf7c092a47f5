"""-q, -v, and the JSON of a failure."""

import json

import click
import pytest

from nspike import errors
from tests.cli.console import run


def error_of(done):
    """The error that standard output holds as JSON, and nothing else."""
    values = json.loads(done.out)
    assert list(values) == ["error"]
    assert values["error"]["exit_code"] == done.code
    return values["error"]


# ----- the JSON of a failure -----


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (errors.DifferenceError("spikes differ"), "DifferenceError", "spikes differ"),
        (errors.BadInputError("no image"), "BadInputError", "no image"),
        (errors.PluginError("unknown"), "PluginError", "unknown"),
        (MemoryError(), "MemoryError", "there is not enough memory"),
        (FileNotFoundError(2, "No such file", "a.png"), "FileNotFoundError", "a.png: No such file"),
        (click.BadParameter("wrong"), "BadParameter", "wrong"),
        (RuntimeError("a slip of ours"), "RuntimeError", "unexpected RuntimeError: a slip of ours"),
        (KeyboardInterrupt(), "KeyboardInterrupt", "interrupted"),
    ],
)
def test_every_error_is_an_object(capsys, planted, error, kind, message):
    def fail(json_file):
        raise error

    planted(click.option("--json", "json_file")(fail))
    for words in (["--json", "-"], ["--json=-"]):
        done = run(capsys, "planted", *words)
        assert error_of(done)["kind"] == kind
        assert error_of(done)["message"].startswith(message) or message in error_of(done)["message"]
        assert message in done.err
    assert run(capsys, "planted", "--json", "x.json").out == ""
    assert run(capsys, "planted").out == ""


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["info"], "MissingParameter"),
        (["modls"], "UsageError"),
        (["run", "--nothing"], "NoSuchOption"),
        (["run", "--scale", "x"], "BadParameter"),
        (["plugin", "check"], "MissingParameter"),
        (["audit"], "UsageError"),
        (["audit", "none.png"], "BadInputError"),
        (["plugins", "--kind", "neurone"], "PluginError"),
        (["run", "none.png"], "BadInputError"),
    ],
)
def test_real_failures(capsys, words, kind):
    done = run(capsys, *words, "--json", "-")
    assert error_of(done)["kind"] == kind
    assert done.err


def test_an_object_is_printed_once(capsys, planted):
    from nspike.cli.output import emit

    def fail(json_file):
        emit("", {"a": 1}, json_file)
        raise errors.OutputError("later")

    planted(click.option("--json", "json_file")(fail))
    done = run(capsys, "planted", "--json", "-")
    assert (done.code, json.loads(done.out)["a"]) == (5, 1)
    assert error_of(run(capsys, "info", "--json", "-")), "an earlier command's JSON is forgotten"


def test_behind_two_dashes_stand_arguments(capsys):
    assert run(capsys, "info", "--", "--json", "-").out == ""


# ----- quiet -----


@pytest.mark.parametrize("words", [["-q", "models"], ["models", "--quiet"], ["-q", "models", "-q"]])
def test_quiet(capsys, words):
    done = run(capsys, *words)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert run(capsys, "models").out


def test_quiet_prints_the_json(capsys):
    assert json.loads(run(capsys, "models", "-q", "--json", "-").out)["models"]


def test_quiet_prints_errors(capsys):
    for words in (["-q", "info", "none"], ["info", "none", "-q"]):
        done = run(capsys, *words)
        assert (done.code, done.out) == (3, "")
        assert "there is no model 'none'" in done.err
    assert "Missing argument" in run(capsys, "-q", "info").err


def test_quiet_drops_warnings_notes_and_progress(capsys, planted, monkeypatch):
    import sys
    import warnings

    from nspike.cli.progress import Progress
    from nspike.cli.streams import print_error

    def speak():
        warnings.warn("kernels cannot be kept", RuntimeWarning, stacklevel=1)
        click.echo("a note", err=True)
        with Progress(1, "images") as progress:
            progress.advance()
        print("text")
        print_error("one failed")
        click.echo(b"bytes")
        sys.stdout.flush()

    monkeypatch.setenv("NSPIKE_PROGRESS", "1")
    planted(speak)
    loud = run(capsys, "planted")
    assert all(text in loud.err for text in ("kernels", "a note", "images: 1/1", "one failed"))
    quiet = run(capsys, "planted", "-q")
    assert (quiet.out, quiet.err) == ("bytes\n", "one failed\n"), "bytes are an image on standard output"


def test_a_quiet_run(here, capsys):
    done = run(capsys, "run", "photo.png", "--sigma", 25, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (here / "photo_denoise.png").exists()


def test_a_quiet_audit_still_says_what_does_not_hold(here, capsys):
    assert run(capsys, "-q", "audit", "photo.png", "--sigma", 25, "--json", "c.json").out == ""
    done = run(capsys, "-q", "audit", "--verify", "c.json")
    assert (done.code, done.out, done.err) == (0, "", "")
    values = json.loads((here / "c.json").read_text())
    values["totals"]["spikes"] += 1
    (here / "c.json").write_text(json.dumps(values))
    done = run(capsys, "-q", "audit", "--verify", "c.json")
    assert (done.code, done.out, "does not hold" in done.err) == (1, "", True)


def test_quiet_in_a_folder_names_what_failed(here, capsys):
    (here / "some").mkdir()
    (here / "some" / "a.png").write_bytes(b"no image")
    (here / "some" / "b.png").write_bytes((here / "photo.png").read_bytes())
    done = run(capsys, "run", "some", "--sigma", 25, "-o", "out", "-q")
    assert (done.code, done.out) == (1, "")
    assert "a.png" in done.err
    assert len(done.err.splitlines()) == 1


# ----- verbose -----


def test_energy_only_where_asked_for(here, capsys):
    words = ["run", "photo.png", "--sigma", 25, "--overwrite"]
    assert "energy" not in run(capsys, *words).out
    for done in (run(capsys, *words, "-v"), run(capsys, "--verbose", *words)):
        assert "energy    horowitz45 (modelled, not measured)" in done.out
    assert "energy    memory45" in run(capsys, *words, "--plugin", "memory45").out, "it was named"
    assert "energy, modelled" in run(capsys, "audit", "photo.png", "--sigma", 25).out
