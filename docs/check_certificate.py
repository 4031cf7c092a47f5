"""Check an nspike certificate without nspike; needs NumPy, h5py and Pillow.

    python check_certificate.py CERTIFICATE.json MODEL.h5 IMAGE

From the numbers in the model's file the integers are made anew, by the rules of docs/reference/files.md, and every neuron is
simulated in float64, where sums of integers are exact in any order:

    u = v + I(t) + b [t <= T];   s = [u >= fire(t)·θ];   v = u - s·amplitude(t)·θ

(with a leak, signed and several spikes at a step, and a reset to zero where a neuron has them: see `run`).
Every field of the certificate is compared with what follows, in the order of the work. Exit code 0: it holds. 1: it is
refuted, and the first difference is named. 2: it could not be checked, and why.
"""

import hashlib
import io
import json
import math
import re
import sys
from decimal import Context, Decimal

import h5py
import numpy as np
from PIL import Image

WHITE = 65535
OUTPUT = "output"
BLOCK = 64
MOST_STEPS = 126
MOST_BYTES = 4 << 30
NEVER = 2**31 - 1
HEADS = {"membrane": (False, 0), "rate": (True, 0), "cpm": (True, 3), "recycling": (True, 1)}
"""Name -> whether the output layer fires, and the side of the convolution over its spikes."""
V_INIT = ("v_init", lambda v: -1 <= v <= 1)
NEURONS = {
    "if": (0, dict([V_INIT])),
    "signed": (0, dict([V_INIT])),
    "lif": (0, dict([("tau", lambda v: 1 <= v <= 65536), ("decay_input", lambda v: 0 <= v <= 1), V_INIT])),
    "lif_hard": (0, dict([("tau", lambda v: 1 <= v <= 65536), ("decay_input", lambda v: 0 <= v <= 1), V_INIT])),
    "mprn": (1, dict([("beta", lambda v: -30 <= v <= 30), V_INIT])),
    "mprn_beta": (1, dict([("alpha", lambda v: 0.5 < v <= 1), ("beta", lambda v: 0 < v <= 4), V_INIT])),
}
"""Name -> steps after T, and what its parameters may be."""
PLANES = {"signed": [1, -1]}
"""Name -> the gains of its planes of spikes, where they are not [1]."""


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
            texts = {name: file.attrs[name].decode() for name in ("network", "info", "spiking")}
            stated = [file.attrs["digest"].decode(), file.attrs.get("integers_digest", b"").decode()]
        self.network, self.info, self.spiking = (json.loads(texts[name]) for name in ("network", "info", "spiking"))
        self.layers = {layer["name"]: layer for layer in self.network["layers"]}
        self.convs = [layer for layer in self.network["layers"] if layer["kind"] == "conv"]
        integers = sorted(name for name in self.arrays if name.startswith("integers/"))
        self.digest = self._digest(texts, sorted(set(self.arrays) - set(integers)))
        if stated != [self.digest, self._digest({}, integers) if integers else ""]:
            raise Unchecked(f"{path} is damaged: its digests are not those of its content")

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

    def stages(self):
        """Every convolution and gate, with the name of the neurons that it drives and of those that it reads."""
        for layer in self.network["layers"]:
            if layer["kind"] in ("conv", "gate"):
                driven = [a["name"] for a in self.layers.values() if a["kind"] == "activation"]
                driven = [name for name in driven if self.layers[name]["source"] == layer["name"]]
                name = OUTPUT if layer["name"] == self.network["output"] else driven[0]
                yield name, layer, self.activations(layer["source"])

    def activations(self, source):
        """The layers of neurons behind a source; none for the image."""
        if source == "image":
            return []
        layer = self.layers[source]
        return [source] if layer["kind"] == "activation" else [a for s in layer["sources"] for a in self.activations(s)]

    def neurons(self):
        """The names of the layers of neurons."""
        return [name for name, layer in self.layers.items() if layer["kind"] == "activation"]


# ----- what the neurons do, step by step -----


def release(beta):
    """0.5·sigmoid(beta) + 0.5, to 12 decimals."""
    digits, half = Context(prec=40), Decimal("0.5")
    fraction = digits.divide(half, digits.add(1, Decimal(-beta).exp(digits)))
    return float(digits.add(fraction, half).quantize(Decimal("1e-12")))


