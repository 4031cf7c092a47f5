"""The page of commands names every option of every command, with its help."""

from nspike.cli.group import COMMANDS
from tests.documents import sections
from tests.option_tables import PAGE, commands, own, table, with_tables

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_as_the_commands_are():
    assert with_tables(TEXT) == TEXT, "write them anew: python -m tests.option_tables"


def test_every_option_is_there():
    for name in COMMANDS:
        for prefix, command in commands(name):
            for parameter in command.params:
                if own(parameter):
                    assert f"`{prefix}{', '.join(parameter.opts)}" in sections(TEXT)[name]


def test_planted_changes_are_caught():
    assert with_tables(TEXT.replace("`--reference FILE`", "`--referense FILE`")) == TEXT
    assert with_tables(TEXT.replace(f"{table('info')}\n", "")) == TEXT, "a table that is missing is put back"
    assert "| `new --kernel`" in table("plugin")
