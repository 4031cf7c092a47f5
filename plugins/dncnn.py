"""DnCNN (Zhang et al. 2017): a chain of convolutions with ReLUs between that predicts the noise; y = x - f(x).

Reads the exports of KAIR (`model.N`, batch norm merged or not), of cszn's and similar PyTorch code (`dncnn.N`) and of
MatConvNet (`layers.N`), at any depth and width, grey or RGB. See `_chain` for how their layers are numbered.
"""

from typing import Any

import numpy as np
from nspike_plugins._chain import Tensors, chain, chain_options, read_numbered

from nspike import Architecture, Network, hookimpl


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def read(tensors: Tensors) -> tuple[Network, dict[str, np.ndarray]]:
    """A checkpoint's tensors -> the network conv1, relu1, ..., convN and its parameters."""
    return read_numbered("dncnn", "subtract", tensors, foreign={"net": "vdsr", "vdsr": "vdsr"})


ARCHITECTURE = Architecture(
    name="dncnn",
    summary="residual denoiser: convolutions and ReLUs, 17 layers of 64 channels in the paper",
    source="Zhang et al. 2017, doi:10.1109/TIP.2017.2662206",
    task="denoise",
    colour="gray",
    read=read,
    same_keys=("IRCNN (dilated convolutions)", "other plain chains of convolutions"),
    hints=("dncnn", "model", "layers"),
    options=chain_options(17),
    make=lambda options: chain("dncnn", "subtract", options, bias=True),
)
