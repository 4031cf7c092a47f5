"""`nspike completion`."""

import click

from nspike.cli.completion import SHELLS, script
from nspike.cli.guard import check_report
from nspike.cli.options import json_option
from nspike.cli.output import to_json
from nspike.cli.streams import print_asked, print_json


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
    report = to_json({"shell": shell, "script": text})
    if json_file == "-":
        print_json(report)
        return
    if json_file is not None:
        from nspike.files.atomic import write_bytes

        write_bytes(json_file, report.encode())
    print_asked(text)