def course(neuron, parameters, timesteps, post_steps):
    """What one layer's neurons start with, when they fire and what a spike is worth, by step, in thresholds and spikes."""
    fire, amplitude = 1.0, 1.0
    if neuron == "mprn":
        fire = release(parameters["beta"])
    if neuron == "mprn_beta":
        fire, amplitude = round(parameters["alpha"], 12), round(parameters["beta"], 12)
    own = {
        "initial": round(parameters["v_init"], 12) + 0.0,
        "fires": [1.0] * timesteps + [fire] * post_steps,
        "amplitudes": [1.0] * timesteps + [amplitude] * post_steps,
    }
    if neuron in ("lif", "lif_hard"):
        keep = 1.0 - 1.0 / parameters["tau"]
        factors = {"keep": keep, "input_factor": 1.0 - parameters["decay_input"] * keep}
        factors = {name: int(np.rint(round(factor, 12) * 65536)) for name, factor in factors.items()}
        own |= factors if set(factors.values()) != {65536} else {}
        own |= {"reset": "zero"} if neuron == "lif_hard" else {}
    return own | ({"most_spikes": 1} if neuron == "signed" else {})


def known_courses(model, neuron, given, timesteps):
    """Layer -> course, of a neuron in NEURONS. Raises Unchecked for parameters that it cannot have."""
    post_steps, ranges = NEURONS[neuron]
    if not isinstance(given, dict) or set(given) != set(model.neurons()):
        raise Unchecked("the certificate is damaged: its neuron_parameters are not by layer of neurons")
    for values in given.values():
        good = isinstance(values, dict) and set(values) == set(ranges)
        if not good or not all(type(v) in (int, float) and ranges[name](v) for name, v in values.items()):
            raise Unchecked(f"the certificate is damaged: neuron {neuron} cannot have the parameters {values!r}")
    return {name: course(neuron, given[name], timesteps, post_steps) for name in model.neurons()}


def declared_courses(model, parameters, timesteps, post_steps):
    """Layer -> course, as the certificate declares it for a neuron that this script does not know."""
    declared, steps, gains = parameters.get("neuron_steps"), timesteps + post_steps, parameters.get("neuron_planes")
    powers = [2**i for i in range(7)]
    allowed = [[*powers[:up], *(-g for g in powers[:down])] for up in range(1, 8) for down in range(8)]
    if (
        json.dumps(gains) not in map(json.dumps, allowed)
        or not isinstance(declared, dict)
        or set(declared) != set(model.neurons())
    ):
        raise Unchecked(f"neuron {parameters['neuron']!r} has a kernel of its own, which only its code tells")
    for values in declared.values():
        fires, worth = values["fires"], values["amplitudes"]
        numbers = [values["initial"], *(f for f in fires if f is not None), *worth]
        good = len(fires) == len(worth) == steps and {type(n) for n in numbers} == {float}
        good = good and abs(values["initial"]) <= 1 and min(worth) > 0 and all(f is None or 0 < f <= 64 for f in fires)
        good = good and all(a <= 127 - steps + t for t, a in enumerate(worth, 1)) and plausible(values, gains)
        if not good or len(set(worth[:timesteps])) > 1 or len(set(worth[timesteps:])) > 1:
            raise Unchecked("the certificate is damaged: its neuron_steps are none that a neuron can have")
    return {name: declared[name] for name in model.neurons()}


def plausible(values, gains):
    """Whether a declared neuron can have this leak, reset and number of spikes at a step."""
    factors = [values[name] for name in ("keep", "input_factor") if name in values]
    ranged = all(type(m) is int and 0 <= m <= 65536 for m in factors) and len(factors) in (0, 2)
    most, largest = values.get("most_spikes"), max(sum(g for g in gains if s * g > 0) * s for s in (1, -1))
    several = type(most) is int and 1 <= most <= largest if len(gains) > 1 else most is None
    others = zip(values["fires"], values["amplitudes"], strict=True)
    within = all(f is None or f + (largest - 1) * a <= 127 for f, a in others)
    return ranged and several and within and values.get("reset", "zero") == "zero"


# ----- the integers -----


