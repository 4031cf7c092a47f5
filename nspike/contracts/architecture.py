"""The contract of a network plugin: how an architecture is recognised in a checkpoint, and what graph it is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.converter import Option, check_options, option_values
from nspike.contracts.format import check_finite
from nspike.contracts.plugin_code import called, check_functions, shortened
from nspike.contracts.tasks import Task as Task
from nspike.errors import BadInputError, PluginError, UsageError
from nspike.graph.geometry import parameter_count
from nspike.graph.network import Network
from nspike.runtime.explain import explain

Colour = Literal["gray", "rgb", "y"]

Arrays = Mapping[str, NDArray[np.float32]]
"""A network's parameters: for each convolution NAME float32 `NAME.weight` (C_out, C_in/groups, k, k) and `NAME.bias`
(C_out,), and where it has batch norm `NAME.bn_weight`, `NAME.bn_bias`, `NAME.bn_mean`, `NAME.bn_var` (C_out,); for other
layers those of `nspike.graph.geometry.GEOMETRY`."""


@dataclass(frozen=True)
class Architecture:
    """An architecture.

    Parameters
    ----------
    name, summary, source : how it is called, what it is in a line, the paper it comes from.
    task, colour : what such networks usually do, and the image they take: grey, RGB, or luma with chroma enlarged aside.
    read : a checkpoint's tensors by name -> (network, its parameters). Raises BadInputError that lists the keys that are
        missing and those that are not known.
    trained : "spiking" if its published checkpoints are of spiking networks, whose ReLUs never ran (`nspike.Info`).
    thop : network -> the names of the layers whose parameters the counter `thop` would count in the published code, which
        are those of torch.nn types; None where it counts all.
    told : whether `read` takes a second argument, for what no file says: what the network was trained to undo, such as
        {"scales": [3]} or {"sigma": 25.0}, empty if nothing is told.
    options, make : for training from scratch, the network's options and their values -> the network; None if it cannot be
        made without a checkpoint.
    hints : words that are a part of the keys of its published exports ("dncnn" in `dncnn.0.weight`): they decide where
        two architectures could read the same file.
    same_keys : other families, in words, whose files have the same keys and shapes, so that only outputs tell them apart.
    """

    name: str
    summary: str
    source: str
    task: Task
    colour: Colour
    read: Callable[..., tuple[Network, dict[str, NDArray[np.float32]]]]
    hints: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    make: Callable[[Mapping[str, Any]], Network] | None = None
    same_keys: tuple[str, ...] = ()
    told: bool = False
    thop: Callable[[Network], Iterable[str]] | None = None
    trained: Literal["plain", "spiking"] = "plain"

    def __post_init__(self) -> None:
        owner = f"network {self.name}"
        check_functions(owner, ("make", "thop"), read=self.read, make=self.make, thop=self.thop)
        check_options(owner, self.options)
        for what, value, known in (("task", self.task, get_args(Task)), ("colour", self.colour, get_args(Colour))):
            if value not in known:
                raise PluginError(f"{owner}: {what} is {value!r}; expected one of {', '.join(known)}")

    def network_of(
        self, tensors: Mapping[str, NDArray[np.generic]], degradation: Mapping[str, Any]
    ) -> tuple[Network, dict[str, NDArray[np.float32]]]:
        """What `read` makes of a checkpoint's tensors, told what the network was trained to undo if it asks for that."""
        return self.read(tensors, degradation) if self.told else self.read(tensors)

    def thop_count(self, network: Network) -> int | None:
        """How many parameters of a network of this architecture `thop` would count; None where it counts all."""
        if self.thop is None:
            return None
        try:
            counted = set(self.thop(network))
        except Exception as error:
            raise PluginError(f"network {self.name} failed to say what thop counts: {explain(error)}") from error
        return parameter_count(layer for layer in network.layers if layer.name in counted)

    def network(self, given: Mapping[str, Any] | None = None) -> Network:
        """The network that `given` options make. Raises UsageError if there is none, or for options that are not known."""
        if self.make is None:
            raise UsageError(
                f"network {self.name} cannot be trained from scratch: its plugin makes none without a file"
            )
        network = called(f"network {self.name}", self.make, option_values(f"network {self.name}", self.options, given))
        if not isinstance(network, Network):
            raise PluginError(f"network {self.name}: make gave {shortened(network)}; expected a nspike.Network")
        return network

    def colour_of(self, network: Network) -> Colour:
        """The image that `network` takes: the usual one, unless its number of channels says otherwise."""
        if network.channels == 3:
            return "rgb"
        return "gray" if self.colour == "rgb" else self.colour


