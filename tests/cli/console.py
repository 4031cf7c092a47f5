"""Runs the command line, in this process or in one of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial

from nspike.cli.group import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def run(capsys, *args):
    """The command line in this process: quick. pytest's `capsys` catches what it prints."""
    capsys.readouterr()
    code = main([str(arg) for arg in args])
    caught = capsys.readouterr()
    assert "Traceback" not in caught.err
    return Outcome(code, caught.out, caught.err)


def launch(*args, **environment):
    """The command line as a user starts it, in a process of its own."""
    command = [sys.executable, "-m", "nspike", *(str(arg) for arg in args)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=60)
    return Outcome(done.returncode, done.stdout, done.stderr)


def start(command, **options):
    """A process that Ctrl-C reaches, even where the tests themselves run in the background, which ignores it."""
    heed = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed, **options)


def interrupt(*arguments, progress=r"percent: [1-9]\d?/"):
    """Start nspike, press Ctrl-C once it is at work, and check that it ends as interrupted."""
    command = [sys.executable, "-m", "nspike", *(str(argument) for argument in arguments)]
    child = start(command, env=os.environ | {"NSPIKE_PROGRESS": "1"})
    while not re.search(progress, child.stderr.readline()):
        assert child.poll() is None
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
