"""Restormer (Zamir et al. 2022): an encoder-decoder of four levels whose blocks attend to channels, not to pixels.

Reads swz30/Restormer, at any width and number of blocks: norms with biases (deraining, deblurring) or without (denoising, of
grey images too). Its dual-pixel form takes two images and is not read. The last layer of each level has the level's name
(`encoder_level1`, ..., `latent`, `decoder_level3`, ..., `refinement`).
"""

from collections.abc import Mapping
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels
from nspike_plugins._restormer import Build, Sizes, block_counts, sizes_of, usual
from nspike_plugins._restormer import read as parameters

from nspike import Architecture, BadInputError, Network, Option, UsageError, hookimpl

NAME = "restormer"


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(sizes: Sizes) -> tuple[Network, Build]:
    """The network, and where its parameters are in a file."""
    build = Build(sizes)
    one, two, three, top = build.encoder()
    width = sizes.width
    top = build.decoder_level(3, top, 8 * width, three)
    top = build.decoder_level(2, top, 4 * width, two)
    top = build.decoder_level(1, top, 2 * width, one)
    return build.end(NAME, top), build


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    if "skip_conv.weight" in keys:
        raise BadInputError(
            "restormer: skip_conv.weight: it is a network for dual-pixel images, of 6 channels; expected 1 or 3 channels"
        )
    image_channels(NAME, keys.size("patch_embed.proj.weight", 1, 3))
    network, build = graph(sizes_of(NAME, keys))
    return parameters(keys, build, network)


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    if options["width"] % 2:
        raise UsageError(f"network restormer: width {options['width']}: expected an even number")
    bias = options["norm"] == "bias"
    sizes = usual(
        options["width"], options["channels"], block_counts(options["blocks"]), options["refinement"], bias=bias
    )
    return graph(sizes)[0]


ARCHITECTURE = Architecture(
    name=NAME,
    summary="a transformer over channels in four levels; plain, as a teacher",
    source="Zamir et al. 2022, doi:10.1109/CVPR52688.2022.00564",
    task="denoise",
    colour="rgb",
    read=read,
    options=(
        Option("width", 48, "channels at the image's size; twice as many at each half", low=2, high=1024),
        Option("blocks", "4,6,6,8", "transformer blocks of the four levels"),
        Option("refinement", 4, "transformer blocks after them", low=1, high=100),
        Option(
            "norm", "bias", "layer norms with biases, or without as for Gaussian noise", choices=("bias", "biasfree")
        ),
        Option("channels", 3, "of the image", choices=(1, 3)),
    ),
    make=make,
)
