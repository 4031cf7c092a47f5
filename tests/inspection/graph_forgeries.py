"""Forgeries of what only certificates of networks with strides, sums, moves and several resolutions have.

The rows are as in `tests.inspection.forgeries`.
"""

import hashlib
from dataclasses import replace

import numpy as np

import nspike
from nspike.graph.layer import Constant
from nspike.images import file as images
from nspike.restoration.way import padded
from tests.inspection.forgeries import claiming, digit, last, more, parameter, spiking, stored, value, values, without
from tests.inspection.networks import edsr, ffdnet, model_of, shuffles, unet

GRAPH_BASES = {
    "unet": (model_of(unet(), 1, head="cpm", neuron="mprn"), (10, 79), None),
    "shuffles": (model_of(shuffles(), 2), (9, 10), None),
    "ffdnet": (model_of(ffdnet(), 3), (9, 12), None),
    "edsr": (model_of(edsr(), 4, neuron="mprn", head="rate"), (7, 6), 2),
}


def spikes_of(model, image, layer):
    """(steps, planes·C, H, W) of a grey image."""
    seen = {}

    def observer(part):
        seen[part.layer, part.core.y0, part.core.x0] = part.dense()

    nspike.restore(model, image, tile=64, observer=observer)
    rows = sorted({y for name, y, _ in seen if name == layer})
    columns = sorted({x for name, _, x in seen if name == layer})
    return np.concatenate([np.concatenate([seen[layer, y, x] for x in columns], axis=-1) for y in rows], axis=-2)


def blocks_of(side):
    """The digests of layer b, at half the resolution, over blocks of another side than the rule's."""

    def change(case):
        certificate = case.values()
        steps = next(layer for layer in certificate["layers"] if layer["name"] == "b")["steps"]
        for step, spikes in zip(steps, spikes_of(nspike.load(case.model), case.image, "b"), strict=True):
            leaves = b""
            for y in range(0, spikes.shape[1], side):
                for x in range(0, spikes.shape[2], side):
                    bits = np.packbits(spikes[:, y : y + side, x : x + side].ravel(), bitorder="little")
                    leaves += hashlib.sha256(bits.tobytes()).digest()
            assert hashlib.sha256(leaves).hexdigest() != step["sha256"]
            step["sha256"] = hashlib.sha256(leaves).hexdigest()
        case.put(certificate)

    return change


def plane_of(multiple, mode):
    """The digest of the input plane, padded in another way."""

    def change(case):
        plane = images.read(case.image).pixels.astype(np.int32)[None, None] * 257
        rows, columns = (-side % multiple for side in plane.shape[2:])
        other = np.pad(plane, ((0, 0), (0, 0), (0, rows), (0, columns)), mode=mode)
        assert not np.array_equal(other, padded(plane, 4))
        value("input", "plane_sha256", to=hashlib.sha256(other.astype("<i4").tobytes()).hexdigest())(case)

    return change


def constant(name, *to):
    def edit(model):
        def changed(layer):
            return replace(layer, values=to) if layer.name == name else layer

        return replace(model, network=model.network.changed(Constant, changed))

    return edit


def half(array):
    return array / 2


def step_of(layer, number, to):
    return value("layers", layer, "steps", number, to=to)


LEVELS = ("parameters", "noise_levels")