class Integers:
    """The numbers of one layer's neurons and of what drives them, on the channels' grids 2^-exponent."""

    def __init__(self, model, stage, courses, head_fires, timesteps, post_steps, gains):
        name, layer, sources = stage
        self.theta_unrounded = theta = model.arrays[f"spiking/thresholds/{name}"]
        scale, steps = model.arrays[f"spiking/scales/{name}"], timesteps + post_steps
        read = [model.arrays[f"spiking/scales/{s}"] for s in sources]
        self.gate = np.zeros(0)
        if layer["kind"] == "gate":
            self.gate, bias = read[0] / scale, 1.0 / scale
            self.exponent = exponents((self.gate * 5)[None, :, None, None, None], bias, theta, 1, 2**24)
            self.weights = np.zeros((1, len(scale), 0, 1, 1), np.int16)
        else:
            weights, bias = kernel_of(model, layer, np.concatenate(read) if read else None, scale)
            read = [(len(r), courses[s]["amplitudes"]) for r, s in zip(read, sources, strict=True)]
            weights = phases(weights, read, gains)
            gain, limit = (1, 4095) if sources else (4, 32767)
            self.exponent = exponents(weights, bias, theta, gain, limit)
            self.weights = np.rint(np.ldexp(weights, self.exponent[:, None, None, None])).astype(np.int16)
        self.bias = self.on_grid(bias)
        self.theta = np.maximum(self.on_grid(theta), 1)
        fires = [1.0 if head_fires and t < timesteps else None for t in range(steps)]
        mine = {"initial": 0.0, "fires": fires, "amplitudes": [1.0] * steps} if name == OUTPUT else courses[name]
        self.v0 = self.on_grid(mine["initial"] * theta)
        self.threshold = np.stack([self._times(f, least=1) for f in mine["fires"]])
        self.most = mine.get("most_spikes", 1)
        self.reset = np.stack([self._times(a, least=int(self.most > 1)) for a in mine["amplitudes"]])
        if self.most > 1:
            self.reset[self.threshold == NEVER] = 0
        self.gains = gains if name != OUTPUT else [1]
        self.factors = (mine["keep"], mine["input_factor"]) if "keep" in mine else None
        self.to_zero = "reset" in mine

    def arrays(self):
        """Name -> array, as a model's file stores them."""
        names = ("exponent", "weights", "bias", "theta", "v0", "threshold", "reset", "gate")
        own = {name: getattr(self, name) for name in names}
        if self.factors is not None:
            own |= {n: np.array([m], np.int32) for n, m in zip(("keep", "input_factor"), self.factors, strict=True)}
        if self.to_zero:
            own["reset_to_zero"] = np.array([1], np.int32)
        if self.gains != [1]:
            own |= {"planes": np.array(self.gains, np.int32), "most_spikes": np.array([self.most], np.int32)}
        return own

    def on_grid(self, values):
        """Round half to even."""
        return np.rint(np.ldexp(values, self.exponent)).astype(np.int32)

    def _times(self, factor, least):
        """A part of the threshold, which is the unrounded one."""
        if factor is None:
            return np.full(self.theta.shape, NEVER, np.int32)
        return self.theta if factor == 1.0 else np.maximum(self.on_grid(self.theta_unrounded * factor), least)


def kernel_of(model, layer, scale_in, scale_out):
    """The kernel and bias of a convolution in units of the scale of the layer that it drives, float64."""
    name, arrays = layer["name"], model.arrays
    if f"spiking/weights/{name}" in arrays:
        weights = arrays[f"spiking/weights/{name}"].astype(np.float64)
    else:
        weights = arrays[f"ann/{name}.weight"].astype(np.float64)
        scale_in = np.ones(weights.shape[1]) if scale_in is None else scale_in
        weights = weights * scale_in[None, :, None, None] / scale_out[:, None, None, None]
    if f"spiking/biases/{name}" in arrays:
        return weights, arrays[f"spiking/biases/{name}"].astype(np.float64)
    bias = arrays.get(f"ann/{name}.bias") if layer["bias"] else None
    return weights, np.zeros(len(weights)) if bias is None else bias.astype(np.float64) / scale_out


def phases(weights, sources, gains):
    """The kernel for the steps up to T and, where a spike is then worth something else, after, (1 or 2, O, I, k, k)."""
    if not sources:
        return weights[None]
    both, parts = [], np.split(weights, np.cumsum([n for n, _ in sources])[:-1], axis=1)
    for end in (0, -1):
        read = zip(parts, sources, strict=True)
        both.append(np.concatenate([part * (worth[end] * g) for part, (_, worth) in read for g in gains], axis=1))
    return np.stack(both[:1] if np.array_equal(*both) else both)