_ANY: Mapping[str, Any] = {"sigma": 25.0, "scales": [2]}
"""What an architecture is told while a file is recognised, of which nothing is said."""


def recognise(tensors: Mapping[str, NDArray[np.generic]], architectures: Iterable[Architecture]) -> Architecture:
    """The one of `architectures` that the checkpoint `tensors` belongs to.

    It is the only one that can read it, or of those that can the only one of which a hint is a dotted part of some key.
    Raises BadInputError, with what each of them lacks, if none can; and if several can and no hint decides.
    """
    able, reasons = [], []
    for architecture in architectures:
        try:
            architecture.network_of(tensors, _ANY)
            able.append(architecture)
        except BadInputError as error:
            reasons.append(f"\n  {error}")
    parts = {part for key in tensors for part in key.split(".")}
    likely = [a for a in able if parts.intersection(a.hints)] if len(able) > 1 else able
    if len(likely) == 1:
        return likely[0]
    if able:
        raise BadInputError(f"the file could be any of {', '.join(a.name for a in able)}; say which it is")
    raise BadInputError(f"the file is of no known network{''.join(reasons)}")


def strip_shared(keys: Iterable[str]) -> dict[str, str]:
    """Key -> the key without the leading dotted parts that all `keys` share, such as `module.`."""
    split = {key: key.split(".") for key in keys}
    shared = 0
    while split and all(len(parts) > shared + 1 for parts in split.values()):
        if len({parts[shared] for parts in split.values()}) > 1:
            break
        shared += 1
    return {key: ".".join(parts[shared:]) for key, parts in split.items()}


def take(
    owner: str, tensors: Mapping[str, NDArray[np.generic]], wanted: Mapping[str, tuple[str, tuple[int, ...]]]
) -> dict[str, NDArray[np.float32]]:
    """The arrays of `wanted`: name -> (key in `tensors`, shape), as float32, for a network plugin's `read`.

    Batch norm's `num_batches_tracked` is ignored. Raises BadInputError, which names `owner`, lists the keys that are
    missing, those that are not known and those of another shape, or says which array is not finite or no floats.
    """
    keys = {key for key, _ in wanted.values()}
    missing = [key for key, _ in wanted.values() if key not in tensors]
    unknown = [key for key in tensors if key not in keys and not key.endswith("num_batches_tracked")]
    wrong = [
        f"{key} is {tensors[key].shape}, expected {shape}"
        for key, shape in wanted.values()
        if key in tensors and tensors[key].shape != shape
    ]
    faults = {"missing keys": missing, "unknown keys": unknown, "wrong shapes": wrong}
    if missing or unknown or wrong:
        raise BadInputError(f"{owner}: " + "; ".join(f"{what}: {shorten(keys)}" for what, keys in faults.items()))
    arrays = {}
    for name, (key, _) in wanted.items():
        if not np.issubdtype(tensors[key].dtype, np.floating):
            raise BadInputError(f"{owner}: {key!r} holds {tensors[key].dtype}, expected floating-point numbers")
        with np.errstate(over="ignore"):
            arrays[name] = np.ascontiguousarray(tensors[key], np.float32)
        check_finite(key, arrays[name])
    return arrays


def shorten(items: Iterable[str], most: int = 12) -> str:
    """`items` in one line, "none" if there are none, the rest counted after `most` of them."""
    listed = list(items)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return (", ".join(listed[:most]) or "none") + more