GRAPH_FORGERIES = [
    # padding
    ("the plane padded by its last pixel", "unet", plane_of(4, "edge"), "refuted"),
    ("the plane padded with its last pixel twice", "unet", plane_of(4, "symmetric"), "refuted"),
    ("the plane padded too far", "unet", values(plane_of(8, "reflect"), value("input", "height", to=16)), "refuted"),
    ("the height before padding", "unet", value("input", "image_height", to=more), "refuted"),
    ("the width before padding as the plane's", "unet", value("input", "image_width", to=80), "refuted"),
    ("no height before padding", "unet", without("input", "image_height"), "refuted"),
    ("a height before padding where there is none", "mprn", value("input", to=lambda i: i | {"image_height": 20}), "refuted"),
    # the integers
    ("a stored shift", "unet", stored("joined", "shift_1", last(1)), "unchecked"),
    ("a shift more", "unet", stored("joined", "shift_0", lambda _: np.zeros(6, np.int64), new=True), "unchecked"),
    ("a stored writer's weight", "unet", stored("skip", "weights", last(-1)), "unchecked"),
    ("a stored writer's exponent", "unet", stored("skip", "exponent", last(-1)), "unchecked"),
    ("a stored writer's bias", "unet", stored("same", "bias", last(1)), "unchecked"),
    ("a bias of neurons that integrate a sum", "unet", stored("d", "bias", last(1)), "unchecked"),
    ("a stored weight of a group", "shuffles", stored("grouped", "weights", last(-1)), "unchecked"),
    ("stored planes", "shuffles", stored("c", "planes", last(1)), "unchecked"),
    ("a writer's weight, claimed", "unet", claiming(parameter("skip.weight", np.negative)), "refuted"),
    ("a writer's bias, claimed", "unet", claiming(parameter("same.bias", last(2.5))), "refuted"),
    ("a depthwise weight, claimed", "shuffles", claiming(parameter("depth.weight", np.negative)), "refuted"),
    ("a scale behind moves, claimed", "shuffles", claiming(spiking("scales", "b", half)), "refuted"),
    ("a threshold over a sum, claimed", "unet", claiming(spiking("thresholds", "d", half)), "refuted"),
    ("a constant, claimed", "ffdnet", claiming(constant("grey", 0.5, 0.25)), "refuted"),
    # the noise level
    ("another noise level", "ffdnet", value(*LEVELS, "sigma", to=[0.5]), "refuted"),
    ("a noise level as a number", "ffdnet", value(*LEVELS, "sigma", to=0.5), "refuted"),
    ("a noise level as text", "ffdnet", value(*LEVELS, "sigma", to=["0.5"]), "refuted"),
    ("a noise level past what is possible", "ffdnet", value(*LEVELS, "sigma", to=[4.5]), "refuted"),
    ("a noise level too many", "ffdnet", value(*LEVELS, "sigma", to=lambda v: v * 2), "refuted"),
    ("the noise level of another layer", "ffdnet", value(*LEVELS, "grey", to=[0.5, -0.25]), "refuted"),
    ("no noise level", "ffdnet", without(*LEVELS), "refuted"),
    ("a noise level where none is told", "unet", value(*LEVELS, to={"sigma": [0.1]}), "refuted"),
    # signed layers
    ("no signed layers", "edsr", without("parameters", "signed_layers"), "refuted"),
    ("a signed layer less", "edsr", value("parameters", "signed_layers", to=lambda s: s[:-1]), "refuted"),
    ("a signed layer more", "edsr", value("parameters", "signed_layers", to=lambda s: [*s, "r1"]), "refuted"),
    ("signed layers where none are", "unet", value("parameters", "signed_layers", to=["a"]), "refuted"),
    ("all planes signed", "edsr", value("parameters", "neuron_planes", to=[1, -1]), "refuted"),
    ("signed spikes in one plane", "edsr", step_of(0, 1, lambda s: s | {"events": [sum(s["events"])]}), "refuted"),
    # layers of several sizes
    ("blocks of 64 at half the resolution", "unet", blocks_of(64), "refuted"),
    ("blocks of 16 at half the resolution", "unet", blocks_of(16), "refuted"),
    ("a layer's shape as the image's", "unet", value("layers", 1, "shape", to=[6, 12, 80]), "refuted"),
    ("the fan-out of a strided reader", "unet", step_of(0, 1, lambda s: s | {"synops": s["synops"] + 6}), "refuted"),
    ("a strided reader on paper", "unet", step_of(0, 1, lambda s: s | {"synops_paper": s["events"][0] * 33}), "refuted"),
    ("the fan-out through an enlargement", "unet", step_of(3, 1, lambda s: s | {"synops": s["synops"] // 4}), "refuted"),
    ("bias additions of a sum", "unet", step_of(3, 0, lambda s: s | {"bias_additions": 1}), "refuted"),
    # additions of currents, and the rest
    ("current_additions", "unet", value("work", "current_additions", to=more), "refuted"),
    ("no current_additions", "unet", without("work", "current_additions"), "refuted"),
    ("current_additions by step", "unet", value("work", "current_additions", to=lambda n: [n]), "refuted"),
    ("current_additions where there are none", "mprn", value("work", to=lambda w: w | {"current_additions": 0}), "refuted"),
    ("MACs of a strided layer", "unet", value("work", "ann_macs", to=more), "refuted"),
    ("MACs of a constant's channel", "ffdnet", value("work", "analog_macs", to=more), "refuted"),
    ("the size kept by a network that enlarges", "edsr", value("input", "scale", to=None), "refuted"),
    ("another scale than the network's", "edsr", value("input", "scale", to=3), "refuted"),
    ("the enlarged pixels", "edsr", value("output", "sha256", to=digit), "refuted"),
    ("the result with its padding", "unet", value("output", "shape", to=[12, 80]), "refuted"),
]  # fmt: skip
