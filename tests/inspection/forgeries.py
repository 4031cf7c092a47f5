"""Certificates, model files and images that are not what they say: one table for every checker.

A row is (what, base, change, verdict). `change` is given the files of a true case as a `Case` and edits them: the certificate
as values or as text, the model's file, the image. The verdict is "refuted", or "unchecked" where there is nothing that
could be run or believed.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

import nspike
from nspike.integer.rounding import as_arrays, build
from nspike.model import file as weights
from nspike.registry.parts import head_of, neuron_of
from tests.desk import write


@dataclass
class Case:
    """The text of a certificate, and the files that it is of, in a folder of their own."""

    text: bytes
    model: Path
    image: Path

    def values(self):
        return json.loads(self.text)

    def put(self, values):
        self.text = json.dumps(values).encode()


def value(*path, to):
    """Set one value; a function is given the old one."""

    def change(case):
        values = case.values()
        place = values
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to(place[path[-1]]) if callable(to) else to
        case.put(values)

    return change


def values(*changes):
    """Several changes one after the other."""

    def change(case):
        for each in changes:
            each(case)

    return change


def without(*path):
    def change(case):
        values = case.values()
        place = values
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        case.put(values)

    return change


def text(old, new):
    """Change the text itself, in one place."""

    def change(case):
        assert case.text.count(old) >= 1, old
        case.text = case.text.replace(old, new, 1)

    return change


def whole(new):
    """Another text."""

    def change(case):
        case.text = new(case.text)

    return change


def digit(text):
    return ("1" if text[0] == "0" else "0") + text[1:]


def more(n):
    return n + 1


# ----- the model's file, written anew with all its digests right -----


def integers_of(model):
    return as_arrays(build(model, neuron_of(model), head_of(model)))


def stored(layer, name, edit, new=False):
    """One array of the integers in the model's file, or a new one; the certificate stays honest."""

    def change(case):
        model = nspike.load(case.model)
        integers = {key: dict(arrays) for key, arrays in integers_of(model).items()}
        integers[layer][name] = edit(None if new else integers[layer][name].copy())
        weights.save(case.model, model, integers)

    return change


def last(step):
    """A copy with the last number moved."""

    def edit(array):
        array.ravel()[-1] += step
        return array

    return edit


def floats(edit):
    """Another model under the honest certificate, its integers its own."""

    def change(case):
        model = edit(nspike.load(case.model))
        weights.save(case.model, model, integers_of(model))

    return change


def parameter(name, change):
    def edit(model):
        return replace(model, parameters={**model.parameters, name: change(model.parameters[name].copy())})

    return edit


def spiking(part, key, change):
    def edit(model):
        arrays = getattr(model.spiking, part)
        return model.with_spiking(replace(model.spiking, **{part: {**arrays, key: change(arrays[key].copy())}}))

    return edit


def claiming(edit):
    """A changed model whose digest the certificate claims: what is left is what it does."""

    def change(case):
        floats(edit)(case)
        value("model", "digest", to=weights.read_info(case.model).digest)(case)

    return change


def bytes_of_model(edit):
    def change(case):
        case.model.write_bytes(edit(case.model.read_bytes()))

    return change


# ----- the image -----


def other_image(case):
    write(case.image, 20, 24, seed=9)


def longer_image(case):
    case.image.write_bytes(case.image.read_bytes() + b"\0")


def turned_image(case):
    """The same pixels under an EXIF orientation, the file's digest being claimed."""
    import hashlib

    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(case.image) as image:
        image.load()
    image.save(case.image, exif=exif)
    value("input", "file_sha256", to=hashlib.sha256(case.image.read_bytes()).hexdigest())(case)


def beta(layer, to):
    return value("parameters", "neuron_parameters", layer, "beta", to=to)


STEPS = ("parameters", "neuron_steps")
OWN = ("parameters", "neuron_parameters")

