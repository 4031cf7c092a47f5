import contextlib
import importlib
import importlib.metadata
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import pytest

from nspike import errors
from nspike.cli import group as group_module
from nspike.cli.group import COMMANDS, group, main
from tests.cli.console import launch, run, start

ROOT = Path(__file__).parents[2]


# ----- help -----


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from nspike.cli.group import main; main(['--help']); "
        "print(*[m for m in ('numpy', 'numba', 'scipy', 'h5py', 'PIL', 'pluggy') if m in sys.modules], file=sys.stderr)"
    )
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.stderr == "\n"
    assert min(times) < 0.3, "processor time, which a busy machine changes less than the clock's"
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert summary in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_an_example(capsys, name):
    outcome = run(capsys, name, "--help")
    assert outcome.code == 0
    assert f"nspike {name}" in outcome.out.partition("Example")[2]
    assert "--json" in outcome.out


def test_no_line_of_a_list_of_commands_is_cut_off(capsys):
    groups = [name for name in COMMANDS if isinstance(group.get_command(click.Context(group), name), click.Group)]
    assert groups == ["plugin"]
    for words in ([], *([name] for name in groups)):
        listed = run(capsys, *words, "--help").out.partition("Commands:")[2].partition("Examples:")[0]
        assert listed.strip()
        assert "..." not in listed


