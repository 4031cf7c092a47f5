"""The tables of public names in docs/reference/api.md, from the names themselves.

python -m tests.name_tables    writes them anew
"""

import inspect
from pathlib import Path

import nspike
from nspike.registry.loading import KINDS

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "api.md"
HEADING = "## Every public name\n"
CONTRACTS = {cls.__name__: hook for hook, cls in KINDS.values()}
CONSTANTS = {
    "__version__": "The version.",
    "NEVER": "A firing threshold that no membrane reaches.",
    "IMAGE": "The name under which a layer refers to the network's input.",
}
FOREIGN = {"hookimpl": "Marks a function of a plugin as a hook."}
"""What another package has documented."""


def kind(name):
    """Which table a name belongs to."""
    thing = getattr(nspike, name)
    if name in CONSTANTS:
        return "constant"
    if inspect.isclass(thing):
        return "error" if issubclass(thing, Exception) else "class"
    return "function"


def what(name):
    """A name in a line."""
    if name in CONTRACTS:
        hook = CONTRACTS[name]
        return f"What a plugin registers: [{hook}](plugins.md#{hook}register)."
    text = CONSTANTS.get(name) or FOREIGN.get(name) or inspect.getdoc(getattr(nspike, name)).split("\n\n")[0]
    return " ".join(text.split()).replace("|", "\\|")


def written(name):
    """A name, a function with its arguments; those after * are given by name."""
    if kind(name) != "function" or name in FOREIGN:
        return f"`{name}`"
    arguments, starred = [], False
    for parameter in inspect.signature(getattr(nspike, name)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            arguments, starred = [*arguments, "*"], True
        arguments.append(("*" if parameter.kind is parameter.VAR_POSITIONAL else "") + parameter.name)
    return f"`{name}({', '.join(arguments)})`"


def tables():
    """All of them."""
    names = {k: [n for n in nspike.__all__ if kind(n) == k] for k in ("function", "class", "error", "constant")}
    return "".join(
        f"\n| {k} | what |\n|---|---|\n" + "".join(f"| {written(n)} | {what(n)} |\n" for n in found)
        for k, found in names.items()
    )


def with_tables(text):
    """The page with the tables as they are to be: they are its end."""
    before, heading, _ = text.partition(HEADING)
    return f"{before}{heading}\n`help(nspike.NAME)` says more: arguments, shapes, errors.\n{tables()}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
