"""Check an nspike certificate without nspike; needs NumPy, h5py and Pillow.

    python check_certificate.py CERTIFICATE.json MODEL.h5 IMAGE

From the numbers in the model's file the integers are made anew, by the rules of docs/reference/files.md, and every neuron is
simulated in float64, where sums of integers are exact in any order:

    u = v + I(t);   s = [u >= fire(t)·θ];   v = u - s·amplitude(t)·θ

(with a leak, signed and several spikes at a step, and a reset to zero where a neuron has them: see `run`). I(t) is the
current of a convolution or gate with its bias, or what sums, means, enlargements and moves make of such currents.
Every field of the certificate is compared with what follows, in the order of the work. Exit code 0: it holds. 1: it is
refuted, and the first difference is named. 2: it could not be checked, and why.
"""

import hashlib
import io
import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

import h5py
import numpy as np
from PIL import Image

WHITE = 65535
IMAGE = "image"
OUTPUT = "output"
BLOCK = 64
UNBOUNDED = 1 << 40
MOST_STEPS = 126
MOST_BYTES = 4 << 30
NEVER = 2**31 - 1
HEADS = {"membrane": (False, 0), "rate": (True, 0), "cpm": (True, 3), "mapper": (True, 3), "recycling": (True, 1)}
"""Name -> whether the output layer fires, and the side of the convolution over its spikes."""
V_INIT = ("v_init", lambda v: -1 <= v <= 1)
NEURONS = {
    "if": (0, dict([V_INIT])),
    "signed": (0, dict([V_INIT])),
    "lif": (0, dict([("tau", lambda v: 1 <= v <= 65536), ("decay_input", lambda v: 0 <= v <= 1), V_INIT])),
    "lif_hard": (0, dict([("tau", lambda v: 1 <= v <= 65536), ("decay_input", lambda v: 0 <= v <= 1), V_INIT])),
    "mprn": (1, dict([("beta", lambda v: -30 <= v <= 30), V_INIT])),
    "mprn_beta": (1, dict([("alpha", lambda v: 0.5 < v <= 1), ("beta", lambda v: 0 < v <= 4), V_INIT])),
    "burst": (0, dict([("gamma", lambda v: v in range(1, 8)), V_INIT])),
    "ternary": (0, dict([("amplitude", lambda v: 0 < v <= 2), ("leak", lambda v: 0 <= v <= 1), V_INIT])),
    "atif": (0, dict([("theta", lambda v: 0 < v <= 2), V_INIT])),
    "few_spikes": (0, {"slots": lambda v: v in range(1, 7), "round": lambda v: 0 <= v <= 0.75}),
    "dietsnn": (0, dict([("keep", lambda v: 0 <= v <= 1), V_INIT])),
}
"""Name -> steps after T, and what its parameters may be."""
PLANES = {"signed": [1, -1], "burst": [1, 2, 4], "few_spikes": [1, 2, 4, 8, 16, 32], "ternary": [1, -1]}
"""Name -> the gains of its planes of spikes, where they are not [1]."""
DIGITS = {"few_spikes"}
"""The neurons whose planes are digits: a spike of any is one accumulation, and each digit an update of the neuron."""


class Refuted(Exception):
    """Something is not as the certificate says."""


class Unchecked(Exception):
    """This script cannot tell."""


def claim(where, claimed, found):
    """Raise Refuted unless the certificate's value is the one that was found; 1 is not 1.0 or true."""
    if isinstance(claimed, dict) and isinstance(found, dict):
        for key in (*found, *(set(claimed) - set(found))):
            if key not in found:
                raise Refuted(f"{where}: {key} is not part of a certificate")
            claim(f"{where}, {key}", claimed.get(key), found[key])
    elif json.dumps(claimed) != json.dumps(found):
        raise Refuted(f"{where}: the certificate says {claimed!r}, found {found!r}")


def sha256(array):
    """SHA-256 of an array's bytes, little-endian, in C order."""
    return hashlib.sha256(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).hexdigest()


# ----- the certificate's file -----


def read_json(data):
    """JSON of which no two readers think differently. Raises ValueError."""

    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def number(text):
        value = float(text)
        if not math.isfinite(value) or (not value and text.startswith("-")):
            raise ValueError(f"{text} is no number of a certificate")
        return int(text) if re.fullmatch(r"-?\d+", text) else value

    def depth(value):
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max(map(depth, parts), default=0)

    if len(data) > 64 << 20:
        raise ValueError("it is too large")
    values = json.loads(
        data.decode(), object_pairs_hook=once, parse_int=number, parse_float=number, parse_constant=number
    )
    if not isinstance(values, dict) or depth(values) > 9:
        raise ValueError("it is no object, or nested too deep")
    return values


def part(certificate, key):
    """One of a certificate's objects."""
    if not isinstance(certificate.get(key), dict):
        raise Unchecked(f"the certificate is damaged: it has no {key!r}")
    return certificate[key]


# ----- the model's file -----


class ModelFile:
    """The arrays of a model's file by path, its network, its spiking form, and the digest of its content."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        header = re.match(rb"nspike model file, format 2, needs nspike \S+ or later\nsha256 ([0-9a-f]{64})\n", data)
        if header is None or header[1].decode() != hashlib.sha256(data[512:]).hexdigest():
            raise Unchecked(f"{path} is damaged, or no model file of format 2")
        self.arrays = {}
        with h5py.File(io.BytesIO(data)) as file:
            file.visititems(lambda name, item: self._keep(name, item))
            if "spiking" not in file.attrs:
                raise Unchecked(f"{path} has no spiking form: it is a plain network")
            texts = {name: file.attrs[name].decode() for name in ("network", "info", "spiking")}
            stated = [file.attrs["digest"].decode(), file.attrs.get("integers_digest", b"").decode()]
        network, self.info, self.spiking = (json.loads(texts[name]) for name in ("network", "info", "spiking"))
        integers = sorted(name for name in self.arrays if name.startswith("integers/"))
        self.digest = self._digest(texts, sorted(set(self.arrays) - set(integers)))
        if stated != [self.digest, self._digest({}, integers) if integers else ""]:
            raise Unchecked(f"{path} is damaged: its digests are not those of its content")
        self.graph = Graph(network)

    def _keep(self, name, item):
        if isinstance(item, h5py.Dataset):
            self.arrays[name] = item[()]

    def _digest(self, texts, names):
        sha = hashlib.sha256()
        for name in sorted(texts):
            values = json.loads(texts[name])
            text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            sha.update(f"@{name}\0utf-8\0{len(text)}\0".encode() + text)
        for name in names:
            array = self.arrays[name]
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            sha.update(f"{name}\0{little.dtype.str}\0{','.join(map(str, array.shape))}\0".encode() + little.tobytes())
        return sha.hexdigest()

    def scale(self, stage):
        """λ of a layer of neurons, (C,)."""
        return self.arrays[f"spiking/scales/{stage}"]


# ----- the network -----


def pixel_shuffle(layer, read):
    """(C·r², H, W) to (C, H·r, W·r)."""
    r, (*lead, channels, height, width), n = layer["factor"], read[0].shape, read[0].ndim - 3
    blocks = read[0].reshape(*lead, channels // r**2, r, r, height, width)
    blocks = blocks.transpose(*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return blocks.reshape(*lead, channels // r**2, height * r, width * r)


def pixel_unshuffle(layer, read):
    """(C, H·r, W·r) to (C·r², H, W)."""
    r, (*lead, channels, height, width), n = layer["factor"], read[0].shape, read[0].ndim - 3
    blocks = read[0].reshape(*lead, channels, height // r, r, width // r, r)
    blocks = blocks.transpose(*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    return blocks.reshape(*lead, channels * r**2, height // r, width // r)


def channel_shuffle(layer, read):
    """Channels (g, C/g) to (C/g, g)."""
    *lead, channels, height, width = read[0].shape
    split = read[0].reshape(*lead, layer["groups"], channels // layer["groups"], height, width)
    return split.swapaxes(-4, -3).reshape(read[0].shape)


def block_sums(layer, read):
    """size² times the mean of each block."""
    size, (*lead, channels, height, width) = layer["size"], read[0].shape
    return read[0].reshape(*lead, channels, height // size, size, width // size, size).sum(axis=(-3, -1))


def bilinear(layer, read):
    """16 times the bilinear enlargement, of twice the size."""
    x = read[0]
    for axis in (-2, -1):
        x, size = np.moveaxis(x, axis, -1), x.shape[axis]
        before, after = x[..., np.maximum(np.arange(size) - 1, 0)], x[..., np.minimum(np.arange(size) + 1, size - 1)]
        both = np.stack([before + 3 * x, 3 * x + after], axis=-1)
        x = np.moveaxis(both.reshape(*x.shape[:-1], 2 * size), -1, axis)
    return x


def shape_of(conv):
    """Stride, dilation, groups, and the zeros before, of a convolution."""
    dilation, kernel = conv.get("dilation", 1), conv["kernel"]
    pads = conv.get("padding")
    return (
        conv.get("stride", 1),
        dilation,
        conv.get("groups", 1),
        dilation * (kernel - 1) // 2 if pads is None else pads[0],
    )


def fan(conv, size):
    """How many outputs of one channel of a convolution read each of `size` positions along an axis."""
    (stride, dilation, _, before), count = shape_of(conv), np.zeros(size, np.int64)
    for tap in range(conv["kernel"]):
        at = np.arange(-(-size // stride)) * stride - before + tap * dilation
        np.add.at(count, at[(at >= 0) & (at < size)], 1)
    return count


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    role : "current": it makes a current of spikes or of the image; "neurons"; "sum": a current of currents; "move": it
        moves what it reads; "constant": planes like the image's.
    width : (layer, the channels that it reads of each) -> its channels. size : layer -> its height over that of what it reads.
    make : of a sum or move: (layer, arrays (..., C, H, W)) -> an array. bits : layer -> by how many bits a sum's grid is
        finer than that of what it reads. additions : (layer, how many it reads) -> for each value of a sum.
    fan : of what reads spikes: (layer, size) -> how many outputs of one channel each of `size` positions reaches along an
        axis. taps : layer -> the same for both axes far from the border, the mean. targets : layer -> how many output channels.
    """

    role: str
    width: Callable = lambda layer, read: read[0]
    size: Callable = lambda layer: Fraction(1)
    make: Callable | None = None
    bits: Callable = lambda layer: 0
    additions: Callable = lambda layer, count: 0
    fan: Callable = lambda layer, size: np.ones(size, np.int64)
    taps: Callable = lambda layer: Fraction(1)
    targets: Callable = lambda layer: 1


