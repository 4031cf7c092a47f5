"""Check an nspike certificate without nspike; needs NumPy, h5py and Pillow.

    python check_certificate.py CERTIFICATE.json MODEL.h5 IMAGE

From the integers in the model's file every neuron is simulated in float64, where sums of integers are exact in any order:

    u = v + I(t) + b [t <= T];   s = [u >= fire(t)·θ];   v = u - s·amplitude(t)·θ

Every number of the certificate is compared with what follows, in the order of the work. Exit code 0: it holds. 1: it is
refuted, and the first difference is named. 2: it could not be checked, and why.
"""

import hashlib
import json
import sys

import h5py
import numpy as np
from PIL import Image

WHITE = 65535
OUTPUT = "output"
BLOCK = 64


class Refuted(Exception):
    """Something is not as the certificate says."""


class Unchecked(Exception):
    """This script cannot tell."""


def claim(where, claimed, found):
    """Raise Refuted unless the certificate's value is the one that was found; 1 is not 1.0 or true."""
    if json.dumps(claimed) != json.dumps(found):
        raise Refuted(f"{where}: the certificate says {claimed!r}, found {found!r}")


def sha256(array):
    """SHA-256 of an array's bytes, little-endian, in C order."""
    return hashlib.sha256(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).hexdigest()


# ----- the model's file -----


class ModelFile:
    """The arrays of a model's file by path, its network, and the digest of its content."""

    def __init__(self, path):
        self.arrays = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: self._keep(name, item))
            texts = {name: file.attrs[name] for name in ("network", "info", "spiking")}
        self.network = json.loads(texts["network"])
        self.info = json.loads(texts["info"])
        self.layers = {layer["name"]: layer for layer in self.network["layers"]}
        self.convs = [layer for layer in self.network["layers"] if layer["kind"] == "conv"]
        self.digest = self._digest(texts)

    def _keep(self, name, item):
        if isinstance(item, h5py.Dataset):
            self.arrays[name] = item[()]

    def _digest(self, texts):
        sha = hashlib.sha256()
        for name in sorted(texts):
            values = json.loads(texts[name])
            text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            sha.update(f"@{name}\0utf-8\0{len(text)}\0".encode() + text)
        for name in sorted(name for name in self.arrays if not name.startswith("integers/")):
            array = self.arrays[name]
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            sha.update(f"{name}\0{little.dtype.str}\0{','.join(map(str, array.shape))}\0".encode() + little.tobytes())
        return sha.hexdigest()

    def integers(self, layer, name):
        """One array of a layer's integers, as float64."""
        if f"integers/{layer}/{name}" not in self.arrays:
            raise Unchecked(f"the model's file holds no integers/{layer}/{name}")
        return self.arrays[f"integers/{layer}/{name}"].astype(np.float64)

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


# ----- the image -----


def pixels_of(path):
    """(H, W) or (H, W, 3), uint8 or uint16, without alpha."""
    with Image.open(path) as image:
        if image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)
        grey = image.mode in ("1", "L", "LA")
        return np.asarray(image.convert("L" if grey else "RGB"))


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
    taps = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1))
    for dy, dx in np.ndindex(kernel.shape[2:]):
        window = padded[..., dy : dy + height, dx : dx + width]
        total += taps[dy, dx] @ window.reshape(*x.shape[:-2], height * width)
    return total.reshape(*total.shape[:-1], height, width)


class Neurons:
    """The numbers of one layer's neurons: v(0), and by step when they fire and what a spike then takes away."""

    def __init__(self, model, name, parameters):
        steps = parameters["timesteps"] + parameters["post_steps"]
        fires, amplitudes, initial = [1.0] * steps, [1.0] * steps, 0.0
        if name == OUTPUT:
            until = parameters["timesteps"] if parameters["head_fires"] else 0
            fires = [1.0 if t < until else None for t in range(steps)]
        else:
            course = parameters["neuron_steps"][name]
            fires, amplitudes, initial = course["fires"], course["amplitudes"], course["initial"]
        self.exponent = model.integers(name, "exponent").astype(int)
        self.theta = model.integers(name, "theta")
        threshold = model.arrays[f"spiking/thresholds/{name}"]
        self.fires = [None if f is None else self._times(f, threshold) for f in fires]
        self.resets = [self._times(a, threshold, least=0) for a in amplitudes]
        self.initial = np.rint(np.ldexp(initial * threshold, self.exponent))
        stored = model.integers(name, "reset")
        if not all(np.array_equal(stored[t], self.resets[t]) for t in (0, -1)):
            raise Unchecked(
                f"the integers of {name} in the model's file are for spikes of another value than this neuron's; write "
                "the model with this neuron into a file, and audit that one"
            )

    def _times(self, factor, threshold, least=1):
        """A part of the threshold on the layer's grid."""
        return self.theta if factor == 1.0 else np.maximum(np.rint(np.ldexp(threshold * factor, self.exponent)), least)

    def run(self, currents, bias, timesteps):
        """Spikes bool (steps, N, C, H, W), and the membranes at the end, for currents of the same shape."""

        def each(values):
            return values[:, None, None]

        v = np.zeros(currents.shape[1:]) + each(self.initial)
        spikes = np.zeros(currents.shape, bool)
        for t, current in enumerate(currents):
            v += current + each(bias) * (t < timesteps)
            if self.fires[t] is not None:
                spikes[t] = v >= each(self.fires[t])
                v -= spikes[t] * each(self.resets[t])
        return spikes, v


