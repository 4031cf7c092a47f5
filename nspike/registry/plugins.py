"""The registry of plugins: found through the entry-point group `nspike`, loaded when first asked for.

A plugin that is broken never takes the program down: it is listed with its error, and only asking for it raises. So is
one that needs another nspike, and one that takes the name of a built-in plugin: that name still means the built-in one, with
a warning. Of two other plugins with one name and kind neither is used: asking for that name names both packages.

The environment variable NSPIKE_LOAD_PLUGINS restricts loading to the packages that it names, separated by commas. The
plugins that come with nspike are always loaded; set but empty, it therefore leaves these alone.
"""

import functools
import importlib.metadata
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from nspike.contracts.architecture import Architecture
from nspike.contracts.converter import Converter
from nspike.contracts.energy import EnergyModel
from nspike.contracts.format import Format
from nspike.contracts.head import Head
from nspike.contracts.loss import Loss
from nspike.contracts.method import Method
from nspike.contracts.neuron import Neuron
from nspike.errors import PluginError, nearest
from nspike.registry.loading import KINDS, Objects, aside, collect, load_file
from nspike.registry.requirements import unmet
from nspike.runtime.explain import explain

GROUP = "nspike"
FIRST_PARTY = "nspike"
LOAD = "NSPIKE_LOAD_PLUGINS"

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """A line of `nspike plugins`.

    state is "ok", "broken" (then `name` is the entry point's and `kind` is empty), or "duplicate"; `error` says why.
    `package` is the distribution, or the path of a file that was loaded for a trial (`version` is empty then).
    """

    name: str
    kind: str
    package: str
    version: str
    state: str
    error: str = ""
    summary: str = ""


class Shelf(Generic[T]):
    """The plugins of one kind by name. A name that is unknown, broken or taken twice raises PluginError."""

    def __init__(self, registry: "Registry", kind: str) -> None:
        self._registry, self._kind = registry, kind
        self._things: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        self._registry.check(self._kind, name)
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def values(self) -> tuple[T, ...]:
        """The plugins themselves, in the order of their names."""
        return tuple(self._things.values())

    def fill(self, things: dict[str, T]) -> None:
        """Replace what is on the shelf; for the registry."""
        self._things = things