KINDS = {
    "conv": Kind(
        "current",
        width=lambda layer, _: layer["out_channels"],
        size=lambda layer: Fraction(1, shape_of(layer)[0]),
        fan=fan,
        taps=lambda layer: Fraction(layer["kernel"] ** 2, shape_of(layer)[0] ** 2),
        targets=lambda layer: layer["out_channels"] // shape_of(layer)[2],
    ),
    "gate": Kind("current"),
    "activation": Kind("neurons"),
    "add": Kind("sum", make=lambda _, read: sum(read[1:], read[0]), additions=lambda _, count: count - 1),
    "average_pool": Kind(
        "sum",
        size=lambda layer: Fraction(1, layer["size"]),
        make=block_sums,
        bits=lambda layer: 2 * (layer["size"].bit_length() - 1),
        additions=lambda layer, _: layer["size"] ** 2 - 1,
    ),
    "bilinear": Kind("sum", size=lambda _: Fraction(2), make=bilinear, bits=lambda _: 4, additions=lambda *_: 3),
    "concat": Kind("move", width=lambda _, read: sum(read), make=lambda _, read: np.concatenate(read, axis=-3)),
    "slice": Kind(
        "move",
        width=lambda layer, _: layer["channels"],
        make=lambda layer, read: read[0][..., layer["first"] : layer["first"] + layer["channels"], :, :],
    ),
    "channel_shuffle": Kind("move", make=channel_shuffle),
    "pixel_shuffle": Kind(
        "move",
        width=lambda layer, read: read[0] // layer["factor"] ** 2,
        size=lambda layer: Fraction(layer["factor"]),
        make=pixel_shuffle,
    ),
    "pixel_unshuffle": Kind(
        "move",
        width=lambda layer, read: read[0] * layer["factor"] ** 2,
        size=lambda layer: Fraction(1, layer["factor"]),
        make=pixel_unshuffle,
    ),
    "nearest": Kind(
        "move",
        size=lambda layer: Fraction(layer.get("factor", 2)),
        make=lambda layer, read: read[0].repeat(layer.get("factor", 2), -2).repeat(layer.get("factor", 2), -1),
    ),
    "constant": Kind("constant", width=lambda layer, _: len(layer["values"])),
}
"""By the name in a model's file. A network with another kind of layer is not checked."""


class Graph:
    """A network's layers by name, and for each, and the image: what it reads, its channels, its size over that of the
    image, and what it hands on: "image" (or what is like it), "spikes" or "current".
    """

    def __init__(self, network):
        self.channels, self.output, self.mode = (network[key] for key in ("channels", "output", "mode"))
        self.layers = {layer["name"]: layer for layer in network["layers"]}
        self.reads, self.kinds = {}, {}
        self.width, self.size, self.gives = {IMAGE: self.channels}, {IMAGE: Fraction(1)}, {IMAGE: "image"}
        for name, layer in self.layers.items():
            kind = KINDS.get(layer["kind"])
            if kind is None:
                raise Unchecked(f"layer {name!r} is of kind {layer['kind']!r}, which this script does not know")
            read = self.reads[name] = [layer["source"]] if "source" in layer else layer["sources"]
            self.kinds[name], self.width[name] = kind, kind.width(layer, [self.width[source] for source in read])
            self.size[name] = kind.size(layer) * self.size[read[0]]
            kinds, own = {self.gives[source] for source in read}, {"constant": "image", "neurons": "spikes"}
            takes = {"current": {"image", "spikes"}, "neurons": {"current"}, "sum": {"current"}, "constant": {"image"}}
            if len(kinds) != 1 or not kinds <= takes.get(kind.role, kinds):
                raise Unchecked(
                    f"the model's file is damaged: layer {name!r} cannot read {' and '.join(sorted(kinds))}"
                )
            self.gives[name] = kinds.pop() if kind.role == "move" else own.get(kind.role, "current")
        self.neurons = [name for name, kind in self.kinds.items() if kind.role == "neurons"]
        self.stages = [*((name, self.reads[name][0]) for name in self.neurons), (OUTPUT, self.output)]
        self.drivers = [name for name, kind in self.kinds.items() if kind.role == "current"]

    @property
    def multiple(self):
        """What the height and the width that it runs on are multiples of."""
        return math.lcm(*(size.denominator for size in self.size.values()))

    def readers(self, name):
        """The layers that read a layer."""
        return [other for other, read in self.reads.items() for source in read if source == name]

    def fused(self, current):
        """Whether a current is made by one convolution or gate for one layer of neurons alone."""
        return self.kinds[current].role == "current" and [c for _, c in self.stages].count(current) == 1 == (
            len(self.readers(current)) or 1
        )

    def area(self, name, height, width):
        """The size of a layer for an image of height × width."""
        return int(height * self.size[name]), int(width * self.size[name])

    def feeding(self, name):
        """The channels, counted over all that a sum or move reads, of which each of its own is made, int (C, n)."""
        widths, kind = [self.width[source] for source in self.reads[name]], self.kinds[name]
        ids = np.arange(sum(widths))
        if kind.role == "sum":
            return ids.reshape(len(widths), -1).T
        block = np.ones((kind.size(self.layers[name]).denominator,) * 2, int)
        parts = [part[:, None, None] * block for part in np.split(ids, np.cumsum(widths)[:-1])]
        return np.stack([np.unique(channel) for channel in kind.make(self.layers[name], parts)])


# ----- what the neurons do, step by step -----


def release(beta):
    """0.5·sigmoid(beta) + 0.5, to 12 decimals."""
    digits, half = Context(prec=40), Decimal("0.5")
    fraction = digits.divide(half, digits.add(1, Decimal(-beta).exp(digits)))
    return float(digits.add(fraction, half).quantize(Decimal("1e-12")))


