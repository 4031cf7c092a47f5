"""One plugin at a time: import it, check its hooks, and collect what it registers. Any failure becomes a PluginError.

Each plugin gets a pluggy manager of its own, so that whatever goes wrong is known to be that plugin's.
"""

import contextlib
import importlib.util
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pluggy

from nspike.contracts import hooks as hookspecs
from nspike.contracts.architecture import Architecture
from nspike.contracts.converter import Converter
from nspike.contracts.energy import EnergyModel
from nspike.contracts.format import Format
from nspike.contracts.head import Head
from nspike.contracts.loss import Loss
from nspike.contracts.method import Method
from nspike.contracts.neuron import Neuron
from nspike.errors import PluginError, nearest
from nspike.registry.requirements import of_source, unmet
from nspike.runtime.explain import explain

KINDS: dict[str, tuple[str, type]] = {
    "neuron": ("register_neurons", Neuron),
    "converter": ("register_converters", Converter),
    "head": ("register_heads", Head),
    "loss": ("register_losses", Loss),
    "energy": ("register_energy_models", EnergyModel),
    "network": ("register_networks", Architecture),
    "format": ("register_formats", Format),
    "method": ("register_methods", Method),
}
"""Kind -> (the hook that registers it, the class of its objects)."""

_HOOKS = tuple(hook for hook, _ in KINDS.values())
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")

Objects = list[tuple[str, Any]]
"""Pairs of a kind and an object."""


def aside() -> contextlib.redirect_stdout[TextIO]:
    """Within, what a plugin prints goes to standard error: JSON or an image may be what standard output is for."""
    return contextlib.redirect_stdout(sys.stderr)


def collect(plugin: object) -> Objects:
    """Collect what `plugin` (a module, or any object with hooks) registers: all of it, or a PluginError and nothing."""
    manager = pluggy.PluginManager("nspike")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        raise PluginError(_arguments(str(error))) from error
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        unknown = next(caller.name for caller in manager.get_hookcallers(plugin) or () if not caller.has_spec())
        raise PluginError(f"there is no hook {unknown!r}.{nearest(unknown, _HOOKS)} {_known()}") from error
    if not manager.get_hookcallers(plugin):
        raise PluginError(f"it implements no hook; mark the function with @nspike.hookimpl. {_known()}")
    objects: Objects = []
    for kind, (hook, cls) in KINDS.items():
        try:
            getattr(manager.hook, hook)(register=partial(_register, objects, kind, cls))
        except PluginError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything
            raise PluginError(f"{hook} failed: {explain(error)}") from error
    return objects


def load_file(path: Path) -> Objects:
    """Import one Python file and collect what it registers. Raises PluginError that names the file."""
    name = f"nspike_trial_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PluginError(f"plugin {path}: no such Python file; expected a registered name or a path to a .py file")
    if why := unmet(of_source(path.read_text(encoding="utf-8", errors="replace"))):
        raise PluginError(f"plugin {path}: {why}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up there
    try:
        with aside():
            spec.loader.exec_module(module)
            return collect(module)
    except PluginError as error:
        raise PluginError(f"plugin {path}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything
        raise PluginError(f"plugin {path} cannot be imported: {explain(error)}") from error


def _register(objects: Objects, kind: str, cls: type, thing: object) -> None:
    """Note one object of a plugin, after checking it. Raises PluginError."""
    hook = KINDS[kind][0]
    if not isinstance(thing, cls):
        raise PluginError(f"{hook} registers {_short(thing)}; expected an object of nspike.{cls.__name__}")
    name = getattr(thing, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith(".py"):
        raise PluginError(
            f"{hook} registers a {kind} called {_short(name)}; a name consists of letters, digits and any of _ . + -"
        )
    if any(other == kind and theirs.name == name for other, theirs in objects):
        raise PluginError(f"{hook} registers two {kind}s called {name!r}")
    objects.append((kind, thing))


def _arguments(message: str) -> str:
    """Pluggy's message about a hook's arguments, in our words."""
    hook = re.search(r"hook '(\w+)'", message)
    wrong = re.search(r"Argument\(s\) \{(.*?)\}", message)
    if hook is None or wrong is None:
        return " ".join(message.split())
    return f"hook {hook[1]} has the unknown argument {wrong[1]}; its only argument is `register`"


def _known() -> str:
    return f"The hooks are: {', '.join(_HOOKS)}"


def _short(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 60 else text[:57] + "..."