class Registry:
    """All plugins, healthy or not. `registry()` gives the program's; nothing else should need to make one."""

    def __init__(self) -> None:
        self.neurons: Shelf[Neuron] = Shelf(self, "neuron")
        self.converters: Shelf[Converter] = Shelf(self, "converter")
        self.heads: Shelf[Head] = Shelf(self, "head")
        self.losses: Shelf[Loss] = Shelf(self, "loss")
        self.energy_models: Shelf[EnergyModel] = Shelf(self, "energy")
        self.networks: Shelf[Architecture] = Shelf(self, "network")
        self.formats: Shelf[Format] = Shelf(self, "format")
        self.methods: Shelf[Method] = Shelf(self, "method")
        self._shelves: dict[str, Shelf[Any]] = {
            "neuron": self.neurons,
            "converter": self.converters,
            "head": self.heads,
            "loss": self.losses,
            "energy": self.energy_models,
            "network": self.networks,
            "format": self.formats,
            "method": self.methods,
        }
        self._registered: list[tuple[str, Any, str, str]] = []  # kind, object, package, version
        self._broken: list[Entry] = []
        self._refused: dict[tuple[str, str], str] = {}  # a built-in's kind and name -> the package that took it
        self._files: dict[Path, Objects] = {}

    def get(self, kind: str, name: str) -> Any:
        """The plugin of this kind and name. Raises PluginError if it is unknown, broken or taken twice."""
        return self._shelf(kind)[name]

    def all(self, kind: str) -> tuple[Any, ...]:
        """The usable plugins of this kind, in the order of their names."""
        return self._shelf(kind).values()

    def entries(self) -> list[Entry]:
        """Every plugin by kind and name, then the broken ones."""
        entries = []
        for kind, thing, package, version in self._registered:
            twice = self._duplicate(kind, thing.name)
            state = "duplicate" if twice else "ok"
            entries.append(Entry(thing.name, kind, package, version, state, twice, getattr(thing, "summary", "")))
        order = list(KINDS)
        entries.sort(key=lambda entry: (order.index(entry.kind), entry.name, entry.package))
        return entries + sorted(self._broken, key=lambda entry: (entry.package, entry.name))

    def resolve(self, spec: str, kinds: Sequence[str]) -> tuple[str, Any]:
        """Find what `--plugin SPEC` means: NAME, kind:NAME, path/to/file.py or path/to/file.py:NAME.

        Parameters
        ----------
        spec : as typed. A file is imported, and what it registers stays registered.
        kinds : the kinds that can be used here.

        Returns
        -------
        (kind, plugin)

        Raises
        ------
        PluginError
            unknown, ambiguous, broken, or of a kind that cannot be used here.
        """
        if match := re.fullmatch(r"(.+\.py)(?::(.+))?", spec):
            return _pick(spec, match[2], self._load_file(Path(match[1])), kinds)
        kind, colon, name = spec.partition(":")
        if colon:
            self._shelf(kind)  # an unknown kind says so first
            thing = self.get(kind, name)
            if kind not in kinds:
                raise PluginError(f"{spec!r} cannot be used here; expected {_kind_list(kinds)}")
            return kind, thing
        holders = [kind for kind in KINDS if self._takes(kind, spec)]
        usable = [kind for kind in holders if kind in kinds]
        if len(usable) > 1:
            choices = " or ".join(f"{kind}:{spec}" for kind in usable)
            raise PluginError(f"{spec!r} is the name of {' and of '.join(map(_article, usable))}; say {choices}")
        if usable:
            return usable[0], self.get(usable[0], spec)
        if holders:
            raise PluginError(
                f"plugin {spec!r} is {_article(holders[0])}, which cannot be used here; {_expected(kinds)}"
            )
        raise self._missing(spec, kinds)

    def check(self, kind: str, name: str) -> None:
        """Raise PluginError if there is not exactly one working plugin of this kind and name."""
        if not isinstance(name, str):
            raise PluginError(f"{name!r}: expected the name of {_article(kind)}")
        if package := self._refused.get((kind, name)):
            warnings.warn(
                f"the {kind} {name!r} of package {package} is not used: nspike has one of that name", stacklevel=3
            )
        if twice := self._duplicate(kind, name):
            raise PluginError(twice)
        if name not in self._shelves[kind]:
            raise self._missing(name, [kind])

    def add(self, objects: Objects, package: str, version: str) -> None:
        """Put a plugin's objects on their shelves."""
        self._registered += [(kind, thing, package, version) for kind, thing in objects]
        for kind, shelf in self._shelves.items():
            things = {thing.name: thing for other, thing, _, _ in self._registered if other == kind}
            shelf.fill({name: things[name] for name in sorted(things) if not self._duplicate(kind, name)})

    def add_third_party(self, objects: Objects, name: str, package: str, version: str) -> bool:
        """The same for a package that is not nspike's own: refused, and listed, if it takes a built-in plugin's name.

        Whether it was taken.
        """
        for kind, thing in objects:
            if (kind, thing.name, FIRST_PARTY) in {(k, t.name, p) for k, t, p, _ in self._registered}:
                self._refused[kind, thing.name] = package
                self.add_broken(
                    name, package, version, f"its {kind} {thing.name!r} has the name of a built-in one; give it another"
                )
                return False
        self.add(objects, package, version)
        return True

    def add_broken(self, name: str, package: str, version: str, error: str) -> None:
        """List a plugin that cannot be used."""
        self._broken.append(Entry(name, "", package, version, "broken", error))

    def stands_for(self, file: str | None, objects: Objects) -> None:
        """Note which file an installed plugin was imported from, which may be named with --plugin, too."""
        if file is not None:
            self._files[Path(file).resolve()] = objects

    def _shelf(self, kind: str) -> Shelf[Any]:
        if kind not in self._shelves:
            raise PluginError(
                f"there is no kind of plugin {kind!r}.{nearest(kind, KINDS)} The kinds are: {', '.join(KINDS)}"
            )
        return self._shelves[kind]

    def _takes(self, kind: str, name: str) -> bool:
        return any(other == kind and thing.name == name for other, thing, _, _ in self._registered)

    def _duplicate(self, kind: str, name: str) -> str:
        """Why this name cannot be used, if several plugins took it."""
        packages = [package for other, thing, package, _ in self._registered if other == kind and thing.name == name]
        if len(packages) < 2:
            return ""
        return (
            f"the {kind} {name!r} is registered by both {' and '.join(packages)}; uninstall one of them, or name the "
            f"packages to load in {LOAD}"
        )

    def _missing(self, name: str, kinds: Sequence[str]) -> PluginError:
        for entry in self._broken:
            if entry.name == name:
                return PluginError(f"plugin {name!r} of package {entry.package} is broken: {entry.error}")
        what = kinds[0] if len(kinds) == 1 else "plugin"
        known = list(dict.fromkeys(other for kind in kinds for other in self._shelves[kind]))
        broken = f"; broken: {', '.join(sorted(entry.name for entry in self._broken))}" if self._broken else ""
        files = sorted(Path(name).glob("*.py")) if os.path.isdir(name) else []
        if files := [path for path in files if not path.name.startswith("test_")]:
            return PluginError(
                f"there is no {what} {name!r}, but a folder: give a file in it, such as {files[0]}, or install its package"
            )
        return PluginError(
            f"there is no {what} {name!r}.{nearest(name, known)} Known: {', '.join(known) or 'none'}{broken}. "
            "`nspike plugins` lists them all"
        )

    def _load_file(self, path: Path) -> Objects:
        key = path.resolve()
        if key not in self._files:
            objects = load_file(path)
            for kind, thing in objects:
                if self._takes(kind, thing.name):
                    owner = next(p for k, other, p, _ in self._registered if (k, other.name) == (kind, thing.name))
                    or_else = "" if owner == FIRST_PARTY or owner.endswith(".py") else f", or uninstall {owner}"
                    raise PluginError(
                        f"the {kind} {thing.name!r} is registered by both {owner} and {path}; give yours another name{or_else}"
                    )
            self.add(objects, str(path), "")
            self._files[key] = objects
        return self._files[key]


