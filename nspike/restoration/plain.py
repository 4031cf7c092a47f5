"""The plain network over the planes of an image, and the ledger of what that costs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.ledger import Ledger
from nspike.errors import UsageError
from nspike.graph.geometry import needs_everything
from nspike.graph.network import Network
from nspike.images.plane import UNIT
from nspike.model.model import Model
from nspike.restoration.way import BAND, Pixels, integers
from nspike.runtime.amounts import allow_more, mebibytes

if TYPE_CHECKING:
    from nspike.engine.window import Part

Progress = Callable[[int, int], None]
_LEAST_BAND = 256


def run(
    model: Model,
    network_planes: Pixels,
    sink: "Callable[[Part], None]",
    threads: int | None,
    memory: int,
    progress: Progress | None,
) -> None:
    """Run the plain network on planes (N, C, H, W), in bands of rows whose floats take about half of `memory` bytes.

    A network that looks at the whole image is given all of it at once. sink, progress : as the engine's. Raises UsageError if
    such a network takes more than `memory`.
    """
    from nspike.ann import run as ann
    from nspike.engine.window import Part, Rect

    count, channels, height, width = network_planes.shape
    if needs_everything(model.network.layers):
        memory = 2 * _room(model.network, height, width, memory)
    multiple, scale = model.network.size_multiple, model.network.scale
    halo = -(-model.network.radius // multiple) * multiple
    rows = max(memory // (16 * channels * width) - 2 * halo, _LEAST_BAND)
    rows = height if needs_everything(model.network.layers) else -(-rows // multiple) * multiple
    starts = range(0, height, rows)
    for number, (n, y0) in enumerate((n, y0) for n in range(count) for y0 in starts):

        def report(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, count * len(starts) * total)

        y1 = min(y0 + rows, height)
        top, bottom = max(0, y0 - halo), min(height, y1 + halo)
        output = ann.run(
            model.network,
            model.parameters,
            _float_plane(network_planes[n, :, top:bottom])[None],
            threads=threads,
            memory=memory // 2,
            progress=report,
        )[0, :, scale * (y0 - top) : scale * (y1 - top)]
        for y in range(y0, y1, BAND):
            last = min(y + BAND, y1)
            part = output[:, scale * (y - y0) : scale * (last - y0)].astype(np.float64)
            core = Rect(y, last, 0, width)
            sink(Part(n, core, integers(network_planes[n, :, y:last]), part))


def _room(network: Network, height: int, width: int, memory: int) -> int:
    """The bytes that are left for the layers of a network that looks at the whole image. Raises UsageError."""
    from nspike.ann import run as ann

    planes = 4 * network.channels * height * width * (1 + network.scale**2)
    least = planes + ann.least_memory(network, height, width)
    if least > memory:
        raise UsageError(
            f"network {network.name} looks at the whole image: on {width}×{height} pixels it takes at least "
            f"{mebibytes(least, up=True)}, and may take {mebibytes(memory)}; "
            + " or ".join(filter(None, (allow_more(least), "give it a smaller image")))
            + "; it has no tiles"
        )
    return memory - planes


def ledger(network: Network, shape: tuple[int, ...]) -> Ledger:
    """The ledger of the plain ANN on planes of `shape` (N, C, H, W): its multiply-accumulates, and nothing of spikes."""
    planes, channels, height, width = shape
    return Ledger(
        planes=planes,
        shape=(channels, height, width),
        timesteps=0,
        post_steps=0,
        layers=(),
        analog_macs=0,
        analog_macs_paper=0,
        output_additions=0,
        head_synops=0,
        head_synops_paper=0,
        head_macs=0,
        ann_macs=planes * network.macs(height, width),
        ann_macs_paper=planes * network.macs_paper(height, width),
        weights=network.weights,
    )


def _float_plane(pixels: Pixels) -> NDArray[np.float32]:
    """(C, H, W) pixels as the ANN's float32 input, each number rounded once."""
    plane = np.empty(pixels.shape, np.float32)
    for y0 in range(0, pixels.shape[1], BAND):
        window = (slice(None), slice(y0, y0 + BAND))
        plane[window] = integers(pixels[window]) / float(UNIT)
    return plane