def exponents(weights, bias, theta, gain, limit):
    """The largest k of each channel with which weights, threshold, and sum of weights and bias keep their bounds."""
    flat = np.abs(weights).transpose(1, 0, 2, 3, 4).reshape(weights.shape[1], len(weights), -1)
    sums = np.array([max(map(math.fsum, channel)) for channel in flat.tolist()])
    with np.errstate(divide="ignore"):
        most = np.minimum(limit / flat.max(axis=(1, 2)), 2**24 / theta)
        most = np.minimum(most, 2**24 / (gain * sums + np.abs(bias)))
    return np.frexp(most)[1].astype(np.int64) - 1


def integers_of(model, courses, head_fires, timesteps, post_steps, gains):
    """Of every stage, by name."""
    return {s[0]: Integers(model, s, courses, head_fires, timesteps, post_steps, gains) for s in model.stages()}


def check_stored(model):
    """The integers in the model's file decide nothing here; but nspike refuses a file where they are others than follow."""
    neuron, head, stored = model.spiking["neuron"], model.spiking["head"], model.spiking["neuron_parameters"]
    kept = {path: array for path, array in model.arrays.items() if path.startswith("integers/")}
    if not kept or neuron not in NEURONS or head not in HEADS:
        return
    timesteps, default = model.spiking["timesteps"], {"tau": 16.0, "beta": float(neuron == "mprn_beta"), "alpha": 0.9}
    usual = {name: default.get(name, 0.0) for name in NEURONS[neuron][1]}
    given = {name: usual | stored.get(neuron, {}).get(name, {}) for name in model.neurons()}
    courses = known_courses(model, neuron, given, timesteps)
    gains = PLANES.get(neuron, [1])
    made = integers_of(model, courses, HEADS[head][0], timesteps, NEURONS[neuron][0], gains).items()
    made = {f"integers/{layer}/{name}": array for layer, own in made for name, array in own.arrays().items()}
    made = {path: array for path, array in made.items() if array.size}
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


def input_plane(pixels, channels, scale):
    """The integers that the network is given (N, C, H, W), white being 65535; and the enlargement, if it is one."""
    peak = np.iinfo(pixels.dtype).max
    if scale is not None:
        large = luma_and_chroma(pixels / float(peak)) if pixels.ndim == 3 else pixels / float(peak)
        large = enlarged(enlarged(large, scale, 0), scale, 1)
        luma = large if large.ndim == 2 else large[..., 0]
        return np.rint(luma * WHITE).astype(np.int32)[None, None], large
    plane = pixels.astype(np.int32) * (WHITE // peak)
    plane = plane.transpose(2, 0, 1) if plane.ndim == 3 else plane[None]
    if channels == 1:
        return plane[:, None], None  # a grey network takes a colour image channel by channel
    return np.broadcast_to(plane, (channels, *plane.shape[1:]))[None], None


# ----- the simulation -----


def convolve(x, kernel):
    """Zero-padded correlation of (..., C, H, W) with (O, C, k, k)."""
    (height, width), radius = x.shape[-2:], kernel.shape[-1] // 2
    padded = np.pad(x.astype(np.float64), [(0, 0)] * (x.ndim - 2) + [(radius, radius)] * 2)
    total = np.zeros((*x.shape[:-3], len(kernel), height * width))
    taps = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1).astype(np.float64))
    for dy, dx in np.ndindex(kernel.shape[2:]):
        window = padded[..., dy : dy + height, dx : dx + width]
        total += taps[dy, dx] @ window.reshape(*x.shape[:-2], height * width)
    return total.reshape(*total.shape[:-1], height, width)


def each(values):
    """By channel, for (..., C, H, W)."""
    return np.asarray(values, np.float64)[:, None, None]


def currents_of(layer, sources, numbers, plane, spikes, timesteps, steps):
    """What arrives in a layer at each step without its bias, (steps, N, C, H, W)."""
    if layer["kind"] == "gate":
        gate = (plane / float(WHITE) - 1.0) * each(numbers.gate)
        return spikes[sources[0]] * np.rint(np.ldexp(gate, numbers.exponent[:, None, None]))
    if not sources:
        constant = np.rint(convolve(plane, numbers.weights[0]) / WHITE)
        return np.stack([constant * (t < timesteps) for t in range(steps)])
    read = np.concatenate([spikes[source] for source in sources], axis=2)
    kernels = numbers.weights
    return np.concatenate([convolve(read[:timesteps], kernels[0]), convolve(read[timesteps:], kernels[-1])])


