"""AOD-Net (Li et al. 2017): five small convolutions, partly concatenated, give K; J = ReLU(K·x - K + 1).

Reads the layers `conv1` ... `conv5` or `e_conv1` ... `e_conv5`. The ReLUs between follow MayankSingal's PyTorch port,
which has one after each convolution, K included.
"""

from typing import Any

import numpy as np
from nspike_plugins._chain import Tensors

from nspike import Activation, Architecture, Concat, Conv, Gate, Network, hookimpl, strip_shared, take

# layer -> what it reads, channels read, kernel
_CONVS = {
    1: ("image", 3, 1),
    2: ("relu1", 3, 3),
    3: ("concat1", 6, 5),
    4: ("concat2", 6, 7),
    5: ("concat3", 12, 3),
}
_CONCATS = {
    3: Concat("concat1", ("relu1", "relu2")),
    4: Concat("concat2", ("relu2", "relu3")),
    5: Concat("concat3", ("relu1", "relu2", "relu3", "relu4")),
}


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def read(tensors: Tensors) -> tuple[Network, dict[str, np.ndarray]]:
    """A checkpoint's tensors -> the network conv1, relu1, ..., conv5, relu5, gate and its parameters."""
    original = {short: key for key, short in strip_shared(tensors).items()}
    stem = "e_conv" if any(key.startswith("e_conv") for key in original) else "conv"
    bias = any(key.startswith(stem) and key.endswith(".bias") for key in original)
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
    for i, (_, channels, kernel) in _CONVS.items():
        for part, shape in (("weight", (3, channels, kernel, kernel)), ("bias", (3,))):
            if part == "weight" or bias:
                wanted[f"conv{i}.{part}"] = (original.get(f"{stem}{i}.{part}", f"{stem}{i}.{part}"), shape)
    return graph(bias), take("aodnet", tensors, wanted)


def graph(bias: bool) -> Network:
    """The network conv1, relu1, ..., conv5, relu5, gate."""
    layers: list[Conv | Activation | Concat | Gate] = []
    for i, (source, channels, kernel) in _CONVS.items():
        if i in _CONCATS:
            layers.append(_CONCATS[i])
        layers += [Conv(f"conv{i}", source, channels, 3, kernel, bias), Activation(f"relu{i}", f"conv{i}", 3)]
    layers.append(Gate("gate", "relu5", 3))
    return Network("aodnet", 3, tuple(layers), "gate", "image", rectify=True)


ARCHITECTURE = Architecture(
    name="aodnet",
    summary="dehazing with 1761 parameters",
    source="Li et al. 2017, doi:10.1109/ICCV.2017.511",
    task="dehaze",
    colour="rgb",
    read=read,
    hints=("conv1", "e_conv1"),
    make=lambda options: graph(bias=True),
)