def currents_of(model, name, layer, sources, plane, spikes, timesteps, steps):
    """What arrives in a layer at each step without its bias, (steps, N, C, H, W)."""
    exponent = model.integers(name, "exponent").astype(int)[:, None, None]
    if layer["kind"] == "gate":
        gate = (plane / float(WHITE) - 1.0) * model.arrays[f"integers/{name}/gate"][:, None, None]
        return spikes[sources[0]] * np.rint(np.ldexp(gate, exponent))
    weights = model.integers(name, "weights")
    if not sources:
        constant = np.rint(convolve(plane, weights[0]) / WHITE)
        return np.stack([constant * (t < timesteps) for t in range(steps)])
    read = np.concatenate([spikes[source] for source in sources], axis=2)
    return np.concatenate([convolve(read[:timesteps], weights[0]), convolve(read[timesteps:], weights[-1])])


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


def check_layer(claimed, name, spikes, readers, biased, timesteps):
    """Compare a layer, step by step; what it adds to the totals."""
    where = f"layer {name}"
    claim(f"{where}, name", claimed["name"], name)
    claim(f"{where}, shape", claimed["shape"], list(spikes.shape[2:]))
    claim(f"{where}, number of steps", len(claimed["steps"]), len(spikes))
    totals = np.zeros(3, np.int64)
    for t, fired in enumerate(spikes):
        events = int(fired.sum())
        found = {
            "step": t + 1,
            "post": t >= timesteps,
            "events": [events],
            "synops": sum(reached(fired, kernel, targets) for kernel, targets in readers),
            "synops_paper": events * sum(kernel * kernel * targets for kernel, targets in readers),
            "neuron_updates": fired.size,
            "bias_additions": biased if t < timesteps else 0,
            "sha256": digest(fired),
        }
        for key in (*found, *(set(claimed["steps"][t]) - set(found))):
            claim(f"{where}, step {t + 1}, {key}", claimed["steps"][t].get(key), found.get(key))
        totals += events, found["synops"], found["synops_paper"]
    return totals


