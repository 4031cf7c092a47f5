"""What the shells complete behind an option or as an argument: names of models and plugins, files, folders."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")
Names = Callable[[], Sequence[str]]


def script(shell: str, group: click.Command) -> str:
    """What a shell reads to complete the command line of nspike, which `group` is."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    return made(group, {}, "nspike", "_NSPIKE_COMPLETE").source().lstrip("\n")


class Completed(type(click.STRING)):  # type: ignore[misc]  # its name differs between versions of click
    """Text of which some names are known. path : "file" or "dir" where one may be given; listed : names with commas between."""

    def __init__(self, names: Names | None = None, path: str | None = None, *, listed: bool = False) -> None:
        self._names, self._path, self._listed = names, path, listed

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so, and where a path may stand, whatever the shell finds."""
        names: Sequence[str] = ()
        with suppress(Exception):  # a broken plugin must not fill the command line
            names = self._names() if self._names is not None else ()
        paths = (
            [CompletionItem(incomplete, type=self._path)] if self._path else []
        )  # first: bash forgets what is before
        before, comma, begun = incomplete.rpartition(",") if self._listed else ("", "", incomplete)
        return paths + [CompletionItem(before + comma + name) for name in names if name.startswith(begun)]


def complete(name: str, command: click.Command) -> None:
    """Give the arguments and options of the command of this name, and of those in it, what they complete to."""
    for own, inner in command.commands.items() if isinstance(command, click.Group) else [(name, command)]:
        for param in inner.params:
            how = _OF_ONE.get((own, param.name or "")) or _BY_NAME.get(param.name or "")
            if how is not None and type(param.type) is type(click.STRING):
                param.type = how


def _models() -> list[str]:
    from nspike.model.shipped import shipped

    return [name for name, _ in shipped()]


def _plugins(*kinds: str) -> Names:
    def names() -> list[str]:
        from nspike.registry.plugins import registry

        entries = registry().entries()
        return sorted({entry.name for entry in entries if entry.state == "ok" and (not kinds or entry.kind in kinds)})

    return names


def _both(*parts: Names) -> Names:
    return lambda: [name for part in parts for name in part()]


def _kinds() -> list[str]:
    from nspike.registry.loading import KINDS

    return list(KINDS)


_FILE, _FOLDER = Completed(path="file"), Completed(path="dir")
_FILES = (
    "images",
    "image",
    "a",
    "b",
    "trace",
    "checkpoint",
    "output",
    "reference",
    "json_file",
    "report_file",
    "verified",
)
_BY_NAME = (
    dict.fromkeys(_FILES, _FILE)
    | dict.fromkeys(("folder", "data", "validation", "save_steps"), _FOLDER)
    | {
        "model": Completed(_models, "file"),
        "plugins": Completed(_plugins(), "file"),
        "against": Completed(_both(_models, _plugins("neuron", "head")), "file"),
        "network": Completed(_plugins("network")),
        "format_": Completed(_plugins("format")),
        "converter": Completed(_plugins("converter")),
        "head": Completed(_plugins("head")),
        "kind": Completed(_kinds),
        "activation": Completed(lambda: ["relu", "clipped", "qcfs"]),
        "methods": Completed(_plugins("method"), listed=True),
        "calibration": _FOLDER,
        "lpips": _FILE,
        "protocol": Completed(lambda: ["gray", "y-crop", "rgb"]),
    }
)
"""Parameter -> what it completes to, in every command but those of `_OF_ONE`."""

_OF_ONE = {
    ("train", "source"): Completed(_plugins("network"), "file"),
    ("finetune", "source"): Completed(_models, "file"),
    ("check", "name"): Completed(_plugins("neuron"), "file"),
    ("new", "output"): _FOLDER,
    ("compare", "network"): Completed(_models, "file"),
    ("compare", "output"): _FOLDER,
}
"""(command, parameter) -> the same."""
