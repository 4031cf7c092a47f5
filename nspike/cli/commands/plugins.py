"""`nspike plugins`."""

import dataclasses

import click

from nspike.cli.options import json_option
from nspike.cli.output import emit
from nspike.cli.text import table


@click.command()
@click.option("--kind", metavar="KIND", help="List only those of one kind, such as neuron.")
@json_option
def command(kind: str | None, json_file: str | None) -> None:
    """List the plugins: name, kind, package, version and state.

    A broken one is listed with its error. NSPIKE_LOAD_PLUGINS restricts loading to the packages that it names (separated
    by commas; empty: only those that come with nspike).

    \b
    Example:
      nspike plugins --kind neuron
    """
    from nspike.registry.plugins import registry

    if kind is not None:
        registry().all(kind)  # an unknown kind says so
    entries = [entry for entry in registry().entries() if kind is None or entry.kind == kind]
    rows = [
        (e.name, e.kind or "?", e.package, e.version, e.state, e.summary if e.state == "ok" else e.error)
        for e in entries
    ]
    text = table(("name", "kind", "package", "version", "state", ""), rows)
    emit(text, {"plugins": [dataclasses.asdict(entry) for entry in entries]}, json_file)