def test_help_of_each_command_is_light():
    code = (
        "import sys; from nspike.cli.group import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    main([name, '--help'])\n"
        "    heavy = [m for m in ('numpy', 'numba', 'scipy', 'h5py', 'PIL', 'pluggy') if m in sys.modules]\n"
        "    if heavy: sys.exit(f'{name} imports {heavy}')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_of_each_name_has_its_file(name):
    module = importlib.import_module(f"nspike.cli.commands.{COMMANDS[name][0]}")
    assert isinstance(module.command, click.Command)
    assert group.get_command(click.Context(group), name) is module.command


def test_version(capsys):
    for option in ("--version", "-V"):
        assert run(capsys, option).out == "nspike, version 0.1.0\n"


def test_installed_script_calls_main():
    script = next(p for p in importlib.metadata.entry_points(group="console_scripts") if p.name == "nspike")
    assert script.load() is main


# ----- errors and exit codes -----


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DifferenceError("spikes differ"), 1),
        (errors.UsageError("T is out of range"), 2),
        (errors.BadInputError("no image"), 3),
        (errors.ModelError("damaged"), 3),
        (errors.PluginError("unknown"), 4),
        (errors.OutputError("disk full"), 5),
        (MemoryError(), 3),
        (click.UsageError("wrong option"), 2),
        (RuntimeError("a slip of ours"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(capsys, planted, error, code):
    def fail():
        raise error

    planted(fail)
    outcome = run(capsys, "planted")
    assert outcome.code == code
    assert outcome.out == ""
    assert str(error) in outcome.err
    assert outcome.err.strip()


def test_an_error_that_ctrl_c_raised_in_a_library_is_no_error(capsys, planted):
    def fail():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise SystemError("returned a result with an exception set") from interrupt

    planted(fail)
    outcome = run(capsys, "planted")
    assert (outcome.code, outcome.err) == (130, "nspike: interrupted\n")


def test_an_error_after_a_ctrl_c_that_a_library_dropped_is_no_error(capsys, planted):
    def fail():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("no compiled object yet")

    planted(fail)
    for _ in range(2):
        outcome = run(capsys, "planted")
        assert (outcome.code, outcome.err) == (130, "nspike: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_earlier_ctrl_c_is_forgotten(capsys, planted):
    def fail():
        raise RuntimeError("one of its own")

    def stop():
        signal.raise_signal(signal.SIGINT)

    planted(stop)
    assert run(capsys, "planted").code == 130
    planted(fail)
    assert run(capsys, "planted").code == 70


def test_exit_code_of_a_command_that_failed_in_part(capsys, planted):
    planted(lambda: click.get_current_context().exit(1))
    assert run(capsys, "planted").code == 1


def test_unexpected_error_asks_for_a_report(capsys, planted):
    planted(lambda: 1 / 0)
    message = run(capsys, "planted").err
    assert "unexpected ZeroDivisionError: division by zero" in message
    assert "report" in message
    assert "NSPIKE_DEBUG=1" in message


def test_debug_shows_the_traceback(capsys, planted, monkeypatch):
    planted(lambda: 1 / 0)
    monkeypatch.setenv("NSPIKE_DEBUG", "1")
    assert main(["planted"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_message_from_a_file_cannot_steer_the_terminal(capsys, planted):
    def fail():
        raise errors.BadInputError("\033[2Jname\x07 é\n  in a list \udcff\nin a name")

    planted(fail)
    assert run(capsys, "planted").err == "nspike: \\x1b[2Jname\\x07 é\n  in a list \\udcff\\nin a name\n"


def test_an_option_of_two_lines_is_printed_in_one(capsys):
    assert "-\\n" in run(capsys, "run", "-\nb").err


def test_a_name_that_begins_with_a_dash(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-dash.png").touch()
    hint = "To name the file, write ./-dash.png."
    assert hint in run(capsys, "run", "-dash.png").err
    assert hint in json.loads(run(capsys, "audit", "--json=-", "-dash.png").out)["error"]["message"]
    assert hint not in run(capsys, "run", "-dash.jpg").err
    assert hint not in run(capsys, "run", "--bad", "--", "-dash.png").err


def test_warnings_are_short(capsys, planted):
    planted(lambda: warnings.warn("kernels cannot be kept", RuntimeWarning, stacklevel=1))
    assert run(capsys, "planted").err == "nspike: warning: kernels cannot be kept\n"


def test_warnings_name_nspike_once(planted, capsys):
    planted(lambda: warnings.warn("nspike: kernels cannot be kept", RuntimeWarning, stacklevel=1))
    assert run(capsys, "planted").err == "nspike: warning: kernels cannot be kept\n"


def test_wrong_use(capsys):
    outcome = run(capsys, "modls")
    assert outcome.code == 2
    assert "there is no command 'modls'. Did you mean 'models'?" in outcome.err
    assert run(capsys, "plugins", "--jason").code == 2
    assert run(capsys, "info").code == 2
    assert run(capsys).code == 2


def test_real_processes_exit_with_these_codes(tmp_path):
    assert launch("--jason").code == 2
    assert launch("info", tmp_path / "none.h5").code == 3
    assert launch("plugins", "--kind", "neurone").code == 4
    assert launch("plugins", "--json", tmp_path / "none" / "x.json").code == 5
    assert launch("plugins", NSPIKE_LOAD_PLUGINS="no-such-package").code == 4


def test_interrupt_ends_a_process_with_130(tmp_path):
    ready = tmp_path / "ready"
    code = (
        "import sys, time, types, click; from pathlib import Path; from nspike.cli.group import COMMANDS, main\n"
        "module = types.ModuleType('nspike.cli.commands.slow')\n"
        f"module.command = click.command()(lambda: (Path({str(ready)!r}).touch(), time.sleep(30)))\n"
        "sys.modules['nspike.cli.commands.slow'] = module; COMMANDS['slow'] = ('slow', ''); sys.exit(main(['slow']))"
    )
    process = start([sys.executable, "-c", code])
    while not ready.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err


def test_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "nspike", "plugins"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_full_disk_on_stdout_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nspike", "plugins"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 5
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


# ----- the launcher of a checkout -----


def test_launcher_runs_the_same_program():
    done = subprocess.run([sys.executable, ROOT / "cli.py", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "nspike, version 0.1.0\n")


def test_launcher_without_an_installation(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "nspike_plugins" else name)
    launcher = runpy.run_path(str(ROOT / "cli.py"), run_name="launcher")
    assert launcher["main"]() == 2
    assert capsys.readouterr().err == "nspike is not installed here (nspike_plugins not found). Run: pip install -e .\n"


def test_group_module_holds_the_whole_table():
    shipped = {path.stem for path in (ROOT / "nspike" / "cli").rglob("*.py")}
    helpers = {"__init__", "group", "options", "output", "parts", "text", "progress"}
    commands = {module for module, _ in group_module.COMMANDS.values()}
    assert commands <= shipped
    assert helpers <= shipped
