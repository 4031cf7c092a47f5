"""The tables of options in docs/reference/commands.md, from the commands themselves.

    python -m tests.option_tables    writes them anew

A table stands in the section of its command, above the line that begins with JSON. What every command has is not in it.
"""

import re
from pathlib import Path

import click

from nspike.cli.group import COMMANDS, group
from nspike.cli.streams import words_options

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "commands.md"
HEAD = "| option | what |\n|---|---|\n"
ESCAPED = "\\|"
_TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*\n")


def commands(name):
    """Pairs of the words in front of an option, and a command: itself, or its subcommands."""
    context = click.Context(group)
    command = group.get_command(context, name)
    if isinstance(command, click.Group):
        return [(f"{sub} ", command.get_command(context, sub)) for sub in command.list_commands(context)]
    return [("", command)]


def table(name):
    """The table of a command's options."""
    options = [(prefix, p) for prefix, command in commands(name) for p in command.params if _own(p)]
    rows = [(f"`{prefix}{written(option)}`", explained(option)) for prefix, option in options]
    return HEAD + "".join(f"| {' | '.join(text.replace('|', ESCAPED) for text in row)} |\n" for row in rows)


def _own(param):
    """Whether it is an option, and none that every command has."""
    return isinstance(param, click.Option) and param.name not in {option.name for option in words_options()}


def written(option):
    """An option as it is typed."""
    value = option.metavar or ("|".join(option.type.choices) if isinstance(option.type, click.Choice) else "")
    return f"{', '.join(option.opts)} {value}".strip()


def explained(option):
    """An option's help, with its default."""
    return f"{option.help} [{option.default}]" if option.show_default else option.help


def with_tables(text):
    """The page with the tables as they are to be."""
    parts = re.split(r"^(## .+\n)", text, flags=re.M)
    for at in range(1, len(parts), 2):
        name = parts[at][3:].strip()
        if name in COMMANDS:
            body = _TABLE.sub("", parts[at + 1])
            parts[at + 1] = re.sub(r"^JSON: ", lambda _, name=name: f"{table(name)}\nJSON: ", body, count=1, flags=re.M)
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
