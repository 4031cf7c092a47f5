"""How the output of a network becomes an image: it is the image, or a residual.

A residual is subtracted from the network's input ("subtract", DnCNN's noise) or added to it ("add", VDSR's detail).
"""

from typing import Any, Literal, get_args

OutputMode = Literal["image", "subtract", "add"]
MODES: tuple[OutputMode, ...] = get_args(OutputMode)


def restored(mode: OutputMode, image: Any, output: Any) -> Any:
    """The restored image, not clipped, from the network's input and its output; arrays or tensors."""
    if mode == "image":
        return output
    return image - output if mode == "subtract" else image + output


def ideal_output(mode: OutputMode, image: Any, clean: Any) -> Any:
    """The output from which `restored` makes the clean image."""
    if mode == "image":
        return clean
    return image - clean if mode == "subtract" else clean - image
