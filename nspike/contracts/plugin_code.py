"""How the functions of plugins are called, and what is checked of their objects: whatever is wrong names the plugin."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from nspike.errors import NspikeError, PluginError
from nspike.runtime.explain import explain

R = TypeVar("R")


def called(owner: str, function: Callable[..., R], *arguments: Any) -> R:
    """What a function of a plugin returns. Raises PluginError, which names the `owner`, where it raises anything of its own."""
    try:
        return function(*arguments)
    except (NspikeError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and type(error) is not SystemExit:  # a signal that ends the program
            raise
        raise PluginError(f"{owner} failed: {explain(error)}") from error


def check_functions(owner: str, optional: Collection[str] = (), **functions: Any) -> None:
    """Raise PluginError for one that is none; those that are `optional` may be None."""
    for name, value in functions.items():
        if not callable(value) and not (value is None and name in optional):
            raise PluginError(f"{owner}: {name} is {shortened(value)}; expected a function")


def shortened(thing: object) -> str:
    """Its `repr`, of 60 characters at most."""
    text = repr(thing)
    return text if len(text) <= 60 else text[:57] + "..."
