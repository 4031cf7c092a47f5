"""Signals: none is lost, and each lets a command clean up."""

import os
import signal
import subprocess
import sys
import time
import weakref

import pytest

from nspike.cli import group
from nspike.cli.interrupts import Ended


class Thing:
    pass


def drop(number):
    """Send a signal whose exception Python drops: that of a weak reference's callback."""
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    return reference


@pytest.fixture
def command(monkeypatch):
    def instead(function):
        monkeypatch.setattr(group.group, "main", lambda *args, **options: function())
        return group.main([])

    return instead


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_python_drops_comes_again(command, number, code):
    def work():
        drop(number)
        for _ in range(500):
            time.sleep(0.01)
        return 0

    start = time.monotonic()
    assert command(work) == code
    assert time.monotonic() - start < 4


def test_an_interrupt_that_is_dropped_at_the_end_is_told(command, capsys):
    assert command(lambda: drop(signal.SIGINT) and 0) == 130
    assert "interrupted" in capsys.readouterr().err


def test_handlers_are_put_back(command):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook
    assert command(lambda: 0) == 0
    assert ([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook) == before


def test_a_handler_of_the_callers_is_left_alone(command):
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert command(lambda: signal.raise_signal(signal.SIGTERM)) == 0
    finally:
        signal.signal(signal.SIGTERM, old)


PROGRAM = """
import sys, time
from nspike.cli import group
from nspike.files.atomic import replacing

def work(*args, **options):
    with replacing(sys.argv[1]):
        print("ready", flush=True)
        time.sleep(30)

group.group.main = work
sys.exit(group.main([]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_leaves_no_temporary_file(tmp_path, number, code):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path / "x.h5"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    assert len(list(tmp_path.iterdir())) == 1
    os.kill(process.pid, number)
    assert process.wait(10) == code
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


class Nameless(BaseException):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(("error", "code"), [(Nameless(), 4), (type("E", (Nameless, Exception), {})(), 70)])
def test_errors_of_any_class_are_told(command, capsys, error, code):
    def fail():
        raise error

    assert command(fail) == code
    assert "its message cannot be shown" in capsys.readouterr().err


def test_errors_of_the_system_name_their_file(command, capsys):
    assert command(lambda: os.stat("/nowhere/at/all")) == 3
    assert "/nowhere/at/all: No such file" in capsys.readouterr().err


def test_an_end_is_no_error():
    assert issubclass(Ended, SystemExit)


def test_closed_outputs(tmp_path):
    command = f"{sys.executable} -m nspike models >&- 2>&-"
    assert subprocess.run(command, shell=True, check=False).returncode == 0