def run(currents, numbers, timesteps):
    """Spikes bool (steps, N, planes·C, H, W), and the membranes at the end.

    A factor m of the membrane or the input stands for m/65536, the product being rounded. Several spikes at a step lie one
    amplitude apart, and come as the bits of their number; negative ones are fired below the negative threshold.
    """
    v = np.zeros(currents.shape[1:]) + each(numbers.v0)
    gains, spikes = numbers.gains, []
    for t, current in enumerate(currents):
        current = current + each(numbers.bias) * (t < timesteps)
        if numbers.factors is not None:
            v, current = (
                np.floor((x * m + 32768.0) / 65536.0) for x, m in zip((v, current), numbers.factors, strict=True)
            )
        u, threshold, reset = v + current, each(numbers.threshold[t]), each(numbers.reset[t])
        count, fired = np.zeros(u.shape, np.int64), []
        for sign in (1, -1):
            n = np.zeros(u.shape, np.int64)
            for k in range(min(numbers.most, sum(g * sign for g in gains if g * sign > 0))):
                n += sign * u >= threshold + k * reset
            fired += [n // (g * sign) % 2 == 1 for g in gains if g * sign > 0]
            count += sign * n
        v = u - count * reset
        if numbers.to_zero:
            v = np.where(count != 0, 0.0, v)
        spikes.append(np.concatenate(fired, axis=1))
    return np.stack(spikes), v


# ----- what the certificate says of it -----


def digest(spikes):
    """Of one layer and step, bool (N, C, H, W): SHA-256 over the SHA-256 of its blocks of 64×64, eight spikes to a byte."""
    leaves = b""
    for plane in spikes:
        for y in range(0, plane.shape[1], BLOCK):
            for x in range(0, plane.shape[2], BLOCK):
                bits = np.packbits(plane[:, y : y + BLOCK, x : x + BLOCK].ravel(), bitorder="little")
                leaves += hashlib.sha256(bits.tobytes()).digest()
    return hashlib.sha256(leaves).hexdigest()


def fan(kernel, size):
    """How many outputs of a zero-padded convolution read each of `size` positions."""
    at, radius = np.arange(size), kernel // 2
    return np.minimum(at + radius, size - 1) - np.maximum(at - radius, 0) + 1


def reached(spikes, kernel, targets):
    """The accumulations that spikes (..., H, W) cause in a layer that reads them."""
    rows, columns = (fan(kernel, size) for size in spikes.shape[-2:])
    return int((spikes * rows[:, None] * columns).sum()) * targets


def check_layer(claimed, name, spikes, readers, biased, timesteps, gains):
    """Compare a layer, step by step; what it adds to the totals."""
    where = f"layer {name}"
    if not isinstance(claimed, dict) or not isinstance(claimed.get("steps"), list):
        raise Refuted(f"{where}: the certificate has other steps")
    claim(f"{where}, number of steps", len(claimed["steps"]), len(spikes))
    channels, height, width = spikes.shape[2] // len(gains), *spikes.shape[3:]
    claim(where, claimed, {"name": name, "shape": [channels, height, width], "steps": claimed["steps"]})
    totals = np.zeros(3, np.int64)
    for t, fired in enumerate(spikes):
        planes = np.split(fired, len(gains), axis=1)
        events = [int(plane.sum()) for plane in planes]
        weighed = [(abs(g), plane) for g, plane in zip(gains, planes, strict=True)]
        found = {
            "step": t + 1,
            "post": t >= timesteps,
            "events": events,
            "synops": sum(g * reached(plane, kernel, targets) for g, plane in weighed for kernel, targets in readers),
            "synops_paper": sum(
                g * int(plane.sum()) * k * k * targets for g, plane in weighed for k, targets in readers
            ),
            "neuron_updates": planes[0].size,
            "bias_additions": biased if t < timesteps else 0,
            "sha256": digest(fired),
        }
        claim(f"{where}, step {t + 1}", claimed["steps"][t], found)
        totals += sum(events), found["synops"], found["synops_paper"]
    return totals


def head_arrays(model, head, channels):
    """The arrays of a head, those that it starts with where the model's file has none."""
    found = {}
    if head in ("cpm", "recycling"):
        size = HEADS[head][1]
        found["weight"] = np.zeros((channels, channels, size, size))
        found["weight"][range(channels), range(channels), size // 2, size // 2] = 1.0
    if head == "cpm":
        found["bias"] = np.zeros(channels)
    stored = {path: array for path, array in model.arrays.items() if path.startswith(f"spiking/heads/{head}/")}
    for path, array in stored.items():
        if array.shape != found.get(path.split("/")[-1], np.zeros(0)).shape:
            raise Unchecked(f"the model's file is damaged: {path}")
    return {name: stored.get(f"spiking/heads/{head}/{name}", array) for name, array in found.items()}


def read_output(head, arrays, numbers, spikes, v, timesteps):
    """What the head makes of the output layer (N, C, H, W), in units of its scale; none for a head not known here."""
    count, left, k = spikes.sum(axis=0), v - each(numbers.v0), numbers.exponent[:, None, None]
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
    return read + left / (timesteps * each(numbers.theta))


def restored(mode, plane, output, large, pixels):
    """The result's pixels."""
    whole = plane / float(WHITE)
    values = {"subtract": whole - output, "add": whole + output, "image": output}[mode].clip(0.0, 1.0)
    if large is not None and large.ndim == 3:
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
        self.neuron, self.head = parameters.get("neuron"), parameters.get("head")
        self.timesteps, given = parameters.get("timesteps"), parameters.get("neuron_parameters")
        if type(self.neuron) is not str or type(self.head) is not str or type(self.timesteps) is not int:
            raise Unchecked("the certificate is damaged: its neuron, head or timesteps are none")
        self.known = self.neuron in NEURONS
        self.post_steps = NEURONS[self.neuron][0] if self.known else parameters.get("post_steps")
        if type(self.post_steps) is not int or self.post_steps < 0 or self.timesteps < 1:
            raise Unchecked("the certificate is damaged: its number of steps is none")
        self.steps = self.timesteps + self.post_steps
        if self.steps > MOST_STEPS:
            raise Unchecked(f"{self.steps} steps, more than the {MOST_STEPS} that a membrane is safe for")
        if self.known:
            self.courses = known_courses(model, self.neuron, given, self.timesteps)
            given = {layer: {name: float(value) for name, value in own.items()} for layer, own in given.items()}
            self.gains = PLANES.get(self.neuron, [1])
        else:
            self.courses = declared_courses(model, parameters, self.timesteps, self.post_steps)
            self.gains = parameters["neuron_planes"]
        self.fires, self.size = HEADS.get(self.head, (parameters.get("head_fires"), parameters.get("head_size")))
        if type(self.fires) is not bool or type(self.size) is not int or not 0 <= self.size <= 99:
            raise Unchecked("the certificate is damaged: its head_fires or head_size is none")
        self.arrays = head_arrays(model, self.head, model.network["channels"])
        arrays = {name: sha256(array) for name, array in self.arrays.items()}
        self.parameters = {
            "neuron": self.neuron,
            "neuron_planes": self.gains,
            "neuron_parameters": given,
            "neuron_steps": self.courses,
            "head": self.head,
            "head_fires": self.fires,
            "head_size": self.size,
            "head_parameters": arrays if self.head in HEADS else parameters.get("head_parameters"),
            "timesteps": self.timesteps,
            "post_steps": self.post_steps,
        }


def check(certificate, model, image):
    """Compare everything. Raises Refuted, or Unchecked where nothing is refuted and something not known here is left."""
    named, source = part(certificate, "model"), part(certificate, "input")
    claim("model, digest", named.get("digest"), model.digest)
    with open(image, "rb") as file:
        claim("input, file_sha256", source.get("file_sha256"), hashlib.sha256(file.read()).hexdigest())
    network, scale = model.network, source.get("scale")
    enlarges = model.info["task"] == "superres"
    if not (type(scale) is int and 1 <= scale <= 8 if enlarges else scale is None):
        raise Refuted(
            f"input, scale: the certificate says {scale!r}; the model {'enlarges' if enlarges else 'keeps the size'}"
        )
    plan = Plan(model, part(certificate, "parameters"))
    check_stored(model)
    pixels, exact = pixels_of(image)
    plane, large = input_plane(pixels, network["channels"], scale)
    if not exact and source.get("plane_sha256") != sha256(plane):
        raise Unchecked("input, plane_sha256 differs; of a lossy file this decoder may read other pixels")
    sizes = dict(zip(("planes", "channels", "height", "width"), plane.shape, strict=True))
    found = {"file_sha256": source["file_sha256"], "plane_sha256": sha256(plane), **sizes, "scale": scale}
    claim("input", source, found)
    claim("model", named, {"name": model.info["name"], "digest": model.digest})
    claim("parameters", certificate["parameters"], plan.parameters)
    stages, claimed = list(model.stages()), certificate.get("layers")
    if not isinstance(claimed, list) or len(claimed) != len(stages) - (not plan.fires):
        raise Refuted("layers: the certificate lists others")
    count, channels, height, width = plane.shape
    area, numbers = (
        count * height * width,
        integers_of(model, plan.courses, plan.fires, plan.timesteps, plan.post_steps, plan.gains),
    )
    widths = [len(own.theta) * len(own.gains) for own in numbers.values()]
    if plan.steps * area * (sum(widths) + 24 * max(widths)) > MOST_BYTES:
        raise Unchecked(f"{height}x{width} pixels and {plan.steps} steps are too many for this script's memory")
    claimed, spikes, totals, head_synops = list(claimed), {}, np.zeros(3, np.int64), (0, 0)
    for name, layer, sources in stages:
        own = numbers[name]
        arriving = currents_of(layer, sources, own, plane, spikes, plan.timesteps, plan.steps)
        spikes[name], v = run(arriving, own, plan.timesteps)
        biased = area * int(np.count_nonzero(own.bias))
        if name == OUTPUT and not plan.fires:
            continue
        readers = [
            (other["kernel"], other["out_channels"]) if other["kind"] == "conv" else (1, 1)
            for _, other, reads in stages
            for read in reads
            if read == name
        ]
        totals += check_layer(claimed.pop(0), name, spikes[name], readers, biased, plan.timesteps, own.gains)
    if plan.fires and plan.size:
        fired = spikes[OUTPUT]
        head_synops = reached(fired, plan.size, channels), int(fired.sum()) * plan.size**2 * channels
    work = dict.fromkeys(("analog_macs", "analog_macs_paper", "ann_macs", "ann_macs_paper"), 0)
    for conv in model.convs:
        dense = conv["in_channels"] * conv["out_channels"]
        exact = count * dense * int(fan(conv["kernel"], height).sum()) * int(fan(conv["kernel"], width).sum())
        for key in ("ann", *(["analog"] if conv["source"] == "image" else [])):
            work[f"{key}_macs"] += exact
            work[f"{key}_macs_paper"] += area * dense * conv["kernel"] ** 2
    added = 0 if plan.fires else biased * plan.timesteps
    work["output_additions"] = added + (area * channels if network["mode"] != "image" else 0)
    work["head_synops"], work["head_synops_paper"] = head_synops
    work["head_macs"] = area * channels if plan.fires and plan.size else 0
    claim("work", certificate.get("work"), work)
    totals = map(int, np.add(totals, (0, *head_synops)))
    claim("totals", certificate.get("totals"), dict(zip(("spikes", "synops", "synops_paper"), totals, strict=True)))
    output = read_output(plan.head, plan.arrays, own, spikes[OUTPUT], v, plan.timesteps)
    if output is not None:
        output = output * model.arrays[f"spiking/scales/{OUTPUT}"][:, None, None]
        result = restored(network["mode"], plane, output, large, pixels)
        found = {"dtype": result.dtype.name, "shape": list(result.shape), "sha256": sha256(result)}
        claim("output", certificate.get("output"), found)
    for key in set(certificate) - {
        "format",
        "version",
        "input",
        "model",
        "parameters",
        "layers",
        "work",
        "totals",
        "output",
    }:
        raise Refuted(f"{key}: not part of a certificate")
    same = f"{len(certificate['layers'])} layers, {plan.steps} steps, every spike the same"
    if output is None or not plan.known:
        what = f"neuron {plan.neuron}" if not plan.known else f"head {plan.head}"
        raise Unchecked(f"{what} is not known to this script; with what the certificate says of it: {same}")
    return same


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
    except Exception as error:  # exit code 1 is for what is refuted
        print(f"NOT CHECKED: a file is damaged or of another kind: {error!r:.300}")
        return 2
    print(f"HOLDS: {same}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
