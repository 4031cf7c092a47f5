"""A simulator written from docs/reference/files.md and certificate.md alone: loops over integers, nothing of nspike.

`simulate(model file, pixels)` gives, for the model's own neuron, head and T, the model's digest, and by stage the spike counts
and digests of every step, and the result's pixels.
"""

import hashlib
import json
import math

import h5py
import numpy as np


def contents(path):
    """Attributes as text or numbers, and arrays by path."""
    arrays = {}
    with h5py.File(path) as file:
        attributes = {name: v.decode() if isinstance(v, bytes) else v for name, v in file.attrs.items()}
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return attributes, arrays


def header_holds(path):
    """The header's checksum."""
    with open(path, "rb") as file:
        data = file.read()
    first, second = data[:512].rstrip(b"\0").decode().splitlines()
    body = hashlib.sha256(data[512:]).hexdigest()
    return first == "nspike model file, format 2, needs nspike 0.1.0 or later" and second == f"sha256 {body}"


def digest(attributes, arrays, integers):
    """`integers_digest` if `integers`, else `digest`."""
    sha = hashlib.sha256()
    for name in () if integers else [n for n in ("info", "network", "spiking") if n in attributes]:
        values = json.loads(attributes[name])
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        sha.update(b"@" + name.encode() + b"\0utf-8\0" + str(len(text)).encode() + b"\0" + text)
    for name in sorted(n for n in arrays if n.startswith("integers/") == integers):
        array = arrays[name].astype(arrays[name].dtype.newbyteorder("<"))
        sizes = ",".join(str(n) for n in array.shape)
        sha.update(
            name.encode() + b"\0" + array.dtype.str.encode() + b"\0" + sizes.encode() + b"\0" + array.tobytes("C")
        )
    return sha.hexdigest()


def correlate(values, kernel):
    """Σ kernel·values at every position, zeros outside: integers (I, H, W) and (O, I, side, side)."""
    outputs, _, side, _ = kernel.shape
    _, height, width = values.shape
    total = np.zeros((outputs, height, width), np.int64)
    for y in range(height):
        for x in range(width):
            for dy in range(side):
                for dx in range(side):
                    sy, sx = y + dy - side // 2, x + dx - side // 2
                    if 0 <= sy < height and 0 <= sx < width:
                        total[:, y, x] += (kernel[:, :, dy, dx] * values[:, sy, sx]).sum(axis=1)
    return total