def head_arrays(model, head, channels):
    """The arrays of a head, those that it starts with where the model's file has none."""
    found = {}
    if head in ("cpm", "recycling"):
        size = {"cpm": 3, "recycling": 1}[head]
        found["weight"] = np.zeros((channels, channels, size, size))
        found["weight"][range(channels), range(channels), size // 2, size // 2] = 1.0
    if head == "cpm":
        found["bias"] = np.zeros(channels)
    return {name: model.arrays.get(f"spiking/heads/{head}/{name}", array) for name, array in found.items()}


def read_output(head, arrays, neurons, spikes, v, timesteps):
    """What the head makes of the output layer (N, C, H, W), in units of its scale; none for a head not known here."""
    count, left, k = spikes.sum(axis=0), v - neurons.initial[:, None, None], neurons.exponent[:, None, None]
    if head == "membrane":
        return np.ldexp(left, -k) / timesteps
    if head == "rate":
        return count / timesteps
    if head not in ("cpm", "recycling"):
        return None
    weight = arrays["weight"]
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    grid = np.where(largest > 0, 15 - np.frexp(largest)[1], 0)[:, None, None]
    read = np.ldexp(convolve(count, np.rint(np.ldexp(weight, grid[..., None]))), -grid) / timesteps
    if "bias" in arrays:
        read = read + arrays["bias"][:, None, None]
    return read + left / (timesteps * neurons.theta[:, None, None])


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


def check(certificate, model, image):
    """Compare everything. Returns what could not be compared, in words, or the empty string."""
    source, parameters = certificate["input"], certificate["parameters"]
    with open(image, "rb") as file:
        claim("input, file_sha256", source["file_sha256"], hashlib.sha256(file.read()).hexdigest())
    claim("model, digest", certificate["model"]["digest"], model.digest)
    claim("model, name", certificate["model"]["name"], model.info["name"])
    pixels, network = pixels_of(image), model.network
    plane, large = input_plane(pixels, network["channels"], source["scale"])
    claim("input, plane_sha256 (or this decoder reads other pixels)", source["plane_sha256"], sha256(plane))
    for key, found in zip(("planes", "channels", "height", "width"), plane.shape, strict=True):
        claim(f"input, {key}", source[key], found)
    if parameters["neuron_steps"] is None or parameters["neuron_planes"] != [1]:
        raise Unchecked(f"neuron {parameters['neuron']} has a kernel of its own, which only its code tells")
    timesteps, steps = parameters["timesteps"], parameters["timesteps"] + parameters["post_steps"]
    stages = list(model.stages())
    count, channels, height, width = plane.shape
    area, claimed = count * height * width, list(certificate["layers"])
    claim("number of layers", len(claimed), len(stages) - (not parameters["head_fires"]))
    spikes, totals, head_synops = {}, np.zeros(3, np.int64), (0, 0)
    for name, layer, sources in stages:
        neurons = Neurons(model, name, parameters)
        bias = model.integers(name, "bias")
        arriving = currents_of(model, name, layer, sources, plane, spikes, timesteps, steps)
        spikes[name], v = neurons.run(arriving, bias, timesteps)
        if name == OUTPUT and not parameters["head_fires"]:
            continue
        readers = [
            (other["kernel"], other["out_channels"]) if other["kind"] == "conv" else (1, 1)
            for _, other, reads in stages
            for read in reads
            if read == name
        ]
        biased = area * int(np.count_nonzero(bias))
        totals += check_layer(claimed.pop(0), name, spikes[name], readers, biased, timesteps)
    if parameters["head_fires"] and parameters["head_size"]:
        kernel, fired = parameters["head_size"], spikes[OUTPUT]
        head_synops = reached(fired, kernel, channels), int(fired.sum()) * kernel**2 * channels
    work = dict.fromkeys(("analog_macs", "analog_macs_paper", "ann_macs", "ann_macs_paper"), 0)
    for conv in model.convs:
        dense = conv["in_channels"] * conv["out_channels"]
        exact = count * dense * int(fan(conv["kernel"], height).sum()) * int(fan(conv["kernel"], width).sum())
        for key in ("ann", *(["analog"] if conv["source"] == "image" else [])):
            work[f"{key}_macs"] += exact
            work[f"{key}_macs_paper"] += area * dense * conv["kernel"] ** 2
    added = 0 if parameters["head_fires"] else area * timesteps * int(np.count_nonzero(bias))
    work["output_additions"] = added + (area * channels if network["mode"] != "image" else 0)
    work["head_synops"], work["head_synops_paper"] = head_synops
    work["head_macs"] = area * channels if parameters["head_fires"] and parameters["head_size"] else 0
    for key, found in work.items():
        claim(f"work, {key}", certificate["work"][key], found)
    for key, found in zip(("spikes", "synops", "synops_paper"), np.add(totals, (0, *head_synops)), strict=True):
        claim(f"totals, {key}", certificate["totals"][key], int(found))
    head = parameters["head"]
    arrays = head_arrays(model, head, channels)
    output = read_output(head, arrays, neurons, spikes[OUTPUT], v, timesteps)
    if output is None:
        return f"; the output's pixels were not checked: head {head} is not known to this script"
    digests = {name: sha256(array) for name, array in arrays.items()}
    claim("parameters, head_parameters", parameters["head_parameters"], dict(sorted(digests.items())))
    output = output * model.arrays[f"spiking/scales/{OUTPUT}"][:, None, None]
    result = restored(network["mode"], plane, output, large, pixels)
    found = {"dtype": result.dtype.name, "shape": list(result.shape), "sha256": sha256(result)}
    for key, value in found.items():
        claim(f"output, {key}", certificate["output"][key], value)
    return ""


def main(arguments):
    """The exit code."""
    if len(arguments) != 3:
        print(__doc__)
        return 2
    try:
        with open(arguments[0], encoding="utf-8") as file:
            certificate = json.load(file)
        if (certificate.get("format"), certificate.get("version")) != ("nspike certificate", 2):
            raise Unchecked(f"it is of version {certificate.get('version')!r}; this script reads version 2")
        note = check(certificate, ModelFile(arguments[1]), arguments[2])
    except Refuted as difference:
        print(f"REFUTED: {difference}")
        return 1
    except Unchecked as reason:
        print(f"NOT CHECKED: {reason}")
        return 2
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OSError) as error:
        print(f"NOT CHECKED: a file is damaged or of another kind: {error!r}")
        return 2
    layers, steps = len(certificate["layers"]), len(certificate["layers"][0]["steps"])
    print(f"HOLDS: {layers} layers, {steps} steps, every spike the same{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
