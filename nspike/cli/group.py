"""The group of commands, each imported when it is called, and the one place where errors become exit codes."""

import errno
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress

import click

from nspike.cli.interrupts import Ended, noted, was_interrupted
from nspike.cli.text import printable
from nspike.errors import NspikeError, OutputError, PluginError, nearest
from nspike.runtime.explain import explain, message_of
from nspike.runtime.version import VERSION

COMMANDS = {
    "run": ("run", "Restore images."),
    "audit": ("audit", "Certify every spike of a run, or verify a certificate."),
    "trace": ("trace", "Save the spikes of a run."),
    "diff": ("diff", "Find the first spike that differs between two traces or runs."),
    "replay": ("replay", "Feed the recorded spikes of a layer into the rest of the network."),
    "curve": ("curve", "Show the image's quality and cost after each step."),
    "import": ("import_", "Make a model of a trained network's file."),
    "convert": ("convert", "Convert an imported network to spikes."),
    "train": ("train", "Train a plain network, from scratch or from a model."),
    "finetune": ("finetune", "Fine-tune a spiking network."),
    "evaluate": ("evaluate", "Measure a model's quality on a folder of images."),
    "examples": ("examples", "Write the images that come with nspike into a folder."),
    "plugins": ("plugins", "List the plugins."),
    "plugin": ("plugin", "Write a neuron of your own, or check one."),
    "models": ("models", "List the models that come with nspike."),
    "info": ("info", "Show what is in a model file."),
    "warmup": ("warmup", "Compile the kernels now instead of in the first run."),
}
"""Name -> (module in nspike.cli.commands, what it does in a line)."""

UNEXPECTED = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

_EPILOG = """\b
Examples:
  nspike run                      restore a bundled image with a bundled model
  nspike run photo.png -o out.png
  nspike audit photo.png --json certificate.json

\b
Exit codes: 0 done, 1 some files failed, or a verification or diff differs, 2 usage, 3 bad input
or model, 4 plugin, 5 cannot write, 70 an error inside nspike, 130 interrupted.
NSPIKE_DEBUG=1 shows the traceback of an error."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"nspike.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's own, with the nearest name suggested for one that is unknown."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            name = printable(args[0])
            ctx.fail(f"there is no command {name!r}.{nearest(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="nspike")
def group() -> None:
    """Restore images with spiking neural networks on a CPU, and account for every spike."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no error gets past this."""
    warnings.showwarning = _show_warning
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    with noted():
        return _main(args)


def _main(args: Sequence[str] | None) -> int:
    try:
        code = group.main(args, prog_name="nspike", standalone_mode=False)
        sys.stdout.flush()
        if not code and was_interrupted():
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return INTERRUPTED
    except Ended as ended:
        return int(ended.code or 0)
    except SystemExit as done:  # click's answer to a closed pipe
        _silence()
        return BROKEN_PIPE if done.code == 1 else int(done.code or 0)
    except BaseException as error:
        if was_interrupted(error):
            _say("interrupted")
            return INTERRUPTED
        return _failed(error)


def _failed(error: BaseException) -> int:
    """Tell of an error in a message and return its exit code."""
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        _silence()
        return BROKEN_PIPE
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        _silence()
        error = OutputError(f"cannot write: {error.strerror}")
    if os.environ.get("NSPIKE_DEBUG", "") not in ("", "0"):
        traceback.print_exc()
    if isinstance(error, NspikeError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, MemoryError):
        _say("there is not enough memory; take a smaller tile (--tile) or image")
        return NspikeError.exit_code
    if isinstance(error, OSError):
        _say(f"{f'{error.filename}: ' if error.filename is not None else ''}{error.strerror or error}")
        return NspikeError.exit_code
    if not isinstance(error, Exception):  # no library raises others
        _say(f"a plugin failed: {explain(error)}")
        return PluginError.exit_code
    _say(
        f"unexpected {type(error).__name__}: {message_of(error)}\nThis is an error in nspike or in a plugin. Please "
        "report it with what NSPIKE_DEBUG=1 shows."
    )
    return UNEXPECTED


def _say(message: str) -> None:
    with suppress(OSError):
        click.echo(f"nspike: {printable(message)}", err=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"warning: {message}")


def _silence() -> None:
    """Nobody reads the output any more: keep Python from complaining when it closes it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
