"""`nspike completion`, and what the scripts ask for while somebody types."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from nspike.cli.completion import SHELLS
from nspike.cli.group import COMMANDS
from tests.cli.console import run


def completed(*words, shell="bash"):
    """What a shell is told behind `nspike`, for the last of `words`: pairs of a type and a value."""
    asked = {
        "_NSPIKE_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["nspike", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = (
        "import atexit, sys; from nspike.cli.group import main\n"
        "atexit.register(lambda: print(*[m for m in ('numba', 'scipy') if m in sys.modules], file=sys.stderr))\n"
        "sys.exit(main([]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked)
    assert (done.returncode, done.stderr) == (0, "\n"), "and Numba was not imported"
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines() if line]


def plain(*words):
    return [value for kind, value in completed(*words) if kind == "plain"]


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts(capsys, shell):
    done = run(capsys, "completion", shell)
    assert done.code == 0
    assert f"_NSPIKE_COMPLETE={shell}_complete" in done.out
    report = json.loads(run(capsys, "completion", shell, "--json", "-").out)
    assert (report["shell"], report["script"]) == (shell, done.out)
    assert run(capsys, "completion", shell, "--quiet").out == done.out, "it was asked for"
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=done.out, text=True).returncode == 0


def test_an_unknown_shell(capsys):
    done = run(capsys, "completion", "tcsh")
    assert (done.code, done.out) == (2, "")


def test_commands():
    assert plain("") == list(COMMANDS)
    assert plain("tra") == ["trace", "train"]
    assert plain("plugin", "") == ["check", "new"]
    assert plain("no-such-command", "x") == []


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["run", "--task", "de"], ["denoise", "dehaze", "derain", "deblur", "defocus"]),
        (
            ["info", "dncnn"],
            [
                "dncnn-s15",
                "dncnn-s15-few",
                "dncnn-s25",
                "dncnn-s25-few",
                "dncnn-s25-few-fast",
                "dncnn-s50",
                "dncnn-s50-few",
            ],
        ),
        (["audit", "--model", "v"], ["vdsr", "vdsr-few"]),
        (["run", "--plugin", "mp"], ["mprn", "mprn_beta"]),
        (["convert", "--converter", "r"], ["rueckauer"]),
        (["plugins", "--kind", "n"], ["neuron", "network"]),
        (["plugin", "check", "li"], ["lif", "lif_hard"]),
        (["train", "aod"], ["aodnet"]),
        (["compare", "--methods", "rueckauer,bu"], ["rueckauer,burst"]),
        (["compare", "--network", "vd"], ["vdsr", "vdsr-few"]),
        (["trace", "--over"], ["--overwrite"]),
    ],
)
def test_names(words, names):
    assert plain(*words) == names


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["run", "pho"], "file"),
        (["info", "m"], "file"),
        (["evaluate", "m.h5", "--data", "x"], "dir"),
        (["compare", "-o", "t"], "dir"),
    ],
)
def test_paths_are_left_to_the_shell(words, kind):
    assert completed(*words)[0] == (kind, words[-1])
