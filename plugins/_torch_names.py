"""From what a pickle held to named tensors: wrappers are entered, whole modules walked, names made as `state_dict` does."""

from collections.abc import Iterator
from typing import Any

from nspike_plugins._pickle_names import Record
from nspike_plugins._reading import Refused
from nspike_plugins._torch_values import Tensor

_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model_state", "model", "net", "network")
_NOT_WEIGHTS = frozenset({
    "optimizer", "optimizers", "optimizer_state_dict", "optimizer_states", "optim", "scheduler", "schedulers",
    "lr_scheduler", "lr_schedulers", "scaler", "callbacks", "loops", "amp",
})  # fmt: skip
_MAX_DEPTH = 64
_MAX_VISITS = 2_000_000
_MAX_NAME = 1000


def named_tensors(root: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a checkpoint by name, and what was found around them, as text.

    `params_ema` is preferred to `params`, these to `state_dict`, then `model`. Wrappers may be nested.
    """
    path: list[str] = []
    ignored: list[str] = []
    while isinstance(root, dict) and len(path) < _MAX_DEPTH:
        inner = next((key for key in _WRAPPERS if isinstance(root.get(key), dict | Record)), None)
        if inner is None or not _Walk().tensors(root[inner]):
            break
        path.append(inner)
        ignored += [_label(key)[:40] for key in root if key != inner]
        root = root[inner]
    about = {"wrapper": ".".join(path), "ignored": ", ".join(ignored[:20])}
    if isinstance(root, Record):
        about["class"] = str(root.kind)
    elif isinstance(root, dict):
        root = {key: value for key, value in root.items() if key not in _NOT_WEIGHTS or isinstance(value, Tensor)}
    tensors: dict[str, Tensor] = {}
    for name, tensor in _Walk().tensors(root):
        if name in tensors:
            raise Refused(f"two of its tensors have the name {name[:120]!r}; expected each once")
        tensors[name] = tensor
    return tensors, {key: text for key, text in about.items() if text}


class _Walk:
    """One walk over a structure that may share parts a thousandfold, or contain itself."""

    def __init__(self) -> None:
        self._tensors: list[tuple[str, Tensor]] = []
        self._visits = 0
        self._above: set[int] = set()

    def tensors(self, root: Any) -> list[tuple[str, Tensor]]:
        """Every tensor at and below `root`, depth first, with its dotted name."""
        if isinstance(root, Tensor):
            return [("tensor", root)]
        self._descend(root, "")
        return self._tensors

    def _descend(self, parent: Any, name: str) -> None:
        if len(self._above) > _MAX_DEPTH or id(parent) in self._above:
            raise Refused("its objects contain themselves, or lie too deep; expected a network's weights")
        self._above.add(id(parent))
        for key, child in _children(parent):
            self._visits += 1
            if self._visits > _MAX_VISITS:
                raise Refused(f"it has more than {_MAX_VISITS} objects; expected a network's weights")
            if not isinstance(child, Tensor | dict | Record | list | tuple):
                continue
            label = f"{name}.{_label(key)}" if name else _label(key)
            if len(label) > _MAX_NAME:
                raise Refused(f"a tensor's name has more than {_MAX_NAME} letters; expected a network's weights")
            if isinstance(child, Tensor):
                self._tensors.append((label, child))
            else:
                self._descend(child, label)
        self._above.discard(id(parent))


def _children(thing: Any) -> Iterator[tuple[Any, Any]]:
    """The direct children of `thing`: of a module, what its state_dict has, in that order."""
    if isinstance(thing, dict):
        yield from thing.items()
    elif isinstance(thing, list | tuple):
        yield from enumerate(thing)
    elif isinstance(thing, Record) and isinstance(thing.state.get("_modules"), dict):
        transient = thing.state.get("_non_persistent_buffers_set") or ()
        for kind in ("_parameters", "_buffers", "_modules"):
            group = thing.state.get(kind)
            if isinstance(group, dict):
                yield from ((key, child) for key, child in group.items() if kind != "_buffers" or key not in transient)
    elif isinstance(thing, Record):
        yield from thing.state.items()
        yield from thing.entries.items()
        yield from enumerate(thing.items)


def _label(key: Any) -> str:
    """A key as a part of a name."""
    return str(key) if type(key) in (str, int) else "?"
