"""`nspike plugins`."""

import dataclasses
from typing import Any

import click

from nspike.cli.guard import check_report
from nspike.cli.options import json_option
from nspike.cli.output import emit
from nspike.cli.text import in_words, printable, table

_BY = {"converter": "", "neuron": ", if the converter has membranes start half full, as rueckauer does"}


@click.command()
@click.argument("name", required=False)
@click.option("--kind", metavar="KIND", help="List only those of one kind, such as neuron.")
@json_option
def command(name: str | None, kind: str | None, json_file: str | None) -> None:
    """List the plugins: name, kind, package, version and state; or, of those called NAME, the options.

    NAME may be KIND:NAME, too. For each option of a converter or network (given with --option) and each parameter of a
    neuron (given with --set): its default, its range and what it means; and what `nspike convert` takes instead of a default,
    unless --fast. A head has none to give: its parameters are trained.
    A broken plugin is listed with its error. NSPIKE_LOAD_PLUGINS restricts loading to the packages that it names (separated
    by commas; empty: only those that come with nspike).

    \b
    Examples:
      nspike plugins --kind neuron
      nspike plugins mprn
    """
    from nspike.registry.plugins import registry

    check_report("--json", json_file)
    if kind is not None:
        registry().all(kind)  # an unknown kind says so
    if name is not None:
        _describe(name, kind, json_file)
        return
    entries = [entry for entry in registry().entries() if kind is None or entry.kind == kind]
    rows = [
        (e.name, e.kind or "?", e.package, e.version, e.state, e.summary if e.state == "ok" else e.error)
        for e in entries
    ]
    text = table(("name", "kind", "package", "version", "state", ""), rows)
    emit(text, {"plugins": [dataclasses.asdict(entry) for entry in entries]}, json_file)


def _describe(spec: str, kind: str | None, json_file: str | None) -> None:
    """Print what the plugins of this name can be told."""
    from nspike.registry.loading import KINDS
    from nspike.registry.plugins import registry

    before, colon, name = spec.partition(":")
    if colon and not kind:
        kind = before
    name = name if colon else spec
    kinds = [kind] if kind else [each for each in KINDS if any(p.name == name for p in registry().all(each))]
    if not kinds:
        registry().resolve(spec, tuple(KINDS))  # says what is wrong with it
    plugins = [(each, registry().get(each, name)) for each in kinds]
    described = [
        {"name": p.name, "kind": each, "summary": p.summary, "source": getattr(p, "source", ""), **_told(each, p)}
        for each, p in plugins
    ]
    emit("\n\n".join(map(_text, described)), {"plugins": described}, json_file)


def _told(kind: str, plugin: Any) -> dict[str, Any]:
    """The options of a converter or network, the parameters of a neuron, the parts of a method; others have none."""
    from nspike.converting.best import taken

    convert = taken(plugin) if kind in ("converter", "neuron") else {}
    told = {"neuron": "parameters", "converter": "options", "network": "options"}
    options = _options(getattr(plugin, told[kind], ()), convert) if kind in told else []
    return {"options": options} | ({"parts": plugin.conversion()} if kind == "method" else {})


def _options(told: Any, convert: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "default": one.default,
            "convert": convert.get(one.name, one.default),
            "low": one.low,
            "high": one.high,
            "open_low": getattr(one, "open_low", False),
            "choices": list(getattr(one, "choices", ())),
            "summary": one.summary,
        }
        for one in told
    ]


def _text(described: dict[str, Any]) -> str:
    lines = [f"{described['name']}, {described['kind']}: {described['summary']}"]
    lines += [described["source"]] if described["source"] else []
    rows = [(o["name"], str(o["default"]), _range(o), o["summary"]) for o in described["options"]]
    if parts := described.get("parts"):
        options, parameters = (in_words(parts[key]) for key in ("options", "neuron_parameters"))
        lines.append(
            f"converter {parts['converter']}{options and f' ({options})'}, neuron {parts['neuron']}"
            f"{parameters and f' ({parameters})'}, head {parts['head']}, T = {parts['timesteps']}"
        )
    elif rows:
        lines.append(table(("option", "default", "range", "meaning"), rows))
    else:
        lines.append("It has no options.")
    if other := [f"{o['name']} = {o['convert']}" for o in described["options"] if o["convert"] != o["default"]]:
        lines.append(
            f"`nspike convert` without --fast takes {', '.join(other)} where nothing is said{_BY[described['kind']]}."
        )
    return printable("\n".join(lines))


def _range(option: dict[str, Any]) -> str:
    if option["choices"]:
        return " or ".join(map(str, option["choices"]))
    if option["low"] is None and option["high"] is None:
        return type(option["default"]).__name__
    low, high = ("" if end is None else f"{end:g}" for end in (option["low"], option["high"]))
    return f"{'(' if option['open_low'] else '['}{low}, {high}]"
