"""`nspike plugin new` and `nspike plugin check`."""

import click

from nspike.cli.guard import check_report
from nspike.cli.options import json_option
from nspike.cli.output import emit
from nspike.cli.text import one_line
from nspike.cli.values import numbers


@click.group()
def command() -> None:
    """Write a neuron of your own, and check that it, or a method, keeps the contract; both have --json.

    \b
    Examples:
      nspike plugin new my-neuron
      nspike plugin check my-neuron
    """


@command.command(short_help="Write a package with a new neuron.")
@click.argument("name")
@click.option("-o", "--output", metavar="DIR", help="The package's folder, empty or new; by default NAME.")
@click.option("--kernel", is_flag=True, help="Write a neuron with a kernel of its own, outside the declared family.")
@json_option
def new(name: str, output: str | None, kernel: bool, json_file: str | None) -> None:
    """Write a package with a new neuron: code, a test, pyproject.toml and README.

    It can be installed, and passes its test, as it is.

    \b
    Examples:
      nspike plugin new my-neuron
      nspike plugin new my-other-neuron --kernel -o folder
    """
    from nspike.authoring.new_plugin import new_neuron

    check_report("--json", json_file, made=[output or name])
    package = new_neuron(name, output, kernel=kernel)
    lines = [
        *(one_line(package.folder / file) for file in package.files),
        "",
        "Next:",
        f"  cd {one_line(package.folder)}",
        "  python -m pytest",
        "  pip install -e .",
        f"  nspike run --plugin {package.name}",
    ]
    emit("\n".join(lines), vars(package), json_file)


@command.command(short_help="Check that a neuron or method keeps the contract.")
@click.argument("name")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the neuron; repeatable.")
@click.option("--conserves", is_flag=True, help="Check that a neuron with its own kernel keeps charge.")
@json_option
def check(name: str, parameters: tuple[str, ...], conserves: bool, json_file: str | None) -> int:
    """Check that a neuron or method keeps the contract: NAME of a registered one, or path/to/file.py.

    Where a neuron and a method have the same name, say neuron:NAME or method:NAME. Ends with 0 if it does, with 1 if a check
    fails. The checks are those of nspike.testing; a trace worked out by hand is given in the neuron's own tests.

    \b
    Examples:
      nspike plugin check mprn
      nspike plugin check my_neuron.py --conserves
      nspike plugin check method:qcfs
    """
    from nspike.errors import UsageError
    from nspike.registry.plugins import registry
    from nspike.testing import examine_method, examine_neuron

    check_report("--json", json_file, (name,))
    kind, plugin = registry().resolve(name, ["neuron", "method"])
    if kind == "method":
        if parameters or conserves:
            raise UsageError("--set and --conserves are for neurons; a method says its parameters itself")
        report = examine_method(plugin)
    else:
        report = examine_neuron(plugin, parameters=numbers(parameters), conserves=True if conserves else None)
    emit(report.to_text(), report.to_dict(), json_file)
    return 0 if report.passed else 1