FORGERIES = [
    # the input
    ("another image", "mprn", other_image, "refuted"),
    ("a byte more in the image's file", "mprn", longer_image, "refuted"),
    ("the image under an orientation", "mprn", turned_image, "refuted"),
    ("file_sha256", "mprn", value("input", "file_sha256", to=digit), "refuted"),
    ("file_sha256 in upper case", "mprn", value("input", "file_sha256", to=str.upper), "refuted"),
    ("plane_sha256", "mprn", value("input", "plane_sha256", to=digit), "refuted"),
    ("planes", "mprn", value("input", "planes", to=3), "refuted"),
    ("planes true", "mprn", value("input", "planes", to=True), "refuted"),
    ("planes 1.0", "mprn", value("input", "planes", to=1.0), "refuted"),
    ("channels", "mprn", value("input", "channels", to=3), "refuted"),
    ("height", "mprn", value("input", "height", to=more), "refuted"),
    ("width as text", "mprn", value("input", "width", to=str), "refuted"),
    ("scale 1 where the size is kept", "mprn", value("input", "scale", to=1), "refuted"),
    ("scale 2 where the size is kept", "mprn", value("input", "scale", to=2), "refuted"),
    ("scale true where the size is kept", "mprn", value("input", "scale", to=True), "refuted"),
    ("scale 0 where the size is kept", "mprn", value("input", "scale", to=0), "refuted"),
    ("another scale", "superres", value("input", "scale", to=3), "refuted"),
    ("scale 1", "superres", value("input", "scale", to=1), "refuted"),
    ("scale null", "superres", value("input", "scale", to=None), "refuted"),
    ("scale 2.0", "superres", value("input", "scale", to=2.0), "refuted"),
    ("scale 10^9", "superres", value("input", "scale", to=10**9), "refuted"),
    ("an unknown key of the input", "mprn", value("input", to=lambda i: i | {"path": "a.png"}), "refuted"),
    ("no input", "mprn", without("input"), "unchecked"),
    ("input a list", "mprn", value("input", to=[]), "unchecked"),
    # the model
    ("the model's name", "mprn", value("model", "name", to="other"), "refuted"),
    ("the model's digest", "mprn", value("model", "digest", to=digit), "refuted"),
    ("no model", "mprn", without("model"), "unchecked"),
    ("a weight", "mprn", floats(parameter("conv2.weight", last(0.5))), "refuted"),
    ("a weight, claimed", "mprn", claiming(parameter("conv2.weight", last(2.5))), "refuted"),
    ("a bias, claimed", "mprn", claiming(parameter("conv1.bias", last(0.5))), "refuted"),
    ("a threshold, claimed", "mprn", claiming(spiking("thresholds", "relu1", last(0.25))), "refuted"),
    ("a scale, claimed", "mprn", claiming(spiking("scales", "relu1", last(0.25))), "refuted"),
    *[
        (f"stored {layer} {name}", "mprn", stored(layer, name, last(-1)), "unchecked")
        for layer, name in (
            ("relu1", "exponent"),
            ("relu1", "weights"),
            ("relu2", "weights"),
            ("relu2", "bias"),
            ("relu2", "theta"),
            ("relu1", "v0"),
            ("relu2", "threshold"),
            ("relu1", "reset"),
            ("output", "weights"),
            ("output", "threshold"),
        )
    ],
    ("stored biases as int64", "mprn", stored("relu1", "bias", lambda a: a.astype(np.int64)), "unchecked"),
    ("a byte of the model's file", "mprn", bytes_of_model(lambda d: d[:-9] + bytes([d[-9] ^ 1]) + d[-8:]), "unchecked"),
    ("a model's file cut short", "mprn", bytes_of_model(lambda d: d[:-100]), "unchecked"),
    ("a model's file without its header", "mprn", bytes_of_model(lambda d: d[512:]), "unchecked"),
    ("a model's file of another format", "mprn", bytes_of_model(lambda d: d.replace(b"t 2", b"t 3", 1)), "unchecked"),
    ("an empty model's file", "mprn", bytes_of_model(lambda d: b""), "unchecked"),
    # the neuron
    ("another neuron of as many steps", "mprn", value("parameters", "neuron", to="mprn_beta"), "unchecked"),
    ("another neuron", "mprn", value("parameters", "neuron", to="if"), "unchecked"),
    ("another neuron with its parameters", "mprn", values(
        value("parameters", "neuron", to="if"),
        without(*OWN, "relu1", "beta"),
        without(*OWN, "relu2", "beta"),
    ), "refuted"),
    ("if as mprn without release", "if", values(
        value("parameters", "neuron", to="mprn"),
        value(*OWN, "relu1", to={"beta": 30.0, "v_init": 0.0}),
        value(*OWN, "relu2", to={"beta": 30.0, "v_init": 0.0}),
    ), "refuted"),
    ("lif as if", "lif", values(
        value("parameters", "neuron", to="if"),
        *(without(*OWN, layer, name) for layer in ("relu1", "relu2") for name in ("tau", "decay_input")),
        *(without(*STEPS, layer, name) for layer in ("relu1", "relu2") for name in ("keep", "input_factor")),
    ), "refuted"),
    ("lif with another tau", "lif", value(*OWN, "relu1", "tau", to=2.0), "refuted"),
    ("lif with steps", "lif", value(*STEPS, to={}), "refuted"),
    ("lif with another leak", "lif", value(*STEPS, "relu1", "keep", to=61441), "refuted"),
    ("lif without a leak", "lif", without(*STEPS, "relu2", "keep"), "refuted"),
    ("lif with a reset to zero", "lif", value(*STEPS, "relu1", "reset", to="zero"), "refuted"),
    ("lif as lif_hard", "lif", values(
        value("parameters", "neuron", to="lif_hard"),
        value(*STEPS, "relu1", "reset", to="zero"),
        value(*STEPS, "relu2", "reset", to="zero"),
    ), "refuted"),
    ("lif_hard as lif", "lif_hard", values(
        value("parameters", "neuron", to="lif"), without(*STEPS, "relu1", "reset"), without(*STEPS, "relu2", "reset")
    ), "refuted"),
    ("lif_hard with an input factor", "lif_hard", value(*OWN, "relu1", "decay_input", to=1.0), "refuted"),
    ("signed as if", "signed", values(
        value("parameters", "neuron", to="if"),
        value("parameters", "neuron_planes", to=[1]),
        without(*STEPS, "relu1", "most_spikes"),
        without(*STEPS, "relu2", "most_spikes"),
    ), "refuted"),
    ("signed planes the other way", "signed", value("parameters", "neuron_planes", to=[-1, 1]), "refuted"),
    ("signed events of one plane", "signed", value("layers", 0, "steps", 0, "events", to=lambda e: [sum(e)]), "refuted"),
    ("signed events in the other plane", "signed", value("layers", 0, "steps", 0, "events", to=lambda e: e[::-1]), "refuted"),
    ("more spikes at a step", "signed", value(*STEPS, "relu1", "most_spikes", to=2), "refuted"),
    ("fewer spikes at a step", "burst", value(*STEPS, "relu1", "most_spikes", to=4), "refuted"),
    ("another gamma", "burst", value(*OWN, "relu1", "gamma", to=4.0), "refuted"),
    ("a gamma between whole ones", "burst", value(*OWN, "relu1", "gamma", to=4.5), "unchecked"),
    ("digits as a burst", "few_spikes", without("parameters", "neuron_digits"), "refuted"),
    ("digits, but not so called", "few_spikes", value("parameters", "neuron_digits", to=False), "refuted"),
    ("a burst as digits", "burst", value("parameters", "neuron_digits", to=True), "refuted"),
    ("other slots", "few_spikes", value(*OWN, "relu1", "slots", to=3.0), "refuted"),
    ("slots between whole ones", "few_spikes", value(*OWN, "relu1", "slots", to=2.5), "unchecked"),
    ("digits that cost their gain", "few_spikes", value("layers", 0, "steps", 0, "synops", to=lambda n: n + 1), "refuted"),
    ("fires at its threshold", "dietsnn", without(*STEPS, "relu1", "strict"), "refuted"),
    ("strict, but not so called", "dietsnn", value(*STEPS, "relu1", "strict", to=False), "refuted"),
    ("another leak", "dietsnn", value(*OWN, "relu1", "keep", to=0.5), "refuted"),
    ("a neuron that is not there", "mprn", value("parameters", "neuron", to="mprm"), "unchecked"),
    ("a neuron that is not there, all else true", "if", value("parameters", "neuron", to="fi"), "unchecked"),
    ("no neuron", "mprn", value("parameters", "neuron", to=None), "unchecked"),
    ("a list for a neuron", "mprn", value("parameters", "neuron", to=["mprn"]), "unchecked"),
    ("neuron_planes", "mprn", value("parameters", "neuron_planes", to=[1, -1]), "refuted"),
    ("neuron_planes true", "mprn", value("parameters", "neuron_planes", to=[True]), "refuted"),
    ("β", "mprn", beta("relu1", 1.0), "refuted"),
    ("β a little", "mprn", beta("relu1", 1e-9), "refuted"),
    ("β out of range", "mprn", beta("relu2", 31.0), "unchecked"),
    ("β true", "mprn", beta("relu2", True), "unchecked"),
    ("β as text", "mprn", beta("relu2", "0.0"), "unchecked"),
    ("β 0 for 0.0", "mprn", beta("relu2", 0), "refuted"),
    ("β a huge integer", "mprn", beta("relu2", 10**400), "unchecked"),
    ("β NaN", "mprn", text(b'"beta": 0.0', b'"beta": NaN'), "unchecked"),
    ("β 1e400", "mprn", text(b'"beta": 0.0', b'"beta": 1e400'), "unchecked"),
    ("β -0.0", "mprn", text(b'"beta": 0.0', b'"beta": -0.0'), "unchecked"),
    ("β and what follows from it", "mprn", values(
        beta("relu1", 3.0), value(*STEPS, "relu1", "fires", to=lambda f: [*f[:-1], 0.976287063411])
    ), "refuted"),
    ("v_init", "mprn", value(*OWN, "relu1", "v_init", to=0.25), "refuted"),
    ("v_init and what follows from it", "mprn", values(
        value(*OWN, "relu1", "v_init", to=0.25), value(*STEPS, "relu1", "initial", to=0.25)
    ), "refuted"),
    ("a parameter too many", "mprn", value(*OWN, "relu1", to=lambda own: own | {"tau": 2.0}), "unchecked"),
    ("a parameter too few", "mprn", without(*OWN, "relu1", "v_init"), "unchecked"),
    ("a layer of parameters too many", "mprn", value(*OWN, to=lambda own: own | {"relu3": own["relu1"]}), "unchecked"),
    ("a layer of parameters too few", "mprn", without(*OWN, "relu1"), "unchecked"),
    ("no parameters of the neuron", "mprn", without(*OWN), "unchecked"),
    ("initial", "mprn", value(*STEPS, "relu1", "initial", to=0.25), "refuted"),
    ("no release", "mprn", value(*STEPS, "relu2", "fires", to=lambda f: [*f[:-1], None]), "refuted"),
    ("fires", "mprn", value(*STEPS, "relu2", "fires", to=lambda f: [*f[:-1], 0.5]), "refuted"),
    ("fires 1 for 1.0", "mprn", value(*STEPS, "relu2", "fires", to=lambda f: [1, *f[1:]]), "refuted"),
    ("fires one step more", "mprn", value(*STEPS, "relu2", "fires", to=lambda f: [*f, 1.0]), "refuted"),
    ("amplitudes", "mprn", value(*STEPS, "relu2", "amplitudes", to=lambda a: [*a[:-1], 0.5]), "refuted"),
    ("no steps of the neuron", "mprn", value(*STEPS, to=None), "refuted"),
    ("an unknown key of the steps", "mprn", value(*STEPS, "relu1", to=lambda s: s | {"more": 1}), "refuted"),
    # the head and the steps
    ("another head", "mprn", value("parameters", "head", to="recycling"), "refuted"),
    ("a head that does not fire", "mprn", value("parameters", "head", to="membrane"), "refuted"),
    ("a head that is not there", "mprn", value("parameters", "head", to="cmp"), "unchecked"),
    ("no head", "mprn", value("parameters", "head", to=3), "unchecked"),
    ("head_fires", "mprn", value("parameters", "head_fires", to=False), "refuted"),
    ("head_fires 1", "mprn", value("parameters", "head_fires", to=1), "refuted"),
    ("head_size 0", "mprn", value("parameters", "head_size", to=0), "refuted"),
    ("head_size 0 and its work", "mprn", values(
        value("parameters", "head_size", to=0),
        value("work", "head_synops", to=0),
        value("work", "head_synops_paper", to=0),
        value("work", "head_macs", to=0),
    ), "refuted"),
    ("head_size 1", "mprn", value("parameters", "head_size", to=1), "refuted"),
    ("head_size true", "mprn", value("parameters", "head_size", to=True), "refuted"),
    ("head_parameters", "mprn", value("parameters", "head_parameters", "weight", to=digit), "refuted"),
    ("head_parameters too few", "mprn", without("parameters", "head_parameters", "bias"), "refuted"),
    ("head_parameters too many", "mprn", value("parameters", "head_parameters", to=lambda h: h | {"x": "0"}), "refuted"),
    ("T one more", "mprn", value("parameters", "timesteps", to=more), "refuted"),
    ("T one less", "mprn", value("parameters", "timesteps", to=lambda t: t - 1), "refuted"),
    ("T 10^9", "mprn", value("parameters", "timesteps", to=10**9), "unchecked"),
    ("T 126", "mprn", value("parameters", "timesteps", to=126), "unchecked"),
    ("T 0", "mprn", value("parameters", "timesteps", to=0), "unchecked"),
    ("T true", "mprn", value("parameters", "timesteps", to=True), "unchecked"),
    ("T 4.0", "mprn", value("parameters", "timesteps", to=4.0), "unchecked"),
    ("post_steps 0", "mprn", value("parameters", "post_steps", to=0), "refuted"),
    ("post_steps true", "mprn", value("parameters", "post_steps", to=True), "refuted"),
    ("post_steps 10^9", "mprn", value("parameters", "post_steps", to=10**9), "refuted"),
    ("an unknown key of the parameters", "mprn", value("parameters", to=lambda p: p | {"tile": 64}), "refuted"),
    # the layers
    ("a layer less", "mprn", value("layers", to=lambda layers: layers[:-1]), "refuted"),
    ("no layers", "mprn", without("layers"), "refuted"),
    ("layers in another order", "mprn", value("layers", to=lambda layers: layers[::-1]), "refuted"),
    ("a number for a layer", "mprn", value("layers", 0, to=7), "refuted"),
    ("a layer's name", "mprn", value("layers", 0, "name", to="relu9"), "refuted"),
    ("a layer's shape", "mprn", value("layers", 0, "shape", to=lambda s: [s[0], s[2], s[1]]), "refuted"),
    ("a step less", "mprn", value("layers", 1, "steps", to=lambda s: s[:-1]), "refuted"),
    ("no steps", "mprn", without("layers", 1, "steps"), "refuted"),
    ("an unknown key of a layer", "mprn", value("layers", 1, to=lambda layer: layer | {"rate": 0.1}), "refuted"),
    ("an unknown key of a step", "mprn", value("layers", 1, "steps", 2, to=lambda s: s | {"rate": 0.1}), "refuted"),
    ("a text for a step", "mprn", value("layers", 1, "steps", 2, to="3"), "refuted"),
    *[
        (f"{key} {how}", "mprn", value("layers", 1, "steps", 2, key, to=to), "refuted")
        for key, how, to in (
            ("step", "another", more),
            ("step", "3.0", float),
            ("post", "true", True),
            ("post", "0 for false", 0),
            ("events", "one more", lambda e: [e[0] + 1]),
            ("events", "a number", lambda e: e[0]),
            ("events", "1.0 for 1", lambda e: [float(e[0])]),
            ("events", "of two planes", lambda e: [*e, 0]),
            ("synops", "more", more),
            ("synops", "with a decimal point", float),
            ("synops", "negative", lambda n: -n),
            ("synops_paper", "more", more),
            ("neuron_updates", "more", more),
            ("bias_additions", "none", 0),
            ("sha256", "a digit", digit),
            ("sha256", "in upper case", lambda t: t.upper()),
            ("sha256", "null", None),
        )
    ],
    ("bias additions after T", "mprn", value("layers", 1, "steps", 4, "bias_additions", to=1), "refuted"),
    ("the output's digest", "mprn", value("layers", 2, "steps", 3, "sha256", to=digit), "refuted"),
    # the work, the totals, the output
    *[(f"work {key}", "mprn", value("work", key, to=more), "refuted") for key in (
        "analog_macs", "analog_macs_paper", "output_additions", "head_synops", "head_synops_paper", "head_macs",
        "ann_macs", "ann_macs_paper",
    )],
    ("no work", "mprn", without("work"), "refuted"),
    ("an unknown key of the work", "mprn", value("work", to=lambda w: w | {"energy": 1}), "refuted"),
    *[(f"totals {key}", "mprn", value("totals", key, to=more), "refuted") for key in ("spikes", "synops", "synops_paper")],
    ("totals 1e300", "mprn", value("totals", "spikes", to=1e300), "refuted"),
    ("a missing total", "mprn", without("totals", "synops"), "refuted"),
    ("the output's pixels", "mprn", value("output", "sha256", to=digit), "refuted"),
    ("the output's dtype", "mprn", value("output", "dtype", to="uint16"), "refuted"),
    ("the output's shape", "mprn", value("output", "shape", to=lambda s: [*s, 3]), "refuted"),
    ("no output", "mprn", without("output"), "refuted"),
    ("an unknown key", "mprn", lambda case: case.put({**case.values(), "remark": "x"}), "refuted"),
    # the text
    ("another format", "mprn", value("format", to="other"), "unchecked"),
    ("version 1", "mprn", value("version", to=1), "unchecked"),
    ("version 2.0", "mprn", value("version", to=2.0), "unchecked"),
    ("version true", "mprn", value("version", to=True), "unchecked"),
    ("version as text", "mprn", value("version", to="2"), "unchecked"),
    ("a key that stands twice", "mprn", text(b'"height": 20', b'"height": 21, "height": 20'), "unchecked"),
    ("a part that stands twice", "mprn", text(b'"totals"', b'"totals": {}, "totals"'), "unchecked"),
    ("the format twice", "mprn", text(b'"version"', b'"format": "nspike certificate", "version"'), "unchecked"),
    ("-0 for 0", "mprn", text(b'"bias_additions": 0', b'"bias_additions": -0'), "unchecked"),
    ("-0 for false", "mprn", text(b'"post": false', b'"post": -0'), "unchecked"),
    ("Infinity", "mprn", text(b'"initial": 0.0', b'"initial": Infinity'), "unchecked"),
    ("nesting", "mprn", text(b'"layers": [', b'"more": ' + b"[" * 20 + b"]" * 20 + b', "layers": ['), "unchecked"),
    ("deep nesting", "mprn", text(b'"layers": [', b'"layers": ' + b"[" * 99_999 + b"]" * 99_999 + b', "x": ['), "unchecked"),
    ("brackets without end", "mprn", whole(lambda _: b"[" * 200_000), "unchecked"),
    ("a byte order mark", "mprn", whole(lambda t: b"\xef\xbb\xbf" + t), "unchecked"),
    ("UTF-16", "mprn", whole(lambda t: t.decode().encode("utf-16")), "unchecked"),
    ("text that is not UTF-8", "mprn", text(b"mprn", b"mp\xff\xfe"), "unchecked"),
    ("something after the end", "mprn", whole(lambda t: t + b"{}"), "unchecked"),
    ("a comma too many", "mprn", whole(lambda t: t.rstrip()[:-1] + b",}"), "unchecked"),
    ("cut short", "mprn", whole(lambda t: t[:-10]), "unchecked"),
    ("nothing", "mprn", whole(lambda _: b""), "unchecked"),
    ("a list", "mprn", whole(lambda _: b"[]"), "unchecked"),
]  # fmt: skip
