"""The group of commands, each imported when it is called, and the one place where errors become exit codes."""

import errno
import importlib
import itertools
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from nspike.cli import streams
from nspike.cli.interrupts import Ended, noted, was_interrupted
from nspike.cli.text import error_text, one_line
from nspike.errors import NspikeError, OutputError, PluginError, nearest
from nspike.runtime.caller import command_line, offer, way
from nspike.runtime.explain import explain, message_of
from nspike.runtime.version import VERSION

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "run": ("run", "Restore images."),
    "audit": ("audit", "Certify every spike of a run, or verify a certificate."),
    "trace": ("trace", "Save the spikes of a run."),
    "diff": ("diff", "Find the first spike that differs between two traces or runs."),
    "replay": ("replay", "Feed recorded spikes of a layer into the rest of the network."),
    "curve": ("curve", "Show the image's quality and cost after each step."),
    "import": ("import_", "Make a model of a trained network's file."),
    "convert": ("convert", "Convert an imported network to spikes."),
    "export": ("export", "Write a spiking model for other frameworks."),
    "train": ("train", "Train a plain network, from scratch or from a model."),
    "finetune": ("finetune", "Fine-tune a spiking network."),
    "evaluate": ("evaluate", "Measure a model's quality on a folder of images."),
    "compare": ("compare", "Measure methods side by side."),
    "examples": ("examples", "Write the images that come with nspike into a folder."),
    "plugins": ("plugins", "List the plugins."),
    "plugin": ("plugin", "Write a neuron of your own, or check one."),
    "models": ("models", "List the models that come with nspike."),
    "info": ("info", "Show what is in a model file."),
    "warmup": ("warmup", "Compile the kernels now instead of in the first run."),
    "completion": ("completion", "Print what makes a shell complete the command line."),
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
        commands = tuple(command.commands.values()) if isinstance(command, click.Group) else (command,)
        for inner in commands:
            inner.params += streams.words_options({name for param in inner.params for name in param.opts})
        offer(name for inner in commands for param in inner.params for name in param.opts)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's own, with the nearest name suggested for one that is unknown."""
        if ctx.resilient_parsing:  # a shell completes
            from nspike.cli.completion import complete

            name, command, rest = super().resolve_command(ctx, args)
            if name is not None and command is not None:
                complete(name, command)
            return name, command, rest
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}.{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Commands and options, without importing a command."""
        from click.shell_completion import CompletionItem

        fitting = [(name, text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=text) for name, text in fitting]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, "-V", "--version", prog_name="nspike")
def group() -> None:
    """Restore images with spiking neural networks on a CPU, and account for every spike."""


group.params += streams.words_options()


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no error gets past this."""
    warnings.showwarning = _show_warning
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    words = list(sys.argv[1:] if args is None else args)
    with noted(), command_line():
        return _main(words)


def _main(args: list[str]) -> int:
    try:
        with streams.kept():
            code = group.main(args, prog_name="nspike", standalone_mode=False)
            sys.stdout.flush()
        if not code and was_interrupted():
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        vars(error).update(message=error_text(error.message) + _dashed(args))
        error.show()
        return _in_json(args, error, error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _interrupted(args)
    except Ended as ended:
        return int(ended.code or 0)
    except SystemExit as done:  # click's answer to a closed pipe
        _silence()
        return BROKEN_PIPE if done.code == 1 else int(done.code or 0)
    except BaseException as error:
        return _interrupted(args) if was_interrupted(error) else _failed(error, args)


def _dashed(args: list[str]) -> str:
    """A hint where a file's name was taken for options."""
    words = args[: args.index("--")] if "--" in args else args
    named = next((word for word in words if word.startswith("-") and word != "-" and os.path.lexists(word)), None)
    return "" if named is None else f" To name the file, write ./{one_line(named)}."


def _interrupted(args: list[str]) -> int:
    _say("interrupted")
    return _in_json(args, KeyboardInterrupt(), "interrupted", INTERRUPTED)


def _failed(error: BaseException, args: list[str]) -> int:
    """Tell of an error in a message and return its exit code."""
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        _silence()
        return BROKEN_PIPE
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        _silence()
        error = OutputError(f"cannot write: {error.strerror}")
    if os.environ.get("NSPIKE_DEBUG", "") not in ("", "0"):
        traceback.print_exc()
    message, code = _message(error)
    _say(message)
    return _in_json(args, error, message, code)


def _message(error: BaseException) -> tuple[str, int]:
    """What is said of an error, and its exit code."""
    if isinstance(error, NspikeError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        smaller = "tile (--tile) or image" if way("--tile", "") else way("--batch", "", "image")
        return f"there is not enough memory; take a smaller {smaller}", NspikeError.exit_code
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename is not None else ""
        return f"{named}{error.strerror or error}", NspikeError.exit_code
    if not isinstance(error, Exception):  # no library raises others
        return f"a plugin failed: {explain(error)}", PluginError.exit_code
    return (
        f"unexpected {type(error).__name__}: {' '.join(message_of(error).split())}\n  This is an error in nspike or in a plugin. "
        "Please report it with what NSPIKE_DEBUG=1 shows.",
        UNEXPECTED,
    )


def _in_json(args: list[str], error: BaseException, message: str, code: int) -> int:
    """Print the error as JSON where `--json -` asks for it and nothing was printed; the exit code."""
    words = args[: args.index("--")] if "--" in args else args
    asked = "--json=-" in words or ("--json", "-") in itertools.pairwise(words)
    if asked and not streams.printed_json():
        from nspike.cli.output import to_json

        kind = type(error).__name__
        with suppress(OSError):
            streams.print_json(to_json({"error": {"kind": kind, "message": message, "exit_code": code}}))
    return code


def _say(message: str) -> None:
    with suppress(OSError):
        click.echo(f"nspike: {error_text(message)}", err=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"warning: {str(message).removeprefix('nspike: ')}")  # which names us where Python shows it


def _silence() -> None:
    """Nobody reads the output any more: keep Python from complaining when it closes it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
