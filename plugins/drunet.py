"""DRUNet (Zhang et al. 2021): a U-Net of residual blocks, with strided and transposed convolutions, told the noise level.

Reads KAIR's exports (`m_head`, `m_down1` ... `m_down3`, `m_body`, `m_up3` ... `m_up1`, `m_tail`), at any widths and any number
of blocks, grey or RGB, with or without biases. A transposed 2×2 convolution is read as a 1×1 one and a pixel shuffle.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels, residual

from nspike import Add, Architecture, Concat, Constant, Conv, Network, Option, PixelShuffle, hookimpl

SIGMA = 25.0
LEVELS = 3


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, widths: Sequence[int], blocks: int, *, bias: bool) -> Network:
    """The network input, head, down1_block1, ..., body_block1, ..., up1_block1, ..., tail."""
    layers: list[Any] = [
        Constant("sigma", "image", (SIGMA / 255,), "sigma"),
        Concat("input", ("image", "sigma")),
        Conv("head", "input", channels + 1, widths[0], 3, bias),
    ]
    skips = []
    for i in range(1, LEVELS + 1):
        skips.append(layers[-1].name)
        for j in range(1, blocks + 1):
            layers += residual(f"down{i}_block{j}", layers[-1].name, widths[i - 1], bias)
        layers.append(Conv(f"down{i}", layers[-1].name, widths[i - 1], widths[i], 2, bias, stride=2, padding=(0, 0)))
    skips.append(layers[-1].name)
    for j in range(1, blocks + 1):
        layers += residual(f"body_block{j}", layers[-1].name, widths[LEVELS], bias)
    for i in range(LEVELS, 0, -1):
        layers.append(Add(f"skip{i}", (layers[-1].name, skips[i])))
        layers.append(Conv(f"up{i}", f"skip{i}", widths[i], 4 * widths[i - 1], 1, bias))
        layers.append(PixelShuffle(f"up{i}_shuffle", f"up{i}", 2))
        for j in range(1, blocks + 1):
            layers += residual(f"up{i}_block{j}", layers[-1].name, widths[i - 1], bias)
    layers += [Add("skip0", (layers[-1].name, skips[0])), Conv("tail", "skip0", widths[0], channels, 3, bias)]
    return Network("drunet", channels, tuple(layers), "tail", "image")


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    channels = image_channels("drunet", keys.size("m_head.weight", 1, 4) - 1)
    blocks = keys.count("m_body.{}.res.", 4)
    widths = [keys.size("m_head.weight", 0, 64)]
    widths += [keys.size(f"m_down{i}.{blocks}.weight", 0, widths[0] << i) for i in range(1, LEVELS + 1)]
    network = graph(channels, widths, blocks, bias="m_head.bias" in keys)
    stems = {"head": "m_head", "tail": "m_tail"}
    for i in range(1, LEVELS + 1):
        stems |= {f"down{i}": f"m_down{i}.{blocks}", f"up{i}": f"m_up{i}.0"}
    for j in range(1, blocks + 1):
        for k in (1, 2):
            stems[f"body_block{j}_conv{k}"] = f"m_body.{j - 1}.res.{2 * k - 2}"
            for i in range(1, LEVELS + 1):
                stems[f"down{i}_block{j}_conv{k}"] = f"m_down{i}.{j - 1}.res.{2 * k - 2}"
                stems[f"up{i}_block{j}_conv{k}"] = f"m_up{i}.{j}.res.{2 * k - 2}"
    return keys.read(network, stems, transposed={f"up{i}": (2, 0) for i in range(1, LEVELS + 1)})


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    widths = [options["width"] << i for i in range(LEVELS + 1)]
    return graph(options["channels"], widths, options["blocks"], bias=False)


ARCHITECTURE = Architecture(
    name="drunet",
    summary="denoiser that is told the noise level: a U-Net of residual blocks, four of 64 to 512 channels a level",
    source="Zhang et al. 2021, doi:10.1109/TPAMI.2021.3088914",
    task="denoise",
    colour="rgb",
    read=read,
    hints=("m_head",),
    options=(
        Option("width", 64, "channels at the image's size; twice as many at each half", low=1, high=4096),
        Option("blocks", 4, "residual blocks of each level", low=1, high=100),
        Option("channels", 3, "of the image", choices=(1, 3)),
    ),
    make=make,
)
