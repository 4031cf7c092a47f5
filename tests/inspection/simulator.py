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


def correlate(values, kernel, layer):
    """Σ kernel·values at every position, zeros outside: integers (I, H, W) and (O, I of a group, side, side)."""
    stride, dilation, groups = (layer.get(name, 1) for name in ("stride", "dilation", "groups"))
    span = dilation * (layer["kernel"] - 1)
    before = layer.get("padding", [span // 2])[0]
    (outputs, _, side, _), (_, height, width) = kernel.shape, values[0].shape
    total = np.zeros((outputs, height // stride, width // stride), np.int64)
    each = outputs // groups
    for group, (_, y, x), dy, dx in (
        (g, at, a, b)
        for g in range(groups)
        for at in np.ndindex(1, *total.shape[1:])
        for a in range(side)
        for b in range(side)
    ):
        sy, sx = y * stride - before + dy * dilation, x * stride - before + dx * dilation
        if 0 <= sy < height and 0 <= sx < width:
            own = slice(group * each, (group + 1) * each)
            seen = values[group][:, sy, sx]
            total[own, y, x] += (kernel[own, : len(seen), dy, dx] * seen).sum(axis=1)
    return total


def moved(layer, read):
    """What a layer that moves makes of arrays (C, H, W)."""
    kind, x, r = layer["kind"], read[0], layer.get("factor", 2)
    channels, height, width = x.shape
    if kind == "concat":
        return np.concatenate(read)
    if kind == "slice":
        return x[layer["first"] : layer["first"] + layer["channels"]]
    if kind == "channel_shuffle":
        groups = layer["groups"]
        out = np.zeros_like(x)
        for i in range(groups):
            for j in range(channels // groups):
                out[j * groups + i] = x[i * (channels // groups) + j]
        return out
    if kind == "nearest":
        out = np.zeros((channels, height * r, width * r), x.dtype)
        for c, y, z in np.ndindex(out.shape):
            out[c, y, z] = x[c, y // r, z // r]
        return out
    if kind == "pixel_shuffle":
        out = np.zeros((channels // r**2, height * r, width * r), x.dtype)
        for c, y, z in np.ndindex(out.shape):
            out[c, y, z] = x[c * r * r + (y % r) * r + z % r, y // r, z // r]
        return out
    assert kind == "pixel_unshuffle", kind
    out = np.zeros((channels * r**2, height // r, width // r), x.dtype)
    for c, y, z in np.ndindex(x.shape):
        out[c * r * r + (y % r) * r + z % r, y // r, z // r] = x[c, y, z]
    return out


def added(layer, read):
    """What a layer that sums makes of currents (C, H, W)."""
    x = read[0]
    channels, height, width = x.shape
    if layer["kind"] == "add":
        return sum(read)
    if layer["kind"] == "average_pool":
        size = layer["size"]
        out = np.zeros((channels, height // size, width // size), np.int64)
        for c, y, z in np.ndindex(x.shape):
            out[c, y // size, z // size] += x[c, y, z]
        return out
    assert layer["kind"] == "bilinear"
    out = np.zeros((channels, 2 * height, 2 * width), np.int64)
    for c, y, z in np.ndindex(out.shape):
        for near_y, wy in ((y // 2, 3), (y // 2 + (1 if y % 2 else -1), 1)):
            for near_z, wz in ((z // 2, 3), (z // 2 + (1 if z % 2 else -1), 1)):
                out[c, y, z] += wy * wz * x[c, min(max(near_y, 0), height - 1), min(max(near_z, 0), width - 1)]
    return out


def padded(x, multiple):
    """(C, H, W) continued by reflection, below and to the right."""
    for axis in (1, 2):
        n, rows = x.shape[axis], []
        for y in range(-(-n // multiple) * multiple):
            m = y % (2 * n - 2) if n > 1 else 0
            rows.append(m if m < n else 2 * n - 2 - m)
        x = np.take(x, rows, axis=axis)
    return x


def digest_of(planes, side):
    """Of one stage and step: bool (C, H, W) of every image plane."""
    leaves = b""
    for spikes in planes:
        _, height, width = spikes.shape
        for y in range(0, height, side):
            for x in range(0, width, side):
                flat = spikes[:, y : y + side, x : x + side].reshape(-1).tolist()
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
        activations = [layer for layer in self.network["layers"] if layer["kind"] == "activation"]
        self.stages = {layer["name"]: layer["source"] for layer in activations} | {"output": self.network["output"]}
        self.steps = len(self.integers("output", "threshold"))

    def integers(self, holder, name):
        """By channel, as int64."""
        return self.arrays[f"integers/{holder}/{name}"].astype(np.int64)

    def holder(self, layer):
        """Under which name the integers of a convolution or gate are: its own, or that of the stage that it is fused with."""
        if f"integers/{layer}/exponent" in self.arrays:
            return layer
        return next(stage for stage, current in self.stages.items() if current == layer)

    def driven(self, layer, image, read):
        """The current of a convolution or gate, int64 (C, H, W) a step; read : an image, or the spikes of a list of parts."""
        holder = self.holder(layer["name"])
        bias = self.integers(holder, "bias")[:, None, None]
        if layer["kind"] == "gate":
            k, gate = self.integers(holder, "exponent").tolist(), self.arrays[f"integers/{holder}/gate"].tolist()
            weight = np.zeros(image.shape, np.int64)
            for c, y, x in np.ndindex(image.shape):
                weight[c, y, x] = round((image[c, y, x].item() / 65535.0 - 1.0) * gate[c] * 2.0 ** k[c])
            currents = [np.where(fired, weight, 0) for fired in self.joined(read)]
        else:
            kernels, groups = self.integers(holder, "weights"), layer.get("groups", 1)
            each = layer["in_channels"] // groups
            if isinstance(read, np.ndarray):
                exact = correlate([read[g * each : (g + 1) * each] for g in range(groups)], kernels[0], layer)
                current = np.array([round(n / 65535.0) for n in exact.reshape(-1).tolist()]).reshape(exact.shape)
                currents = [current * (t < self.timesteps) for t in range(self.steps)]
            else:
                channel, first = [], 0
                for planes, spikes in read:
                    count = len(spikes[0]) // planes
                    channel += [first + c for _ in range(planes) for c in range(count)]
                    first += count
                own = [[i for i, c in enumerate(channel) if c // each == g] for g in range(groups)]
                currents = []
                for t, fired in enumerate(self.joined(read)):
                    seen = [fired[places].astype(np.int64) for places in own]
                    currents.append(correlate(seen, kernels[-1 if t >= self.timesteps else 0], layer))
        return [current + bias * (t < self.timesteps) for t, current in enumerate(currents)]

    def joined(self, parts):
        """The spikes of several parts one after the other, a step."""
        return [np.concatenate(step) for step in zip(*(spikes for _, spikes in parts), strict=True)]

    def fire(self, stage, currents):
        """Planes, spikes bool (planes·C, H, W) a step, and v - v0 at the end."""
        threshold, reset = self.integers(stage, "threshold"), self.integers(stage, "reset")
        v0 = self.integers(stage, "v0")[:, None, None]
        path, v, spikes = f"integers/{stage}/", np.zeros_like(currents[0]) + v0, []
        keep, factor = (int(self.arrays.get(path + name, [65536])[0]) for name in ("keep", "input_factor"))
        most = int(self.arrays.get(path + "most_spikes", [1])[0])
        gains = [int(g) for g in self.arrays.get(path + "planes", [1])]
        for t, arriving in enumerate(currents):
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
            spikes.append(fired.reshape(-1, *u.shape[1:]))
        return len(gains), spikes, v - v0

    def made(self, layer, read):
        """What a layer makes that moves or sums: of an image, of lists of parts of spikes, or of currents a step."""
        make = added if layer["kind"] in ("add", "average_pool", "bilinear") else moved
        if isinstance(read[0], np.ndarray):
            return make(layer, read)
        if isinstance(read[0][0], tuple):
            parts = [part for source in read for part in source]
            if layer["kind"] == "concat":
                return parts
            planes, steps = parts[0][0], range(self.steps)
            cut = [[np.split(spikes[t], planes) for _, spikes in parts] for t in steps]
            whole = [[np.concatenate([part[plane] for part in cut[t]]) for plane in range(planes)] for t in steps]
            return [(planes, [np.concatenate([make(layer, [x]) for x in step]) for step in whole])]
        for i, currents in enumerate(read):
            path = f"integers/{layer['name']}/shift_{i}"
            if path in self.arrays:
                read[i] = [current << self.arrays[path][:, None, None] for current in currents]
        return [make(layer, list(step)) for step in zip(*read, strict=True)]

    def run(self, image):
        """Spikes by stage, bool (C, H, W) a step, and what the head reads times λ, of one image plane int64 (C, H, W)."""
        tensors, spikes = {"image": image}, {}
        for name, layer in self.layers.items():
            read = [tensors[source] for source in layer.get("sources", [layer.get("source")])]
            if layer["kind"] == "activation":
                planes, spikes[name], _ = self.fire(name, read[0])
                tensors[name] = [(planes, spikes[name])]
            elif layer["kind"] in ("conv", "gate"):
                tensors[name] = self.driven(layer, image, read[0])
            elif layer["kind"] == "constant":
                values = np.array([round(v * 65535) for v in layer["values"]])[:, None, None]
                tensors[name] = values * np.ones((1, *read[0].shape[1:]), np.int64)
            else:
                tensors[name] = self.made(layer, read)
        _, spikes["output"], left = self.fire("output", tensors[self.network["output"]])
        return spikes, self.head(sum(s.astype(np.int64) for s in spikes["output"]), left)

    def head(self, n, left):
        """float64 (C, H, W)."""
        head, steps, out = self.spiking["head"], float(self.timesteps), np.zeros(n.shape)
        k, theta = self.integers("output", "exponent").tolist(), self.integers("output", "theta").tolist()
        if head in ("cpm", "mapper", "recycling"):
            side = {"cpm": 3, "mapper": 3, "recycling": 1}[head]
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
            mapped = correlate([n], kernel.reshape(weight.shape), {"kernel": side})
        for c, y, x in np.ndindex(n.shape):
            rest, count = float(left[c, y, x]), float(n[c, y, x])
            if head == "membrane":
                value = rest * 2.0 ** -k[c] / steps
            elif head == "rate":
                value = count / steps
            else:
                value = float(mapped[c, y, x]) * 2.0 ** -e[c] / steps
                value = value + (float(bias[c]) if head in ("cpm", "mapper") else 0.0)
                value = value + (rest / (steps * theta[c]) if head != "mapper" else 0.0)
            out[c, y, x] = value * float(self.arrays["spiking/scales/output"][c])
        return out


def simulate(path, pixels):
    """Pixels uint8 or uint16, (H, W) or (H, W, 3), of a network that takes the image itself."""
    model = Simulator(path)
    assert header_holds(path)
    assert model.attributes["integers_digest"] == digest(model.attributes, model.arrays, True)
    white, network = {"uint8": 255, "uint16": 65535}[pixels.dtype.name], model.network
    multiple = int(model.attributes["size_multiple"])
    x = pixels.astype(np.int64) * (257 if white == 255 else 1)
    x = x.transpose(2, 0, 1) if x.ndim == 3 else x[None]
    grey = network["channels"] == 1
    planes = [channel[None] for channel in x] if grey else [np.concatenate([x] * (3 // len(x)))]
    runs = [model.run(padded(plane, multiple)) for plane in planes]
    stages, height = {}, padded(planes[0], multiple).shape[1]
    for stage in runs[0][0]:
        steps = list(zip(*(spikes[stage] for spikes, _ in runs), strict=True))
        side = math.gcd(64, math.lcm(64, multiple) * steps[0][0].shape[1] // height)
        stages[stage] = [(sum(int(s.sum()) for s in step), digest_of(step, side)) for step in steps]
    channels = []
    for plane, (_, y) in zip(planes, runs, strict=True):
        scale, whole = y.shape[1] // height, plane / 65535.0
        y = y[:, : plane.shape[1] * scale, : plane.shape[2] * scale]
        value = y if network["mode"] == "image" else whole - y if network["mode"] == "subtract" else whole + y
        channels.extend(np.minimum(np.maximum(value, 0.0), 1.0))
    if pixels.ndim == 2 and len(channels) == 3:
        channels = [(channels[0] + channels[1] + channels[2]) / 3]
    result = np.array([[[round(v * white) for v in row] for row in channel] for channel in channels], pixels.dtype)
    result = result.transpose(1, 2, 0) if pixels.ndim == 3 else result[0]
    return digest(model.attributes, model.arrays, False), stages, result
