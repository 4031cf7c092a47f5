"""What the commands on single images share: the model that a user asked for, and how it is told."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nspike.cli.options import Wanted
from nspike.cli.parts import parts_of
from nspike.cli.text import one_line
from nspike.cli.values import numbers

if TYPE_CHECKING:
    from nspike.images.file import ImageData
    from nspike.model.model import Model
    from nspike.restoration.choice import Choice


def choose(image: str, wanted: Wanted, max_pixels: int, *, steps: bool = False) -> "tuple[Choice, ImageData]":
    """The model for an image, with its parts replaced, and the image; `steps` as in `Request`."""
    from nspike.images import file as images
    from nspike.restoration.choice import Chooser, Request

    parts, _ = parts_of(wanted.plugins)
    chooser = Chooser(Request(neuron=parts.get("neuron"), head=parts.get("head"), steps=steps, **wanted.request()))
    read = images.read(image, max_pixels=max_pixels)
    return chooser.choose(read.pixels, read.blocks), read


def headline(image: str, choice: "Choice") -> str:
    """What runs on which image, and what was decided without the user."""
    from nspike.registry.parts import neuron_of, spiking_of

    spiking, post_steps = spiking_of(choice.model), neuron_of(choice.model).post_steps
    lines = [
        f"{one_line(image)}: model {choice.name}, {spiking.neuron}, {spiking.head}, T = {spiking.timesteps}"
        + (f" + {post_steps}" if post_steps else "")
    ]
    lines += [f"not the shipped configuration: {change}" for change in choice.changes]
    return "\n".join([*lines, *choice.notes, *(f"warning: {warning}" for warning in choice.warnings)])


def configuration(choice: "Choice") -> dict[str, Any]:
    """The same as plain values."""
    from nspike.registry.parts import neuron_of, spiking_of

    spiking = spiking_of(choice.model)
    return {
        "model": choice.name,
        "model_digest": choice.digest,
        "neuron": spiking.neuron,
        "head": spiking.head,
        "T": spiking.timesteps,
        "post_steps": neuron_of(choice.model).post_steps,
        "scale": choice.scale,
        "changes": list(choice.changes),
        "notes": list(choice.notes),
        "warnings": list(choice.warnings),
    }


def refuse(options: Mapping[str, Any], why: str) -> None:
    """Raise UsageError for the first of these options that was given."""
    from nspike.errors import UsageError

    for option, value in options.items():
        if value not in (None, ()):
            raise UsageError(f"{option}: {why}")


def refuse_head_parameters(model: "Model", wanted: Wanted) -> None:
    """Raise UsageError where --set is for the head: certificates and traces hold only the digests of its parameters."""
    from nspike.errors import UsageError
    from nspike.registry.parts import parameter_names

    _, of_head = parameter_names(model)
    for name in numbers(wanted.pairs):
        if name in of_head:
            raise UsageError(
                f"--set {name}: certificates and traces hold a head's parameters as digests; set none of them"
            )
