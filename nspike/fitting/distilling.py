"""Distillation: features of the network that learns beside those of a plain teacher on the same crops.

H-KD of SpikerIR compares decoder features, the student's averaged over T. Where shapes differ, the student's are brought to the
teacher's size, pooled by averages where they are larger, bilinear where they are smaller; and of the channels the more are
averaged to the fewer, in groups of neighbours. Or a 1×1 convolution, which trains and is not shipped, gives the teacher's
channels. The teacher is frozen and runs as its plain network does. One that is told the noise level gets that of each crop, or
where that is not known the root of the crop's mean squared error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.ann import run as ann
from nspike.ann.packed import Packed, pack
from nspike.autograd.convolve import conv2d
from nspike.autograd.spatial import adaptive_average, bilinear, mapped
from nspike.autograd.tensor import Array, Tensor
from nspike.errors import UsageError, nearest
from nspike.graph.folding import fold_batch_norm
from nspike.model.file import digest
from nspike.model.model import Model
from nspike.trainable.features import check_tap

Floats = NDArray[np.float32]

MATCHES = ("pool", "adapter")
KEYS = ("model", "taps", "match")


@dataclass(frozen=True)
class TeacherKeys:
    """The recipe's table `teacher`: the model, as a recipe names one; student layer -> teacher layer; how they are matched."""

    model: str | Model
    taps: dict[str, str]
    match: str = "pool"

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "TeacherKeys":
        """Raises UsageError for a key that is unknown or missing, or a value of another kind."""
        for key in table:
            if key not in KEYS:
                raise UsageError(f"the recipe's teacher has an unknown key {key!r}.{nearest(key, KEYS)}")
        model, taps, match = table.get("model"), table.get("taps"), table.get("match", "pool")
        if not isinstance(model, str | Model) or model == "":
            raise UsageError('the recipe\'s teacher has no model: give a name or a file, model = "drunet-color"')
        if not isinstance(taps, Mapping) or not taps or not all(isinstance(name, str) for name in taps.values()):
            raise UsageError(
                "the recipe's teacher has no taps: give pairs of layers, the student's = the teacher's, "
                'taps = { dec1 = "up1_block4" }'
            )
        if match not in MATCHES:
            raise UsageError(f"the recipe's teacher has match = {match!r}; expected {' or '.join(MATCHES)}")
        return cls(model, dict(taps), match)


class Distillation:
    """A teacher and how its features are compared with those of a student.

    Parameters
    ----------
    teacher : a model; its plain network is run. student : the model that learns.
    taps : student layer -> teacher layer. match : "pool" or "adapter". seed : of the adapters.
    patch : the side of the crops.

    Raises UsageError for layers that there are not, naming the nearest, and for a teacher that cannot run on the student's crops.
    """

    def __init__(
        self, teacher: Model, student: Model, taps: Mapping[str, str], *, match: str, seed: int, patch: int
    ) -> None:
        _check(teacher, student, taps, patch)
        self.taps, self.match, self.model = dict(taps), match, teacher
        self.network, self._parameters = fold_batch_norm(teacher.network, teacher.parameters)
        self._packed: Packed = pack(self.network, self._parameters)
        draw = np.random.default_rng([seed, 12])
        self._adapters: dict[str, Tensor] = {}
        if match == "adapter":
            for name, own in self.taps.items():
                shape = (self.network.widths[own], student.network.widths[name], 1, 1)
                values = draw.normal(0, shape[1] ** -0.5, shape).astype(np.float32)
                self._adapters[name] = Tensor(values, requires_grad=True)

    def parameters(self) -> dict[str, Tensor]:
        """What it trains beside the network: the adapters, `teacher.LAYER.weight`."""
        return {f"teacher.{name}.weight": tensor for name, tensor in self._adapters.items()}

    def settings(self) -> dict[str, Any]:
        """Plain values on which a run with it depends."""
        return {"teacher": digest(self.model), "taps": self.taps, "match": self.match}

    def features(self, degraded: Floats, clean: Floats, sigmas: Array | None = None) -> dict[str, Floats]:
        """The teacher's features of a batch, float32 (N, c, h, w), by the student's layers; sigmas : its noise levels, of 255."""
        images = []
        for n, image in enumerate(degraded):
            network = self.network
            if network.takes_noise_level:
                level = None if sigmas is None else float(sigmas[n])
                network = network.at_noise(_noise(image, clean[n]) if level is None else level)
            capture: dict[str, Any] = dict.fromkeys(self.taps.values())
            ann.run(network, self._parameters, image[None], capture=capture, packed=self._packed)
            images.append(capture)
        return {name: np.concatenate([each[own] for each in images]) for name, own in self.taps.items()}

    def compared(
        self, features: Mapping[str, Tensor], degraded: Floats, clean: Floats, sigmas: Array | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The student's features of a batch and the teacher's, matched to one shape, by the student's layers."""
        known = self.features(degraded, clean, sigmas)
        pairs = {name: self._matched(name, features[name], own) for name, own in known.items()}
        return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}

    def _matched(self, name: str, student: Tensor, teacher: Floats) -> tuple[Tensor, Tensor]:
        for axis in (2, 3):
            size, wanted = student.shape[axis], teacher.shape[axis]
            if size != wanted:
                matrix = adaptive_average(size, wanted) if size > wanted else bilinear(size, wanted)
                student = mapped(student, matrix=matrix, axis=axis)
        aim = Tensor(teacher)
        if name in self._adapters:
            return conv2d(student, self._adapters[name], None, padding=(0, 0)), aim
        few = min(student.shape[1], aim.shape[1])
        return _averaged(student, few), _averaged(aim, few)


def _noise(image: Floats, clean: Floats) -> float:
    """The root of the mean squared error, of 255."""
    return 255 * float(np.sqrt(np.mean(np.square(image - clean, dtype=np.float64))))


def _averaged(feature: Tensor, channels: int) -> Tensor:
    """Its channels averaged in groups of neighbours to so many."""
    count = feature.shape[1]
    return feature if count == channels else mapped(feature, matrix=adaptive_average(count, channels), axis=1)


def _check(teacher: Model, student: Model, taps: Mapping[str, str], patch: int) -> None:
    name, theirs, ours = teacher.info.name, teacher.network, student.network
    if teacher.info.trained == "spiking":
        raise UsageError(
            f"the teacher {name} was trained as a spiking network and has no plain one that was trained; give a plain network"
        )
    if theirs.channels != ours.channels:
        raise UsageError(
            f"the teacher {name} takes images of {theirs.channels} channels and the network that learns {ours.channels}; give "
            "a teacher of as many"
        )
    if patch % theirs.size_multiple:
        raise UsageError(
            f"the teacher {name} takes sides that are multiples of {theirs.size_multiple}, and crops have {patch}; change patch"
        )
    known = [layer.name for layer in theirs.layers]
    for own, other in taps.items():
        if student.spiking is not None:
            check_tap(ours, own)
        elif own not in (names := [layer.name for layer in ours.layers]):
            raise UsageError(f"network {ours.name} has no layer {own!r} to tap.{nearest(own, names)}")
        if other not in known:
            raise UsageError(f"the teacher {name} has no layer {other!r} to tap.{nearest(other, known)}")
        if theirs.scales[other] is None:
            raise UsageError(f"the teacher's layer {other!r} has one value for the whole image; tap another")