def digest_of(planes):
    """Of one stage and step: bool (C, H, W) of every image plane."""
    leaves = b""
    for spikes in planes:
        _, height, width = spikes.shape
        for y in range(0, height, 64):
            for x in range(0, width, 64):
                flat = spikes[:, y : y + 64, x : x + 64].reshape(-1).tolist()
                packed = bytearray((len(flat) + 7) // 8)
                for i, s in enumerate(flat):
                    packed[i // 8] |= int(s) << (i % 8)
                leaves += hashlib.sha256(bytes(packed)).digest()
    return hashlib.sha256(leaves).hexdigest()


class Simulator:
    """One model."""

    def __init__(self, path):
        self.attributes, self.arrays = contents(path)
        self.network, self.spiking = (json.loads(self.attributes[name]) for name in ("network", "spiking"))
        self.layers = {layer["name"]: layer for layer in self.network["layers"]}
        self.timesteps = self.spiking["timesteps"]

    def integers(self, stage, name):
        """By channel, as int64."""
        return self.arrays[f"integers/{stage}/{name}"].astype(np.int64)

    def read(self, source):
        """The activations behind a source, in the order of their channels."""
        layer = self.layers[source]
        return [source] if layer["kind"] == "activation" else [a for s in layer["sources"] for a in self.read(s)]

    def stages(self):
        """(name, convolution or gate) in order."""
        for layer in self.network["layers"]:
            if layer["kind"] in ("conv", "gate"):
                names = [a["name"] for a in self.layers.values() if a["kind"] == "activation"]
                driven = [name for name in names if self.layers[name]["source"] == layer["name"]]
                yield ("output" if layer["name"] == self.network["output"] else driven[0]), layer

    def current(self, stage, layer, image, spikes, step):
        """I(t), int64 (C, H, W); step from 0."""
        late = step >= self.timesteps
        if layer["kind"] == "gate":
            k, gate = self.integers(stage, "exponent").tolist(), self.arrays[f"integers/{stage}/gate"].tolist()
            fired, out = spikes[layer["source"]][step], np.zeros(image.shape, np.int64)
            for c, y, x in np.ndindex(image.shape):
                weight = round((image[c, y, x].item() / 65535.0 - 1.0) * gate[c] * 2.0 ** k[c])
                out[c, y, x] = weight if fired[c, y, x] else 0
            return out
        kernels = self.integers(stage, "weights")
        if layer["source"] == "image":
            if late:
                return np.zeros((len(kernels[0]), *image.shape[1:]), np.int64)
            exact = correlate(image, kernels[0])
            return np.array([round(n / 65535.0) for n in exact.reshape(-1).tolist()]).reshape(exact.shape)
        seen = np.concatenate([spikes[a][step] for a in self.read(layer["source"])]).astype(np.int64)
        return correlate(seen, kernels[-1] if late else kernels[0])

    def run(self, image):
        """Spikes by stage, bool (C, H, W) a step, and what the head reads times λ, of one image plane int64 (C, H, W)."""
        spikes = {}
        for stage, layer in self.stages():
            threshold, reset = self.integers(stage, "threshold"), self.integers(stage, "reset")
            bias, v0 = (self.integers(stage, name)[:, None, None] for name in ("bias", "v0"))
            v = np.zeros((len(bias), *image.shape[1:]), np.int64) + v0
            spikes[stage] = []
            path = f"integers/{stage}/"
            keep, factor = (int(self.arrays.get(path + name, [65536])[0]) for name in ("keep", "input_factor"))
            most = int(self.arrays.get(path + "most_spikes", [1])[0])
            gains = [int(g) for g in self.arrays.get(path + "planes", [1])]
            for t in range(len(threshold)):
                arriving = self.current(stage, layer, image, spikes, t) + (bias if t < self.timesteps else 0)
                u = (v * keep + 32768) // 65536 + (arriving * factor + 32768) // 65536
                fired = np.zeros((len(gains), *u.shape), bool)
                for c, y, x in np.ndindex(u.shape):
                    size, n = abs(int(u[c, y, x])), 0
                    same = [g for g in gains if (g > 0) == (u[c, y, x] > 0)]
                    while n < min(most, sum(map(abs, same))) and size >= threshold[t][c] + n * reset[t][c]:
                        n += 1
                    for plane, gain in enumerate(gains):
                        fired[plane, c, y, x] = gain in same and n & abs(gain)
                    u[c, y, x] -= n * reset[t][c] * (1 if u[c, y, x] > 0 else -1)
                    if n and path + "reset_to_zero" in self.arrays:
                        u[c, y, x] = 0
                v = u
                spikes[stage].append(fired.reshape(-1, *u.shape[1:]))
        return spikes, self.head(sum(s.astype(np.int64) for s in spikes["output"]), v - v0)

    def head(self, n, left):
        """float64 (C, H, W)."""
        head, steps, out = self.spiking["head"], float(self.timesteps), np.zeros(n.shape)
        k, theta = self.integers("output", "exponent").tolist(), self.integers("output", "theta").tolist()
        if head in ("cpm", "recycling"):
            side = {"cpm": 3, "recycling": 1}[head]
            usual = np.zeros((len(n), len(n), side, side))
            for c in range(len(n)):
                usual[c, c, side // 2, side // 2] = 1.0
            weight = self.arrays.get(f"spiking/heads/{head}/weight", usual)
            bias = self.arrays.get(f"spiking/heads/{head}/bias", np.zeros(len(n)))
            largest = [max(abs(w) for w in channel.reshape(-1).tolist()) for channel in weight]
            e = [15 - math.frexp(m)[1] if m else 0 for m in largest]
            kernel = np.array(
                [[round(w * 2.0**q) for w in c.reshape(-1).tolist()] for c, q in zip(weight, e, strict=True)]
            )
            mapped = correlate(n, kernel.reshape(weight.shape))
        for c, y, x in np.ndindex(n.shape):
            rest, count = float(left[c, y, x]), float(n[c, y, x])
            if head == "membrane":
                value = rest * 2.0 ** -k[c] / steps
            elif head == "rate":
                value = count / steps
            else:
                value = float(mapped[c, y, x]) * 2.0 ** -e[c] / steps
                value = value + (float(bias[c]) if head == "cpm" else 0.0)
                value = value + rest / (steps * theta[c])
            out[c, y, x] = value * float(self.arrays["spiking/scales/output"][c])
        return out


def simulate(path, pixels):
    """Pixels uint8 or uint16, (H, W) or (H, W, 3), of a network that keeps the size."""
    model = Simulator(path)
    assert header_holds(path)
    assert model.attributes["integers_digest"] == digest(model.attributes, model.arrays, True)
    white, network = {"uint8": 255, "uint16": 65535}[pixels.dtype.name], model.network
    x = pixels.astype(np.int64) * (257 if white == 255 else 1)
    x = x.transpose(2, 0, 1) if x.ndim == 3 else x[None]
    grey = network["channels"] == 1
    planes = [channel[None] for channel in x] if grey else [np.concatenate([x] * (3 // len(x)))]
    runs = [model.run(plane) for plane in planes]
    stages = {}
    for stage in runs[0][0]:
        steps = list(zip(*(spikes[stage] for spikes, _ in runs), strict=True))
        stages[stage] = [(sum(int(s.sum()) for s in step), digest_of(step)) for step in steps]
    channels = []
    for plane, (_, y) in zip(planes, runs, strict=True):
        whole = plane / 65535.0
        value = {"image": y, "subtract": whole - y, "add": whole + y}[network["mode"]]
        channels.extend(np.minimum(np.maximum(value, 0.0), 1.0))
    if pixels.ndim == 2 and len(channels) == 3:
        channels = [(channels[0] + channels[1] + channels[2]) / 3]
    result = np.array([[[round(v * white) for v in row] for row in channel] for channel in channels], pixels.dtype)
    result = result.transpose(1, 2, 0) if pixels.ndim == 3 else result[0]
    return digest(model.attributes, model.arrays, False), stages, result
