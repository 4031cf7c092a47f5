import dataclasses
import tracemalloc

import numpy as np
import pytest

from nspike.engine import tiling
from nspike.engine.plan import plan
from nspike.engine.readers import readers
from nspike.engine.tiling import bytes_per_pixel, tiles
from nspike.engine.window import Rect
from nspike.errors import UsageError
from nspike.graph.geometry import geometry
from nspike.graph.layer import IMAGE
from nspike.integer.rounding import build
from nspike.registry.plugins import registry
from tests.graphs import branched, chain, image, random_model, run


def integers(network, head="membrane", neuron="if", timesteps=4):
    return build(random_model(network, timesteps=timesteps), registry().neurons[neuron], registry().heads[head])


@pytest.mark.parametrize(("height", "width", "size"), [(1, 1, 64), (64, 65, 64), (200, 130, 128), (63, 300, 64)])
def test_tiles_cover_each_pixel_once_in_raster_order(height, width, size):
    covered = np.zeros((height, width), int)
    corners = []
    for core in tiles(height, width, size):
        covered[core.y0 : core.y1, core.x0 : core.x1] += 1
        corners.append((core.y0, core.x0))
        assert core.y0 % 64 == core.x0 % 64 == 0
        assert (core.height, core.width) == (core.y1 - core.y0, core.x1 - core.x0)
    assert (covered == 1).all()
    assert corners == sorted(corners)


def test_grown_stays_in_the_image():
    assert Rect(0, 64, 64, 100).grown(10, 70, 100) == Rect(0, 70, 54, 100)
    assert Rect(64, 128, 64, 128).grown(3, 500, 500) == Rect(61, 131, 61, 131)


def test_regions_shrink_layer_by_layer():
    parts = integers(branched(2, 2, 2, kernels=(1, 3, 5, 7)), "cpm")
    regions = plan(parts).regions(Rect(64, 128, 64, 100), 300, 100)
    # the head 1, conv_d 3, conv_c 2, conv_b 1
    for name, margin in {"conv_d": 1, "c": 4, "b": 6, "a": 7, IMAGE: 7}.items():
        assert regions[name] == Rect(64 - margin, 128 + margin, 64 - margin, 100)


def kernels(parts, name):
    """The kernel size and the output channels of each reader."""
    layers = [reader.layer for reader in readers(parts, plan(parts))[name]]
    return [(getattr(r, "kernel", 1), geometry(r).targets(r)) for r in layers]


def choose(parts, height, width, tile, memory):
    return tiling.choose(parts, plan(parts), height, width, tile, memory)


def test_readers():
    parts = integers(branched(2, 3, 4, channels=3, kernels=(1, 3, 5, 7), gate=True), "cpm")
    assert kernels(parts, "a") == [(3, 3), (5, 4), (7, 3)]
    assert kernels(parts, "c") == [(7, 3)]
    assert kernels(parts, "d") == [(1, 1)]
    assert kernels(parts, "output") == [(3, 3)]
    assert kernels(integers(chain(2)), "output") == []


def test_the_largest_tile_that_fits():
    parts = integers(chain(64, 64, 64))
    each = bytes_per_pixel(parts)
    assert each >= 2 * 4 * 64 // 8  # two layers of packed spikes
    assert choose(parts, 300, 200, None, 10**9) == 320
    assert choose(parts, 300, 200, None, each * 136 * 136) == 128
    assert choose(parts, 300, 200, None, each * 136 * 136 - 1) == 64
    assert choose(parts, 300, 200, None, each * 72 * 72) == 64
    with pytest.raises(UsageError, match=r'smallest tile takes 588 KiB; allow more \(memory="1M"\)$'):
        choose(parts, 300, 200, None, each * 72 * 72 - 1)
    assert choose(parts, 3, 2, None, each * 3 * 2) == 64
    assert choose(parts, 300, 200, 192, 1) == 192
    for tile in (0, -64, 1, 100):
        with pytest.raises(UsageError, match="positive multiple of 64"):
            choose(parts, 300, 200, tile, 10**9)


def observed_peak(network, neuron, head, timesteps, memory):
    """Bytes that NumPy held at most while the engine ran, beside what was held before; and the number of tiles."""
    model = random_model(network, timesteps=timesteps)
    pixels = image(0, 1, network.channels, 256, 256)
    count = []
    options = {"observer": None, "digest": False, "threads": 1, "memory": memory}
    run(model, pixels[..., :3, :3], neuron, head, **options)  # compiled and imported
    tracemalloc.start()
    try:
        run(model, pixels, neuron, head, progress=lambda done, total: count.append(total), **options)
        return tracemalloc.get_traced_memory()[1], count[0] // len(network.convs)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("network", "neuron", "head", "timesteps"),
    [
        (chain(64, 64), "if", "cpm", 15),
        (chain(3, 3, channels=3), "lif", "membrane", 10),
        (branched(3, 64, 17, kernels=(3, 1, 1, 3)), "mprn", "membrane", 10),
    ],
)
def test_memory_is_near_what_was_allowed(network, neuron, head, timesteps):
    parts = integers(network, head, neuron, timesteps)
    wanted = bytes_per_pixel(parts) * 150 * 150
    peak, count = observed_peak(network, neuron, head, timesteps, wanted)
    assert count == 4
    result = 256 * 256 * 8 * network.channels  # what the test itself holds
    assert peak - result < 1.5 * wanted + (4 << 20)


def test_wide_layers_with_many_planes_are_counted():
    parts = integers(chain(64))
    burst = dataclasses.replace(
        registry().neurons["if"], planes=(1, 2, 4), step=lambda *_: None, step_parameters=_theta
    )
    more = build(random_model(chain(64)), burst, registry().heads["membrane"])
    assert bytes_per_pixel(more) - bytes_per_pixel(parts) == 4 * 2 * 64 // 8


def _theta(parameters, theta, exponent):
    return np.zeros((1, len(theta)), np.int32)