def course(neuron, parameters, timesteps, post_steps):
    """What one layer's neurons start with, when they fire and what a spike is worth, by step, in thresholds and spikes."""
    fire, amplitude, early, worth = 1.0, 1.0, 1.0, 1.0
    if neuron == "ternary":
        early, worth = 0.5, round(parameters["amplitude"], 12)
    if neuron == "atif":
        early = worth = round(parameters["theta"], 12)
    if neuron == "few_spikes":
        early = round(1 - parameters["round"], 12)
    if neuron == "mprn":
        fire = release(parameters["beta"])
    if neuron == "mprn_beta":
        fire, amplitude = round(parameters["alpha"], 12), round(parameters["beta"], 12)
    own = {
        "initial": round(parameters.get("v_init", 0.0), 12) + 0.0,
        "fires": [early] * timesteps + [fire] * post_steps,
        "amplitudes": [worth] * timesteps + [amplitude] * post_steps,
    }
    if neuron in ("ternary", "dietsnn"):
        keep = int(np.rint(round(parameters["leak" if neuron == "ternary" else "keep"], 12) * 65536))
        own |= {"keep": keep, "input_factor": 65536} if keep != 65536 else {}
        own |= {"reset": "zero"} if neuron == "ternary" else {"strict": True}
    if neuron in ("lif", "lif_hard"):
        keep = 1.0 - 1.0 / parameters["tau"]
        factors = {"keep": keep, "input_factor": 1.0 - parameters["decay_input"] * keep}
        factors = {name: int(np.rint(round(factor, 12) * 65536)) for name, factor in factors.items()}
        own |= factors if set(factors.values()) != {65536} else {}
        own |= {"reset": "zero"} if neuron == "lif_hard" else {}
    most = {"signed": 1, "ternary": 1, "burst": int(parameters.get("gamma", 1))}
    most["few_spikes"] = 2 ** int(parameters.get("slots", 1)) - 1
    return own | ({"most_spikes": most[neuron]} if neuron in most else {})


def known_courses(graph, neuron, given, timesteps):
    """Layer -> course, of a neuron in NEURONS. Raises Unchecked for parameters that it cannot have."""
    post_steps, ranges = NEURONS[neuron]
    if not isinstance(given, dict) or set(given) != set(graph.neurons):
        raise Unchecked("the certificate is damaged: its neuron_parameters are not by layer of neurons")
    for values in given.values():
        good = isinstance(values, dict) and set(values) == set(ranges)
        if not good or not all(type(v) in (int, float) and ranges[name](v) for name, v in values.items()):
            raise Unchecked(f"the certificate is damaged: neuron {neuron} cannot have the parameters {values!r}")
    courses = {name: course(neuron, given[name], timesteps, post_steps) for name in graph.neurons}
    for name in signed_layers(graph, PLANES.get(neuron, [1])):
        courses[name].setdefault("most_spikes", 1)
    return courses


def signed_layers(graph, gains):
    """The layers whose neurons have negative spikes besides those of the model's neuron, which are all positive."""
    return [] if min(gains) < 0 else [name for name in graph.neurons if graph.layers[name].get("signed", False)]


def gains_of(graph, gains):
    """Layer -> the gains of its planes of spikes, where those of the model's neuron are `gains`; of the output [1]."""
    signed = signed_layers(graph, gains)
    own = {name: [*gains, *(-g for g in gains)] if name in signed else gains for name in graph.neurons}
    return own | {OUTPUT: [1]}


def declared_courses(graph, parameters, timesteps, post_steps):
    """Layer -> course, as the certificate declares it for a neuron that this script does not know."""
    declared, steps, gains = parameters.get("neuron_steps"), timesteps + post_steps, parameters.get("neuron_planes")
    powers = [2**i for i in range(7)]
    allowed = [[*powers[:up], *(-g for g in powers[:down])] for up in range(1, 8) for down in range(8)]
    if (
        json.dumps(gains) not in map(json.dumps, allowed)
        or not isinstance(declared, dict)
        or set(declared) != set(graph.neurons)
    ):
        raise Unchecked(f"neuron {parameters['neuron']!r} has a kernel of its own, which only its code tells")
    by_layer = gains_of(graph, gains)
    for name, values in declared.items():
        fires, worth = values["fires"], values["amplitudes"]
        numbers = [values["initial"], *(f for f in fires if f is not None), *worth]
        good = len(fires) == len(worth) == steps and {type(n) for n in numbers} == {float}
        good = good and abs(values["initial"]) <= 1 and min(worth) > 0 and all(f is None or 0 < f <= 64 for f in fires)
        good = good and all(a <= 127 - steps + t for t, a in enumerate(worth, 1)) and plausible(values, by_layer[name])
        if not good or len(set(worth[:timesteps])) > 1 or len(set(worth[timesteps:])) > 1:
            raise Unchecked("the certificate is damaged: its neuron_steps are none that a neuron can have")
    return {name: declared[name] for name in graph.neurons}


def plausible(values, gains):
    """Whether a declared neuron can have this leak, reset and number of spikes at a step."""
    factors = [values[name] for name in ("keep", "input_factor") if name in values]
    ranged = all(type(m) is int and 0 <= m <= 65536 for m in factors) and len(factors) in (0, 2)
    most, largest = values.get("most_spikes"), max(sum(g for g in gains if s * g > 0) * s for s in (1, -1))
    several = type(most) is int and 1 <= most <= largest if len(gains) > 1 else most is None
    others = zip(values["fires"], values["amplitudes"], strict=True)
    within = all(f is None or f + (largest - 1) * a <= 127 for f, a in others)
    return (
        ranged and several and within and values.get("reset", "zero") == "zero" and values.get("strict", True) is True
    )


# ----- the integers -----


@dataclass(frozen=True)
class Neurons:
    """What is run besides the model: T, the steps after it, by layer of neurons the course and the gains of its planes of
    spikes, whether the output layer fires, and whether planes are digits.
    """

    timesteps: int
    post_steps: int
    courses: dict
    gains: dict
    head_fires: bool
    digits: bool

    @property
    def steps(self):
        """T and the steps after it."""
        return self.timesteps + self.post_steps

    def course(self, stage):
        """Of a layer of neurons, the output layer too."""
        fires = [1.0 if self.head_fires and t < self.timesteps else None for t in range(self.steps)]
        return self.courses.get(stage, {"initial": 0.0, "fires": fires, "amplitudes": [1.0] * self.steps})


class Currents:
    """Which channels of currents share a scale and a grid, as one is added to, or made of, the other.

    root : current -> (C,), a number for each set of such channels. offset : current -> (C,), by how many bits its grid is
    finer than that of the convolutions and gates behind it. shift : (layer, what it reads) -> (C,), by how many bits that is
    shifted left, to the finest grid of what is added or joined.
    """

    def __init__(self, graph):
        self.offset, self.shift, ids, count = {}, {}, {}, 0
        self._parents = []
        for name in (name for name, kind in graph.gives.items() if kind == "current"):
            own = ids[name] = np.arange(count, count + graph.width[name])
            self.offset[name], count = np.zeros(len(own), np.int64), count + len(own)
            self._parents += own.tolist()
            if graph.kinds[name].role == "current":
                continue
            read, feeding = graph.reads[name], graph.feeding(name)
            before = np.concatenate([self.offset[source] for source in read])
            for channel, others in zip(own, np.concatenate([ids[source] for source in read])[feeding], strict=True):
                for other in others:
                    low, high = sorted((self._find(channel), self._find(other)))
                    self._parents[high] = low
            finest = before[feeding].max(axis=1)
            self.offset[name] = finest + graph.kinds[name].bits(graph.layers[name])
            shift = np.zeros(len(before), np.int64)
            np.maximum.at(shift, feeding, finest[:, None] - before[feeding])
            ends = np.cumsum([graph.width[source] for source in read])[:-1]
            for source, part in zip(read, np.split(shift, ends), strict=True):
                self.shift |= {(name, source): part} if part.any() else {}
        self.root = {name: np.array([self._find(channel) for channel in own]) for name, own in ids.items()}
        self.count = count

    def _find(self, channel):
        while self._parents[channel] != channel:
            channel = self._parents[channel]
        return channel


def scales_of(model, currents):
    """λ of every current, (C,): the output's where the output layer integrates it, else that of the first neurons that do."""
    known, stages = np.full(currents.count, np.nan), model.graph.stages
    for stage, current in (stages[-1], *stages[:-1]):
        for root, scale in zip(currents.root[current], model.scale(stage), strict=True):
            known[root] = scale if math.isnan(known[root]) else known[root]
    known[np.isnan(known)] = 1.0
    return {name: known[root] for name, root in currents.root.items()}


@dataclass(frozen=True)
class Train:
    """Spikes of some neurons, perhaps moved: λ of each channel, the gains of the planes, what a spike is worth up to T and
    after.
    """

    scale: np.ndarray
    gains: list
    worth: tuple

    def moved(self, graph, name, others):
        """What a layer that moves spikes makes of this and others, one after the other."""
        if any((other.gains, other.worth) != (self.gains, self.worth) for other in others):
            raise Unchecked(f"layer {name!r} moves spikes of different neurons together")
        scale = np.concatenate([self.scale, *(other.scale for other in others)])[graph.feeding(name)]
        if (scale != scale[:, :1]).any():
            raise Unchecked(f"layer {name!r} makes a channel of spikes of different scales")
        return Train(scale[:, 0], self.gains, self.worth)


