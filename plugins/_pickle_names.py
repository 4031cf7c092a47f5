"""What a pickle may mention: names that are never imported, and objects that do nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nspike_plugins._reading import Refused

_HARMFUL = frozenset({
    "os", "posix", "nt", "subprocess", "commands", "popen2", "sys", "shutil", "pty", "socket", "importlib", "imp",
    "pkgutil", "runpy", "pydoc", "ctypes", "code", "timeit", "pdb", "bdb", "cProfile", "profile", "webbrowser",
    "multiprocessing", "tempfile", "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal",
    "shelve", "pip", "ensurepip", "setuptools", "distutils", "requests", "urllib", "urllib2", "http", "httplib",
    "nspike", "nspike_plugins",
})  # fmt: skip
_BUILTIN_MODULES = ("builtins", "__builtin__", "__builtins__")
_BUILTINS = frozenset({
    "set", "frozenset", "bytearray", "bytes", "complex", "list", "dict", "tuple", "int", "long", "float", "bool",
    "str", "unicode", "object", "slice", "range", "xrange",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function: never the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:120]


@dataclass(eq=False, slots=True)
class Record:
    """An object of a class that is not ours: its arguments, its state, and what was put into it as a list or a dict."""

    kind: Global
    args: tuple[Any, ...] = ()
    state: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)


Constructors = Mapping[Global, Callable[..., Any]]
"""The globals that may be called, each with the inert function that replaces it."""

_KEYS = (str, int, float, bool, bytes, type(None), complex, Global, Record)


def refuse_harmful(name: Global) -> None:
    """Raise for a global that no network needs and that attacks are made of, even where it is only mentioned."""
    package = name.module.split(".")[0]
    if package in _HARMFUL or (package in _BUILTIN_MODULES and name.name not in _BUILTINS):
        raise Refused(
            f"its pickle names {str(name)!r}, which can run code or reach files and which no network needs; "
            "expected the weights alone; do not open this file with other programs either"
        )


def not_callable(target: Any) -> Refused:
    """The error for a call of something that is not on the list."""
    what = str(target) if isinstance(target, Global) else type(target).__name__
    return Refused(
        f"its pickle calls {what!r}, which is not on the list of what a checkpoint may call; "
        "save the weights alone, with torch.save(model.state_dict(), path), and read that file"
    )


def checked_keys(keys: list[Any]) -> list[Any]:
    """`keys`, all of a kind whose hash is cheap: that of a deeply nested tuple overflows the C stack."""
    for key in keys:
        for part in key if type(key) is tuple else (key,):
            if type(part) not in _KEYS:
                raise TypeError(f"a {type(part).__name__} as a key")
    return keys
