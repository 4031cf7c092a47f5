"""PRN (Ren et al. 2019): residual blocks applied again and again to the image beside what they have made of it so far.

The relative of PReNet without its memory. Reads csdwren/PReNet (`conv0.0`, `res_convI.0`, `res_convI.2`, `conv.0`). The stages
share their weights and are unrolled; no file says how many there are: six, as published.
"""

from collections.abc import Mapping
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import Activation, Add, Architecture, Concat, Conv, Network, Option, hookimpl

STAGES = 6


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, width: int, blocks: int, stages: int) -> Network:
    """The network stage1_conv0, ..., stage1_out, stage1_image, stage2_input, ...; its output is added to the image."""
    layers: list[Any] = []

    def conv(stage: int, name: str, source: str, inputs: int, outputs: int) -> str:
        own, first = f"stage{stage}_{name}", f"stage1_{name}"
        layers.append(Conv(own, source, inputs, outputs, 3, tied=None if stage == 1 else first))
        return own

    def relu(source: str, name: str) -> str:
        layers.append(Activation(name, source, width))
        return name

    image = "image"
    for stage in range(1, stages + 1):
        layers.append(Concat(f"stage{stage}_input", ("image", image)))
        top = relu(conv(stage, "conv0", f"stage{stage}_input", 2 * channels, width), f"stage{stage}_relu0")
        for i in range(1, blocks + 1):
            inner = relu(conv(stage, f"res{i}_conv1", top, width, width), f"stage{stage}_res{i}_relu1")
            inner = relu(conv(stage, f"res{i}_conv2", inner, width, width), f"stage{stage}_res{i}_relu2")
            layers.append(Add(f"stage{stage}_res{i}", (inner, top)))
            top = relu(f"stage{stage}_res{i}", f"stage{stage}_res{i}_relu3")
        out = conv(stage, "out", top, width, channels)
        if stage < stages:
            image = f"stage{stage}_image"
            layers.append(Add(image, (out, "image")))
    return Network("prn", channels, tuple(layers), layers[-1].name, "add")


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    channels = image_channels("prn", keys.size("conv0.0.weight", 1, 6) // 2)
    blocks = max(1, keys.count("res_conv{}.", 6) - 1)
    network = graph(channels, keys.size("conv0.0.weight", 0, 32), blocks, STAGES)
    stems = {"stage1_conv0": "conv0.0", "stage1_out": "conv.0"}
    for i in range(1, blocks + 1):
        stems |= {f"stage1_res{i}_conv1": f"res_conv{i}.0", f"stage1_res{i}_conv2": f"res_conv{i}.2"}
    return keys.read(network, stems)


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    return graph(options["channels"], options["width"], options["blocks"], options["stages"])


ARCHITECTURE = Architecture(
    name="prn",
    summary="deraining in six stages of five residual blocks that share their weights",
    source="Ren et al. 2019, doi:10.1109/CVPR.2019.00406",
    task="derain",
    colour="rgb",
    read=read,
    hints=("res_conv1",),
    options=(
        Option("stages", STAGES, "how often the blocks are applied", low=1, high=20),
        Option("blocks", 5, "residual blocks", low=1, high=100),
        Option("width", 32, "channels", low=1, high=65536),
        Option("channels", 3, "of the image", choices=(1, 3)),
    ),
    make=make,
)