def trains_of(model, neurons):
    """What hands on spikes -> its trains, one after the other: several of a concatenation."""
    graph, trains = model.graph, {}
    for name in (name for name, kind in graph.gives.items() if kind == "spikes"):
        read = [train for source in graph.reads[name] for train in trains.get(source, ())]
        if graph.kinds[name].role == "neurons":
            worth = neurons.course(name)["amplitudes"]
            trains[name] = [Train(model.scale(name), neurons.gains[name], (worth[0], worth[-1]))]
        elif graph.layers[name]["kind"] == "concat":
            trains[name] = read
        else:
            trains[name] = [read[0].moved(graph, name, read[1:])]
    return trains


class Driver:
    """A convolution or gate in units of its current's scale, not rounded.

    weights : (phases, C, J, k, k), J being all channels of spikes (train after train, in each plane after plane) or of an
    image, 0 where another group reads them, what a spike of gain 1 is worth; a second phase for the steps after T where a spike
    is then worth something else; none for a gate. gains, group : of each of the J channels. gate : of a gate alone.
    held, limit : (phases, C, n), what must not pass the limit on the grid. total : the most that it can give at a step.
    """

    def __init__(self, weights, bias, held, limit, gain=1, gate=None, group=None, gains=None):
        self.weights, self.bias, self.limit = weights, bias, limit
        self.gate, self.group = np.zeros(0) if gate is None else gate, group
        self.gains = np.ones(weights.shape[2]) if gains is None else gains
        held = np.abs(held)
        weighed = held if gains is None else held * np.repeat(np.abs(gains), held.shape[2] // len(gains))
        sums = np.array([max(map(math.fsum, channel)) for channel in weighed.transpose(1, 0, 2).tolist()])
        self.largest, self.total = held.max(axis=(0, 2)), gain * sums + np.abs(bias)

    def rounded(self, exponent):
        """The kernel on its grid, each plane's gain times what a spike of gain 1 is worth."""
        whole = np.rint(np.ldexp(self.weights, exponent[:, None, None, None]))
        return (whole * self.gains[:, None, None]).astype(np.int16)

    def stored(self, weights):
        """A kernel as a model's file has it: only what a group reads, filled up with zeros where that is less than another's."""
        if self.group is None or not self.group.any():
            return weights
        read = [np.flatnonzero(self.group == i) for i in range(1 + self.group.max())]
        most, parts = max(map(len, read)), np.split(weights, len(read), axis=1)
        parts = [part[:, :, own] for part, own in zip(parts, read, strict=True)]
        parts = [np.pad(p, [(0, 0), (0, 0), (0, most - p.shape[2]), (0, 0), (0, 0)]) for p in parts]
        return np.concatenate(parts, axis=1)


def conv_driver(model, layer, trains, scale):
    """A convolution; `trains` of the spikes that it reads, none for an image. scale : λ of its current, (C,)."""
    groups, count = shape_of(layer)[2], layer["in_channels"]
    read = np.concatenate([train.scale for train in trains]) if trains else np.ones(count)
    kernel, bias = kernel_of(model, layer, read, scale)
    group = np.arange(count) // (count // groups)
    whole = np.zeros((len(kernel), count, *kernel.shape[2:]))
    for i, own in enumerate(np.split(kernel, groups)):
        whole[i * len(own) : (i + 1) * len(own), group == i] = own
    if not trains:
        weights = whole[None]
        return Driver(weights, bias, weights.reshape(1, len(whole), -1), 32767, 4, group=group)
    ends, both = np.cumsum([len(train.scale) for train in trains])[:-1], []
    for phase in range(2):
        parts = zip(np.split(whole, ends, axis=1), trains, strict=True)
        both.append(np.concatenate([part * t.worth[phase] for part, t in parts for _ in t.gains], axis=1))
    weights = np.stack(both[:1] if np.array_equal(*both) else both)
    group = np.concatenate([part for part, t in zip(np.split(group, ends), trains, strict=True) for _ in t.gains])
    gains = np.concatenate([np.full(len(t.scale), float(g)) for t in trains for g in t.gains])
    held, limit = weights.reshape(len(weights), len(whole), -1), 4095 // int(np.abs(gains).max())
    return Driver(weights, bias, held, limit, group=group, gains=gains)


def gate_driver(model, layer, trains, scale):
    """A gate."""
    if any(train.worth[0] != train.worth[1] for train in trains):
        raise Unchecked(f"the spikes that gate {layer['name']!r} reads are not worth the same at every step")
    gate = np.concatenate([train.scale for train in trains]) / scale
    gate = gate * np.concatenate([np.full(len(train.scale), train.worth[0]) for train in trains])
    none = np.zeros((1, len(scale), 0, 1, 1))
    most = max(sum(max(sign * g, 0) for g in train.gains) for train in trains for sign in (1, -1))
    return Driver(none, 1.0 / scale, (gate * 5)[None, :, None], 2**24, most, gate=gate)


def kernel_of(model, layer, scale_in, scale_out):
    """The kernel (C, I/groups, k, k) and bias of a convolution in units of the scale of its current, float64."""
    name, arrays, own = layer["name"], model.arrays, layer.get("tied") or layer["name"]
    if f"spiking/weights/{name}" in arrays:
        weights = arrays[f"spiking/weights/{name}"].astype(np.float64)
    else:
        weights, groups = arrays[f"ann/{own}.weight"].astype(np.float64), shape_of(layer)[2]
        scale_in = np.repeat(scale_in.reshape(groups, -1), len(weights) // groups, axis=0)
        weights = weights * scale_in[:, :, None, None] / scale_out[:, None, None, None]
    if f"spiking/biases/{name}" in arrays:
        return weights, arrays[f"spiking/biases/{name}"].astype(np.float64)
    bias = arrays.get(f"ann/{own}.bias") if layer["bias"] else None
    return weights, np.zeros(len(weights)) if bias is None else bias.astype(np.float64) / scale_out


def bounded(values, top):
    """The largest k of each value with 2^k·value <= top."""
    with np.errstate(divide="ignore"):
        most = top / values
    return np.where(np.isinf(most), np.int64(UNBOUNDED), np.frexp(most)[1].astype(np.int64) - 1)


def exponents_of(graph, currents, drivers, thetas):
    """Current -> the exponent of each channel's grid: of each set of channels the largest with which every number fits."""
    most, totals = np.full(currents.count, UNBOUNDED, np.int64), {}

    def hold(current, values, top):
        np.minimum.at(most, currents.root[current], bounded(values, top) - currents.offset[current])

    for name in currents.root:
        if name in drivers:
            totals[name] = drivers[name].total
            hold(name, drivers[name].largest, drivers[name].limit)
        else:
            fed = np.concatenate([totals[source] for source in graph.reads[name]])[graph.feeding(name)]
            one = graph.kinds[name].role == "move"
            totals[name] = fed.max(axis=1) if one else np.array([math.fsum(each) for each in fed.tolist()])
        hold(name, totals[name], 2**24)
    for stage, current in graph.stages:
        hold(current, thetas[stage], 2**24)
    most[most > UNBOUNDED // 2] = 0
    return {name: most[root] + currents.offset[name] for name, root in currents.root.items()}


class Stage:
    """A layer of neurons in integers, on the grids of the current that it integrates; θ in units of that current's scale."""

    def __init__(self, mine, gains, theta, exponent):
        self.exponent, self.theta_unrounded = exponent, theta
        self.theta = np.maximum(on_grid(theta, exponent), 1)
        self.v0 = on_grid(mine["initial"] * theta, exponent)
        self.threshold = np.stack([self._times(f, least=1) for f in mine["fires"]])
        if mine.get("strict", False):  # u > θ is u >= θ + 1
            self.threshold += self.threshold != NEVER
        self.most = mine.get("most_spikes", 1)
        self.reset = np.stack([self._times(a, least=int(self.most > 1)) for a in mine["amplitudes"]])
        if self.most > 1:
            self.reset[self.threshold == NEVER] = 0
        self.gains = gains
        self.factors = (mine["keep"], mine["input_factor"]) if "keep" in mine else None
        self.to_zero = "reset" in mine

    def _times(self, factor, least):
        """A part of the threshold, which is the unrounded one."""
        if factor is None:
            return np.full(self.theta.shape, NEVER, np.int32)
        return self.theta if factor == 1.0 else np.maximum(on_grid(self.theta_unrounded * factor, self.exponent), least)

    def arrays(self):
        """Name -> array, as a model's file stores them."""
        own = {name: getattr(self, name) for name in ("exponent", "theta", "v0", "threshold", "reset")}
        own["bias"] = np.zeros(len(self.theta), np.int32)
        if self.factors is not None:
            own |= {n: np.array([m], np.int32) for n, m in zip(("keep", "input_factor"), self.factors, strict=True)}
        if self.to_zero:
            own["reset_to_zero"] = np.array([1], np.int32)
        if self.gains != [1]:
            own |= {"planes": np.array(self.gains, np.int32), "most_spikes": np.array([self.most], np.int32)}
        return own


def on_grid(values, exponent):
    """Round half to even."""
    return np.rint(np.ldexp(values, exponent)).astype(np.int32)


class Integers:
    """Of a network, for the neurons that are run: the stages by name, and by convolution and gate the rounded kernels
    and biases; the exponents of all currents and the shifts, as of `Currents`.
    """

    def __init__(self, model, neurons):
        graph = self.graph = model.graph
        currents, trains = Currents(graph), trains_of(model, neurons)
        self.trains = trains
        scales, self.shift = scales_of(model, currents), currents.shift
        self.drivers = {}
        for name in graph.drivers:
            layer, read = graph.layers[name], trains.get(graph.reads[name][0], ())
            make = {"conv": conv_driver, "gate": gate_driver}[layer["kind"]]
            self.drivers[name] = make(model, layer, read, scales[name])
        thetas = {s: model.arrays[f"spiking/thresholds/{s}"] * (model.scale(s) / scales[c]) for s, c in graph.stages}
        self.exponent = exponents_of(graph, currents, self.drivers, thetas)
        self.kernels, self.biases = {}, {}
        for name, driver in self.drivers.items():
            exponent = self.exponent[name]
            self.kernels[name] = driver.rounded(exponent)
            self.biases[name] = on_grid(driver.bias, exponent)
        self.stages = {
            stage: Stage(neurons.course(stage), neurons.gains[stage], thetas[stage], self.exponent[current])
            for stage, current in graph.stages
        }

    def biased(self, stage):
        """How many channels of neurons have a bias of their own, which is not 0."""
        current = dict(self.graph.stages)[stage]
        return int(np.count_nonzero(self.biases[current])) if self.graph.fused(current) else 0

    def arrays(self):
        """Path -> array, as a model's file stores them."""
        own = {stage: numbers.arrays() for stage, numbers in self.stages.items()}
        holders = {current: stage for stage, current in self.graph.stages if self.graph.fused(current)}
        for name, driver in self.drivers.items():
            weights = driver.stored(self.kernels[name])
            numbers = {
                "exponent": self.exponent[name],
                "weights": weights,
                "bias": self.biases[name],
                "gate": driver.gate,
            }
            own.setdefault(holders.get(name, name), {}).update(numbers)
        for (name, source), shift in self.shift.items():
            own.setdefault(name, {})[f"shift_{self.graph.reads[name].index(source)}"] = shift
        return {f"integers/{at}/{name}": a for at, arrays in own.items() for name, a in arrays.items() if a.size}


def check_stored(model):
    """The integers in the model's file decide nothing here; but nspike refuses a file where they are others than follow."""
    neuron, head, stored = model.spiking["neuron"], model.spiking["head"], model.spiking["neuron_parameters"]
    kept = {path: array for path, array in model.arrays.items() if path.startswith("integers/")}
    if not kept or neuron not in NEURONS or head not in HEADS:
        return
    timesteps, default = model.spiking["timesteps"], {"tau": 16.0, "beta": float(neuron == "mprn_beta"), "alpha": 0.9}
    default |= {"gamma": 5.0, "amplitude": 1.0, "leak": 0.25, "theta": 0.9, "keep": 1.0, "slots": 5.0, "round": 0.5}
    usual = {name: default.get(name, 0.0) for name in NEURONS[neuron][1]}
    given = {name: usual | stored.get(neuron, {}).get(name, {}) for name in model.graph.neurons}
    courses, gains = (
        known_courses(model.graph, neuron, given, timesteps),
        gains_of(model.graph, PLANES.get(neuron, [1])),
    )
    made = Integers(model, Neurons(timesteps, NEURONS[neuron][0], courses, gains, HEADS[head][0], False)).arrays()
    for path in sorted(made | kept):
        ours, theirs = made.get(path), kept.get(path)
        if ours is None or theirs is None or ours.dtype != theirs.dtype or not np.array_equal(ours, theirs):
            raise Unchecked(f"the model's file was changed: {path} is not what follows from its numbers")


# ----- the image -----


def pixels_of(path):
    """(H, W) or (H, W, 3), uint8 or uint16, upright, without alpha; and whether every decoder reads the same."""
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(b"\x89PNG") and data[24] == 16 and data[25] != 0:
        raise Unchecked("16-bit colour or alpha, which Pillow cuts to 8 bits")
    with Image.open(io.BytesIO(data)) as image:
        kind, exif = image.format, image.info.get("exif")
        if kind != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise Unchecked("an image of several frames")
        image.load()
        orientation = Image.Exif()
        orientation.load(exif)
        turned = image.tag_v2.get(0x0112, 1) if kind == "TIFF" else orientation.get(0x0112, 1)
        if image.mode.startswith("I;16"):
            pixels = np.asarray(image).astype(np.uint16)
        elif image.mode in ("1", "L", "LA", "La"):
            pixels = np.asarray(image.convert("L"))
        elif image.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX"):
            pixels = np.asarray(image.convert("RGBA" if image.mode == "RGBa" else "RGB"))[..., :3]
        else:
            raise Unchecked(f"an image of mode {image.mode}")
    pixels = pixels.swapaxes(0, 1) if turned in (5, 6, 7, 8) else pixels
    pixels = pixels[::-1] if turned in (3, 4, 7, 8) else pixels
    pixels = pixels[:, ::-1] if turned in (2, 3, 6, 7) else pixels
    return pixels, kind not in ("JPEG", "MPO", "WEBP")


def cubic(x):
    """Keys' kernel with -1/2."""
    x = np.abs(x)
    near, far = 1.5 * (x * x * x) - 2.5 * (x * x) + 1, -0.5 * (x * x * x) + 2.5 * (x * x) - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def enlarged(array, scale, axis):
    """MATLAB's bicubic imresize of one axis."""
    old = array.shape[axis]
    position = np.arange(1, old * scale + 1) / float(scale) + 0.5 * (1 - 1 / float(scale))
    taps = np.floor(position - 2) + np.arange(6)[:, None]
    weights = cubic(position - taps)
    weights = weights / sum(weights[1:], weights[0])
    index = (taps.astype(int) - 1) % (2 * old)
    index = np.where(index < old, index, 2 * old - 1 - index)
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    return sum(w.reshape(shape) * np.take(array, i, axis=axis) for i, w in zip(index, weights, strict=True))


def luma_and_chroma(rgb):
    """MATLAB's rgb2ycbcr."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    y = (65.481 * r + 128.553 * g + 24.966 * b + 16.0) / 255.0
    cb = (-37.797 * r + -74.203 * g + 112.0 * b + 128.0) / 255.0
    cr = (112.0 * r + -93.786 * g + -18.214 * b + 128.0) / 255.0
    return np.stack([y, cb, cr], axis=2)


def bicubic(pixels, scale):
    """The enlargement of an image, grey or luma and chroma, in [0, 1]."""
    values = pixels / float(np.iinfo(pixels.dtype).max)
    values = luma_and_chroma(values) if pixels.ndim == 3 else values
    return enlarged(enlarged(values, scale, 0), scale, 1)


def input_plane(pixels, model, scale):
    """The integers that the network is given (N, C, H, W), white being 65535; and the enlargement whose chroma is used, if
    there is one.
    """
    graph, colour = model.graph, pixels.ndim == 3
    own = graph.size[graph.output] > 1
    if scale is not None and (not own or (colour and model.info["colour"] == "y")):
        luma = bicubic(pixels, 1 if own else scale)
        luma = luma[..., 0] if colour else luma
        return np.rint(luma * WHITE).astype(np.int32)[None, None], bicubic(pixels, scale) if colour else None
    plane = pixels.astype(np.int32) * (WHITE // np.iinfo(pixels.dtype).max)
    plane = plane.transpose(2, 0, 1) if colour else plane[None]
    if graph.channels == 1:
        return plane[:, None], None  # a grey network takes a colour image channel by channel
    return np.broadcast_to(plane, (graph.channels, *plane.shape[1:]))[None], None


def padded(plane, multiple):
    """Continued by reflection at the last row and column to multiples of `multiple`; a single row or column is repeated."""
    for axis in (2, 3):
        size = plane.shape[axis]
        at = np.arange(-(-size // multiple) * multiple) % max(1, 2 * (size - 1))
        plane = np.take(plane, np.where(at < size, at, 2 * (size - 1) - at), axis=axis)
    return plane


# ----- the simulation -----


def convolve(x, kernel, stride=1, dilation=1, before=None):
    """Correlation of (..., C, H, W) with (O, C, k, k), zeros outside, `before` of them at the top and on the left."""
    (height, width), size = (-(-side // stride) for side in x.shape[-2:]), kernel.shape[-1]
    before = size // 2 if before is None else before
    after = [max(0, (n - 1) * stride + (size - 1) * dilation + 1 - before - side)
             for n, side in zip((height, width), x.shape[-2:], strict=True)]  # fmt: skip
    padded = np.pad(x.astype(np.float64), [(0, 0)] * (x.ndim - 2) + [(before, a) for a in after])
    total = np.zeros((*x.shape[:-3], len(kernel), height * width))
    taps = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1).astype(np.float64))
    for dy, dx in np.ndindex(kernel.shape[2:]):
        rows, columns = (slice(d * dilation, d * dilation + (n - 1) * stride + 1, stride)
                         for d, n in ((dy, height), (dx, width)))  # fmt: skip
        total += taps[dy, dx] @ padded[..., rows, columns].reshape(*x.shape[:-2], height * width)
    return total.reshape(*total.shape[:-1], height, width)


def each(values):
    """By channel, for (..., C, H, W)."""
    return np.asarray(values, np.float64)[:, None, None]


def run(currents, stage):
    """Spikes bool (steps, N, planes, C, H, W), and the membranes at the end.

    A factor m of the membrane or the input stands for m/65536, the product being rounded. Several spikes at a step lie one
    amplitude apart, and come as the bits of their number; negative ones are fired below the negative threshold.
    """
    v = np.zeros(currents.shape[1:]) + each(stage.v0)
    gains, spikes = stage.gains, []
    for t, current in enumerate(currents):
        if stage.factors is not None:
            v, current = (
                np.floor((x * m + 32768.0) / 65536.0) for x, m in zip((v, current), stage.factors, strict=True)
            )
        u, threshold, reset = v + current, each(stage.threshold[t]), each(stage.reset[t])
        count, fired = np.zeros(u.shape, np.int64), []
        for sign in (1, -1):
            n = np.zeros(u.shape, np.int64)
            for k in range(min(stage.most, sum(g * sign for g in gains if g * sign > 0))):
                n += sign * u >= threshold + k * reset
            fired += [n // (g * sign) % 2 == 1 for g in gains if g * sign > 0]
            count += sign * n
        v = u - count * reset
        if stage.to_zero:
            v = np.where(count != 0, 0.0, v)
        spikes.append(np.stack(fired, axis=1))
    return np.stack(spikes), v


class Simulation:
    """A run over planes (N, C, H, W): layer of neurons -> its spikes (steps, N, planes, C, H, W), and the membranes of the
    output layer at the end. The bias of a convolution or gate is a part of its current.
    """

    def __init__(self, integers, neurons, plane):
        self.graph, self.integers, self.neurons = integers.graph, integers, neurons
        self.tensors, self.spikes, self.v = {IMAGE: plane}, {}, None
        unread = {name: len(self.graph.readers(name)) for name in self.graph.layers}
        make = {
            "current": self._driven,
            "neurons": self._fired,
            "sum": self._made,
            "move": self._made,
            "constant": self._constant,
        }
        for name, kind in self.graph.kinds.items():
            self.tensors[name] = make[kind.role](name, self.graph.layers[name], self.graph.reads[name])
            for source in self.graph.reads[name]:
                unread[source] = unread.get(source, 0) - 1  # a gate reads the image, too
                if unread[source] == 0:
                    del self.tensors[source]
        self.spikes[OUTPUT], self.v = run(self.tensors[self.graph.output], integers.stages[OUTPUT])

    def _driven(self, name, layer, read):
        """The current of a convolution or gate, (steps, N, C, H, W)."""
        current = {"conv": self._convolved, "gate": self._gated}[layer["kind"]](name, layer, read[0])
        return current + each(self.integers.biases[name]) * self._early()

    def _early(self):
        """By step: 1 up to T, 0 after."""
        return (np.arange(self.neurons.steps) < self.neurons.timesteps)[:, None, None, None, None]

    def _convolved(self, name, layer, read):
        (stride, dilation, _, before), kernels = shape_of(layer), self.integers.kernels[name]
        if self.graph.gives[read] == "image":
            return np.rint(convolve(self.tensors[read], kernels[0], stride, dilation, before) / WHITE) * self._early()
        flat = np.concatenate([s.reshape(*s.shape[:2], -1, *s.shape[4:]) for s in self.tensors[read]], axis=2)
        halves = zip(np.split(flat, [self.neurons.timesteps]), (kernels[0], kernels[-1]), strict=True)
        return np.concatenate([convolve(x, kernel, stride, dilation, before) for x, kernel in halves])

    def _gated(self, name, layer, read):
        gate = (self.tensors[IMAGE] / float(WHITE) - 1.0) * each(self.integers.drivers[name].gate)
        weight = np.rint(np.ldexp(gate, self.integers.exponent[name][:, None, None]))
        trains = zip(self.tensors[read], self.integers.trains[read], strict=True)
        counts = [sum(g * fired[:, :, i].astype(np.float64) for i, g in enumerate(t.gains)) for fired, t in trains]
        return np.concatenate(counts, axis=2) * weight

    def _fired(self, name, layer, read):
        self.spikes[name], _ = run(self.tensors[read[0]], self.integers.stages[name])
        return [self.spikes[name]]

    def _made(self, name, layer, read):
        """What sums and moves make, of currents, of images, or of the trains of spikes."""
        make, gives = self.graph.kinds[name].make, self.graph.gives[name]
        if gives == "spikes":
            trains = [train for source in read for train in self.tensors[source]]
            return trains if layer["kind"] == "concat" else [make(layer, [np.concatenate(trains, axis=3)])]
        shifts = [self.integers.shift.get((name, source)) for source in read]
        arrays = [self.tensors[source] for source in read]
        arrays = [a if s is None else a * each(2.0**s) for a, s in zip(arrays, shifts, strict=True)]
        return make(layer, arrays)

    def _constant(self, name, layer, read):
        count, _, height, width = self.tensors[read[0]].shape
        return np.rint(np.array(layer["values"]) * WHITE)[:, None, None] * np.ones((count, 1, height, width))


def reached(graph, height, width, taps):
    """What hands on spikes -> int64 (C, H, W): how many accumulations each causes, through what moves it to its readers.

    taps : (layer, (H, W)) -> int64 (H, W), how many outputs of one channel of a reader each position reaches.
    """
    reach = {
        name: np.zeros((graph.width[name], *graph.area(name, height, width)), np.int64)
        for name, gives in graph.gives.items()
        if gives == "spikes"
    }
    for name in reversed(graph.layers):
        layer, read, kind = graph.layers[name], graph.reads[name], graph.kinds[name]
        if name in reach and kind.role == "move":
            ends = np.cumsum([0, *(reach[source].size for source in read)])
            ids = [np.arange(a, b).reshape(reach[s].shape) for a, b, s in zip(ends, ends[1:], read, strict=False)]
            back = np.zeros(ends[-1], np.int64)
            np.add.at(back, kind.make(layer, ids), reach[name])
            for source, part in zip(read, np.split(back, ends[1:-1]), strict=True):
                reach[source] += part.reshape(reach[source].shape)
        elif kind.role == "current" and read[0] in reach:
            reach[read[0]] += kind.targets(layer) * taps(layer, reach[read[0]].shape[1:])
    return reach


def exactly(layer, size):
    """At the border fewer."""
    return np.multiply.outer(*(KINDS[layer["kind"]].fan(layer, side) for side in size))


def reached_on_paper(graph, height, width):
    """As papers count, the border ignored and the mean over positions; and by what all must be divided."""
    unit = math.lcm(
        *(KINDS[layer["kind"]].taps(layer).denominator for layer in graph.layers.values() if "kernel" in layer)
    )

    def taps(layer, size):
        return np.full(size, int(KINDS[layer["kind"]].taps(layer) * unit), np.int64)

    return reached(graph, height, width, taps), unit


# ----- what the certificate says of it -----


def block_side(scale, multiple):
    """The side of the blocks of a layer's digest: gcd(64, U·scale), U being the least common multiple of 64 and the size's."""
    return math.gcd(BLOCK, int(math.lcm(BLOCK, multiple) * scale))


def digest(spikes, side):
    """Of one layer and step, bool (N, C, H, W): SHA-256 over the SHA-256 of its blocks, eight spikes to a byte."""
    leaves = b""
    for plane in spikes:
        for y in range(0, plane.shape[1], side):
            for x in range(0, plane.shape[2], side):
                bits = np.packbits(plane[:, y : y + side, x : x + side].ravel(), bitorder="little")
                leaves += hashlib.sha256(bits.tobytes()).digest()
    return hashlib.sha256(leaves).hexdigest()


def check_layer(claimed, name, found):
    """Compare a layer, step by step."""
    where = f"layer {name}"
    if not isinstance(claimed, dict) or not isinstance(claimed.get("steps"), list):
        raise Refuted(f"{where}: the certificate has other steps")
    claim(f"{where}, number of steps", len(claimed["steps"]), len(found["steps"]))
    claim(where, claimed, found | {"steps": claimed["steps"]})
    for stated, step in zip(claimed["steps"], found["steps"], strict=True):
        claim(f"{where}, step {step['step']}", stated, step)


def layer_of(name, simulation, synops, papers, side):
    """What a certificate says of a layer; synops and papers : how many accumulations a spike causes at each neuron, and as
    papers count, (numbers, what they must be divided by).
    """
    spikes, numbers, timesteps = simulation.spikes[name], simulation.integers.stages[name], simulation.neurons.timesteps
    biased, steps = simulation.integers.biased(name) * spikes[0, :, 0, 0].size, []
    digits = simulation.neurons.digits and name != OUTPUT
    for t, fired in enumerate(spikes):
        weighed = sum((1 if digits else abs(g)) * fired[:, i].sum(axis=0) for i, g in enumerate(numbers.gains))
        found = {
            "step": t + 1,
            "post": t >= timesteps,
            "events": [int(fired[:, i].sum()) for i in range(len(numbers.gains))],
            "synops": int((weighed * synops).sum()),
            "synops_paper": int((weighed * papers[0]).sum()) // papers[1],
            "neuron_updates": fired[:, 0].size * (numbers.most.bit_length() if digits else 1),
            "bias_additions": biased if t < timesteps else 0,
            "sha256": digest(fired.reshape(len(fired), -1, *fired.shape[3:]), side),
        }
        steps.append(found)
    return {"name": name, "shape": list(spikes.shape[3:]), "steps": steps}


def head_arrays(model, head, channels):
    """The arrays of a head, those that it starts with where the model's file has none."""
    found = {}
    if head in ("cpm", "mapper", "recycling"):
        size = HEADS[head][1]
        found["weight"] = np.zeros((channels, channels, size, size))
        found["weight"][range(channels), range(channels), size // 2, size // 2] = 1.0
    if head in ("cpm", "mapper"):
        found["bias"] = np.zeros(channels)
    stored = {path: array for path, array in model.arrays.items() if path.startswith(f"spiking/heads/{head}/")}
    for path, array in stored.items():
        if array.shape != found.get(path.split("/")[-1], np.zeros(0)).shape:
            raise Unchecked(f"the model's file is damaged: {path}")
    return {name: stored.get(f"spiking/heads/{head}/{name}", array) for name, array in found.items()}


def read_output(head, arrays, numbers, spikes, v, timesteps):
    """What the head makes of the output layer (N, C, H, W), in units of its scale; none for a head not known here."""
    count, left, k = spikes.sum(axis=(0, 2)), v - each(numbers.v0), numbers.exponent[:, None, None]
    if head == "membrane":
        return np.ldexp(left, -k) / timesteps
    if head == "rate":
        return count / timesteps
    if head not in HEADS:
        return None
    weight = arrays["weight"]
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    grid = np.where(largest > 0, 15 - np.frexp(largest)[1], 0)[:, None, None]
    read = np.ldexp(convolve(count, np.rint(np.ldexp(weight, grid[..., None]))), -grid) / timesteps
    if "bias" in arrays:
        read = read + arrays["bias"][:, None, None]
    return read if head == "mapper" else read + left / (timesteps * each(numbers.theta))


def restored(mode, plane, output, large, pixels):
    """The result's pixels, of the input plane and the output without padding."""
    values = output if mode == "image" else plane / float(WHITE) + (output if mode == "add" else -output)
    values = values.clip(0.0, 1.0)
    if large is not None:
        y, cb, cr = values[0, 0] - 16.0 / 255.0, large[..., 1] - 128.0 / 255.0, large[..., 2] - 128.0 / 255.0
        back = (
            (1.1643835616438356, 3.0112439743723867e-07, 1.596026887335704),
            (1.1643835616438356, -0.39176253994145005, -0.8129682921622052),
            (1.1643835616438356, 2.0172326395564593, 3.054261745434849e-06),
        )
        image = np.stack([a * y + b * cb + c * cr for a, b, c in back], axis=2).clip(0.0, 1.0)
    elif pixels.ndim == 3:
        image = (values[0] if values.shape[1] == 3 else values[:, 0]).transpose(1, 2, 0)
    else:
        image = values[0, 0] if values.shape[1] == 1 else sum(values[0]) / len(values[0])
    return np.rint(image * np.iinfo(pixels.dtype).max).astype(pixels.dtype)


class Plan:
    """What a certificate's parameters say is run, and those parameters as they must stand in it."""

    def __init__(self, model, parameters):
        graph = model.graph
        self.neuron, self.head = parameters.get("neuron"), parameters.get("head")
        timesteps, given = parameters.get("timesteps"), parameters.get("neuron_parameters")
        if type(self.neuron) is not str or type(self.head) is not str or type(timesteps) is not int:
            raise Unchecked("the certificate is damaged: its neuron, head or timesteps are none")
        self.known = self.neuron in NEURONS
        post_steps = NEURONS[self.neuron][0] if self.known else parameters.get("post_steps")
        if type(post_steps) is not int or post_steps < 0 or timesteps < 1:
            raise Unchecked("the certificate is damaged: its number of steps is none")
        if timesteps + post_steps > MOST_STEPS:
            raise Unchecked(f"{timesteps + post_steps} steps, more than the {MOST_STEPS} that a membrane is safe for")
        if self.known:
            courses, gains = known_courses(graph, self.neuron, given, timesteps), PLANES.get(self.neuron, [1])
            digits = self.neuron in DIGITS
            given = {layer: {name: float(value) for name, value in own.items()} for layer, own in given.items()}
        else:
            courses = declared_courses(graph, parameters, timesteps, post_steps)
            gains, digits = parameters["neuron_planes"], parameters.get("neuron_digits", False)
            if type(digits) is not bool:
                raise Unchecked("the certificate is damaged: its neuron_digits is none")
        fires, self.size = HEADS.get(self.head, (parameters.get("head_fires"), parameters.get("head_size")))
        if type(fires) is not bool or type(self.size) is not int or not 0 <= self.size <= 99:
            raise Unchecked("the certificate is damaged: its head_fires or head_size is none")
        self.neurons = Neurons(timesteps, post_steps, courses, gains_of(graph, gains), fires, digits)
        self.arrays = head_arrays(model, self.head, graph.channels)
        arrays = {name: sha256(array) for name, array in self.arrays.items()}
        signed = signed_layers(graph, gains)
        told = noise_levels(graph, parameters.get("noise_levels"))
        self.parameters = {
            "neuron": self.neuron,
            "neuron_planes": gains,
            **({"neuron_digits": True} if digits else {}),
            **({"signed_layers": signed} if signed else {}),
            "neuron_parameters": given,
            "neuron_steps": courses,
            "head": self.head,
            "head_fires": fires,
            "head_size": self.size,
            "head_parameters": arrays if self.head in HEADS else parameters.get("head_parameters"),
            "timesteps": timesteps,
            "post_steps": post_steps,
            **({"noise_levels": told} if told else {}),
        }


def noise_levels(graph, claimed):
    """Tell the planes that mean the noise level what the certificate says that it was; what it must then say."""
    layers = {n: layer for n, layer in graph.layers.items() if layer.get("meaning") == "sigma"}
    for name, layer in layers.items() if isinstance(claimed, dict) else ():
        values = claimed.get(name)
        good = isinstance(values, list) and len(values) == len(layer["values"])
        if good and all(type(v) is float and 0 <= v <= 4 for v in values):
            layer["values"] = values
    return {name: [float(v) for v in layer["values"]] for name, layer in layers.items()}


def memory(graph, neurons, planes, height, width):
    """How many bytes a simulation needs, about: all spikes, the currents that others are made of, and one at work."""
    sizes = {name: graph.width[name] * math.prod(graph.area(name, height, width)) for name in graph.gives}
    currents = [name for name, kind in graph.gives.items() if kind == "current"]
    kept = sum(8 * sizes[name] for name in currents if not graph.fused(name))
    kept += sum(
        sizes[name] * len(neurons.gains.get(name, [1, -1])) for name, kind in graph.gives.items() if kind == "spikes"
    )
    return neurons.steps * planes * (kept + 25 * max(sizes[name] for name in currents))


def check(certificate, model, image):
    """Compare everything. Raises Refuted, or Unchecked where nothing is refuted and something not known here is left."""
    named, source = part(certificate, "model"), part(certificate, "input")
    claim("model, digest", named.get("digest"), model.digest)
    with open(image, "rb") as file:
        claim("input, file_sha256", source.get("file_sha256"), hashlib.sha256(file.read()).hexdigest())
    graph, scale = model.graph, source.get("scale")
    larger = int(graph.size[graph.output])
    enlarges = larger > 1 or model.info["task"] == "superres"
    if not (type(scale) is int and 1 <= scale <= 8 and larger in (1, scale) if enlarges else scale is None):
        raise Refuted(
            f"input, scale: the certificate says {scale!r}; the model {'enlarges' if enlarges else 'keeps the size'}"
        )
    check_stored(model)
    plan = Plan(model, part(certificate, "parameters"))
    pixels, exact = pixels_of(image)
    whole, large = input_plane(pixels, model, scale)
    plane = padded(whole, graph.multiple)
    if not exact and source.get("plane_sha256") != sha256(plane):
        raise Unchecked("input, plane_sha256 differs; of a lossy file this decoder may read other pixels")
    sizes = dict(zip(("planes", "channels", "height", "width"), plane.shape, strict=True))
    if plane.shape != whole.shape:
        sizes |= dict(zip(("image_height", "image_width"), whole.shape[2:], strict=True))
    found = {"file_sha256": source["file_sha256"], "plane_sha256": sha256(plane), **sizes, "scale": scale}
    claim("input", source, found)
    claim("model", named, {"name": model.info["name"], "digest": model.digest})
    claim("parameters", certificate["parameters"], plan.parameters)
    neurons, claimed = plan.neurons, certificate.get("layers")
    names = [name for name, _ in graph.stages if name != OUTPUT or neurons.head_fires]
    if not isinstance(claimed, list) or len(claimed) != len(names):
        raise Refuted("layers: the certificate lists others")
    count, _, height, width = plane.shape
    if memory(graph, neurons, count, height, width) > MOST_BYTES:
        raise Unchecked(f"{height}x{width} pixels and {neurons.steps} steps are too many for this script's memory")
    integers = Integers(model, neurons)
    simulation = Simulation(integers, neurons, plane)
    synops = reached(graph, height, width, exactly)
    papers, unit = reached_on_paper(graph, height, width)
    totals = np.zeros(3, np.int64)
    for name, theirs in zip(names, claimed, strict=True):
        side = block_side(graph.size[graph.output if name == OUTPUT else name], graph.multiple)
        own = (0, (0, 1)) if name == OUTPUT else (synops[name], (papers[name], unit))  # the head's are apart
        layer = layer_of(name, simulation, *own, side)
        check_layer(theirs, name, layer)
        for step in layer["steps"]:
            totals += sum(step["events"]), step["synops"], step["synops_paper"]
    work = work_of(plan, simulation, count, height, width)
    claim("work", certificate.get("work"), work)
    totals = map(int, np.add(totals, (0, work["head_synops"], work["head_synops_paper"])))
    claim("totals", certificate.get("totals"), dict(zip(("spikes", "synops", "synops_paper"), totals, strict=True)))
    last = integers.stages[OUTPUT]
    output = read_output(plan.head, plan.arrays, last, simulation.spikes[OUTPUT], simulation.v, neurons.timesteps)
    if output is not None:
        rows, columns = (side * larger for side in whole.shape[2:])
        output = (output * model.scale(OUTPUT)[:, None, None])[..., :rows, :columns]
        result = restored(graph.mode, whole, output, large, pixels)
        found = {"dtype": result.dtype.name, "shape": list(result.shape), "sha256": sha256(result)}
        claim("output", certificate.get("output"), found)
    known = {"format", "version", "input", "model", "parameters", "layers", "work", "totals", "output"}
    for key in set(certificate) - known:
        raise Refuted(f"{key}: not part of a certificate")
    same = f"{len(names)} layers, {neurons.steps} steps, every spike the same"
    if output is None or not plan.known:
        what = f"neuron {plan.neuron}" if not plan.known else f"head {plan.head}"
        raise Unchecked(f"{what} is not known to this script; with what the certificate says of it: {same}")
    return same


def work_of(plan, simulation, count, height, width):
    """What a certificate says of the operations besides those that spikes cause."""
    graph, neurons = simulation.graph, plan.neurons
    work = dict.fromkeys(("analog_macs", "analog_macs_paper"), 0)
    ann = dict.fromkeys(("ann_macs", "ann_macs_paper"), 0)
    for name in graph.drivers:
        layer = graph.layers[name]
        if "kernel" not in layer:
            continue
        read = graph.reads[name][0]
        rows, columns = (int(fan(layer, size).sum()) for size in graph.area(read, height, width))
        dense = layer["in_channels"] * graph.kinds[name].targets(layer) * count
        exact, paper = dense * rows * columns, dense * layer["kernel"] ** 2 * math.prod(graph.area(name, height, width))
        ann["ann_macs"] += exact
        ann["ann_macs_paper"] += paper
        if graph.gives[read] == "image":
            work["analog_macs"] += exact
            work["analog_macs_paper"] += paper
    area, channels = count * math.prod(graph.area(graph.output, height, width)), graph.channels
    added = 0 if neurons.head_fires else simulation.integers.biased(OUTPUT) * area * neurons.timesteps
    work["output_additions"] = added + (area * channels if graph.mode != "image" else 0)
    work["head_synops"] = work["head_synops_paper"] = 0
    if neurons.head_fires and plan.size:
        fired = simulation.spikes[OUTPUT].sum(axis=(0, 1, 2))
        head = {"kind": "conv", "kernel": plan.size}
        work["head_synops"] = int((fired * exactly(head, fired.shape[1:])).sum()) * channels
        work["head_synops_paper"] = int(fired.sum()) * plan.size**2 * channels
    work["head_macs"] = area * channels if neurons.head_fires and plan.size else 0
    additions = biases = 0
    for name, kind in graph.kinds.items():
        layer, size = graph.layers[name], math.prod(graph.area(name, height, width))
        additions += kind.additions(layer, len(graph.reads[name])) * graph.width[name] * size
        if kind.role == "current" and not graph.fused(name):
            biases += int(np.count_nonzero(simulation.integers.biases[name])) * size
    added = count * (additions * neurons.steps + biases * neurons.timesteps)
    return work | ann | ({"current_additions": added} if added else {})


def main(arguments):
    """The exit code."""
    if len(arguments) != 3:
        print(__doc__)
        return 2
    try:
        with open(arguments[0], "rb") as file:
            certificate = read_json(file.read((64 << 20) + 1))
        if certificate.get("format") != "nspike certificate" or json.dumps(certificate.get("version")) != "2":
            raise Unchecked(f"it is of version {certificate.get('version')!r}; this script reads version 2")
        same = check(certificate, ModelFile(arguments[1]), arguments[2])
    except Refuted as difference:
        print(f"REFUTED: {difference}")
        return 1
    except Unchecked as reason:
        print(f"NOT CHECKED: {reason}")
        return 2
    except OSError as error:
        named = (
            f"{error.filename}: {error.strerror}" if error.filename is not None else f"a file cannot be read: {error}"
        )
        print(f"NOT CHECKED: {named}")
        return 2
    except Exception as error:  # exit code 1 is for what is refuted
        print(f"NOT CHECKED: a file is damaged or of another kind: {error!r:.300}")
        return 2
    print(f"HOLDS: {same}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
