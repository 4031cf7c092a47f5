"""What `--plugin` and the options that name a plugin of one kind ask for, found in the registry."""

from collections.abc import Mapping, Sequence
from typing import Any

ENERGY = ("horowitz45",)
"""The energy models that a command prices with, where none is named."""


def resolve(specs: Sequence[str], kinds: Sequence[str]) -> list[tuple[str, Any]]:
    """(kind, plugin) for each value of --plugin; a name that several of `kinds` have means all of these.

    Raises PluginError for one that is unknown or broken, UsageError for one that is of none of `kinds`.
    """
    from nspike.errors import PluginError, UsageError
    from nspike.registry.loading import KINDS
    from nspike.registry.plugins import registry

    def is_plugin(spec: str, kind: str) -> bool:
        try:
            registry().resolve(spec, [kind])
        except PluginError:
            return False
        return True

    resolved = []
    for spec in specs:
        same = [f"{kind}:{spec}" for kind in kinds if is_plugin(f"{kind}:{spec}", kind)]
        if len(same) > 1:
            resolved += [registry().resolve(each, kinds) for each in same]
            continue
        try:
            resolved.append(registry().resolve(spec, kinds))
        except PluginError as error:
            others = [kind for kind in KINDS if kind not in kinds and is_plugin(spec, kind)]
            if not others:
                raise
            raise UsageError(
                f"--plugin {spec}: a plugin of kind {' and '.join(others)} cannot be used here, only of kind "
                f"{' or '.join(kinds)}"
            ) from error
    return resolved


def parts_of(
    specs: Sequence[str],
    kinds: Sequence[str] = ("neuron", "head"),
    named: Mapping[str, str | None] | None = None,
) -> tuple[dict[str, str], list[Any]]:
    """Kind -> name of the parts that --plugin and the options of single kinds (`named`) ask for; and the energy models.

    Raises UsageError for two of one kind, but of energy models there may be several.
    """
    from nspike.errors import UsageError

    parts = {kind: name for kind, name in (named or {}).items() if name is not None}
    energy: list[Any] = []
    for kind, plugin in resolve(specs, kinds):
        if kind == "energy":
            energy.append(plugin)
        elif parts.setdefault(kind, plugin.name) != plugin.name:
            raise UsageError(f"two plugins of kind {kind} are given, {parts[kind]} and {plugin.name}; give one")
    return parts, energy


def energy_models(names: Sequence[str] = ENERGY) -> list[Any]:
    """The registered energy models of these names."""
    from nspike.registry.plugins import registry

    return [registry().energy_models[name] for name in names]
