"""`nspike completion`."""

import click

from nspike.cli.completion import SHELLS, script
from nspike.cli.guard import check_report
from nspike.cli.options import json_option
from nspike.cli.output import write_report
from nspike.cli.streams import print_asked


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def command(shell: str, json_file: str | None) -> None:
    """Print what makes a shell complete commands, options, and the names of models, plugins and tasks.

    \b
    Examples:
      nspike completion bash >> ~/.bashrc
      nspike completion zsh >> ~/.zshrc
      nspike completion fish > ~/.config/fish/completions/nspike.fish
    """
    check_report("--json", json_file)
    text = script(shell, click.get_current_context().find_root().command)
    write_report({"shell": shell, "script": text}, json_file)
    if json_file != "-":
        print_asked(text)