@functools.cache
def registry() -> Registry:
    """The registry of this process, built on the first call.

    Raises PluginError if NSPIKE_LOAD_PLUGINS names a package that has no plugins.
    """
    built = Registry()
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=_order)
    wanted = _wanted({_package(point) for point in points})
    for point in points:
        package = _package(point)
        if wanted is not None and _canonical(package) not in wanted:
            continue
        version, why = ("", "") if point.dist is None else _says(point.dist)[1:]
        if why:
            built.add_broken(point.name, package, version, why)
            continue
        try:
            with aside():
                plugin = point.load()
                objects = collect(plugin)
            if package == FIRST_PARTY:
                built.add(objects, package, version)
            elif not built.add_third_party(objects, point.name, package, version):
                continue
            built.stands_for(getattr(plugin, "__file__", None), objects)
        except PluginError as error:
            built.add_broken(point.name, package, version, str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything
            built.add_broken(point.name, package, version, f"cannot be imported: {explain(error)}")
    return built


def _wanted(installed: set[str]) -> set[str] | None:
    """The canonical names of the packages to load, None for all."""
    value = os.environ.get(LOAD)
    if value is None:
        return None
    named = {name.strip() for name in value.split(",") if name.strip()}
    known = {_canonical(name): name for name in installed}
    for name in sorted(named):
        if _canonical(name) not in known:
            raise PluginError(
                f"{LOAD} names the package {name!r}, which has no nspike plugins.{nearest(name, installed)} "
                f"Installed: {', '.join(sorted(installed)) or 'none'}"
            )
    return {_canonical(name) for name in named} | {FIRST_PARTY}


def _order(point: importlib.metadata.EntryPoint) -> tuple[bool, str, str]:
    """Nspike's own first."""
    package = _package(point)
    return package != FIRST_PARTY, package, point.name


def _package(point: importlib.metadata.EntryPoint) -> str:
    return point.module.partition(".")[0] if point.dist is None else _says(point.dist)[0]


@functools.cache
def _says(dist: importlib.metadata.Distribution) -> tuple[str, str, str]:
    """Name and version of a package, and what it requires that this nspike is not; read once, not for each of its plugins."""
    return dist.name, dist.version, unmet(dist.requires or ())


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pick(spec: str, name: str | None, objects: Objects, kinds: Sequence[str]) -> tuple[str, Any]:
    """The one of a file's objects that is meant."""
    named = [(kind, thing) for kind, thing in objects if name in (None, thing.name, f"{kind}:{thing.name}")]
    usable = [(kind, thing) for kind, thing in named if kind in kinds]
    if len(usable) == 1:
        return usable[0]
    listing = ", ".join(f"{kind}:{thing.name}" for kind, thing in objects) or "nothing"
    if usable:
        raise PluginError(f"{spec} registers {listing}; say which one: {spec.removesuffix(f':{name}')}:KIND:NAME")
    raise PluginError(f"{spec} registers {listing}, which cannot be used here; {_expected(kinds)}")


def _article(kind: str) -> str:
    return "an energy model" if kind == "energy" else f"a {kind}"


def _expected(kinds: Sequence[str]) -> str:
    return f"expected {_kind_list(kinds)}. `nspike plugins` lists them all"


def _kind_list(kinds: Sequence[str]) -> str:
    return " or ".join(f"a plugin of kind {kind}" if i == 0 else kind for i, kind in enumerate(kinds))
