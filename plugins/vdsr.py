"""VDSR (Kim et al. 2016): a chain of convolutions with ReLUs between that predicts the detail; y = x + f(x).

Works on the luma of an image that is enlarged already. Reads numbered layers (`net.N`, see `_chain`) and the names of
twtygqyy/pytorch-vdsr (`input`, `residual_layer.I.conv`, `output`), at any depth and width, with or without biases.
"""

import re
from typing import Any

import numpy as np
from nspike_plugins._chain import Tensors, chain, chain_options, read_chain, read_numbered

from nspike import Architecture, Network, hookimpl, strip_shared


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def read(tensors: Tensors) -> tuple[Network, dict[str, np.ndarray]]:
    """A checkpoint's tensors -> the network conv1, relu1, ..., convN and its parameters."""
    original = {short: key for key, short in strip_shared(tensors).items()}
    inner = [int(match[1]) for key in original if (match := re.match(r"residual_layer\.(\d{1,4})\.conv\.", key))]
    if not inner:
        return read_numbered("vdsr", "add", tensors, foreign={"dncnn": "dncnn", "model": "dncnn"})
    convs = ["input", *(f"residual_layer.{i}.conv" for i in range(max(inner) + 1)), "output"]
    parts = ["weight", "bias"] if any(key.endswith(".bias") for key in original) else ["weight"]
    keys = [{part: f"{conv}.{part}" for part in parts} for conv in convs]
    layout = [{part: original.get(key, key) for part, key in conv.items()} for conv in keys]
    return read_chain("vdsr", "add", layout, tensors)


ARCHITECTURE = Architecture(
    name="vdsr",
    summary="residual super-resolution of an enlarged luma: convolutions and ReLUs, 20 layers of 64 in the paper",
    source="Kim et al. 2016, doi:10.1109/CVPR.2016.182",
    task="superres",
    colour="y",
    read=read,
    same_keys=("other plain chains of convolutions, such as DnCNN",),
    hints=("net", "vdsr", "residual_layer"),
    options=chain_options(20),
    make=lambda options: chain("vdsr", "add", options, bias=False),
)
