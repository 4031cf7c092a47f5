"""What a network learns to undo, made on the fly: each kind is a function of a clean crop and of what is drawn for it.

    noise     J + N(0, σ)                                                    nspike.degradations.noise
    jpeg      the same, compressed as a JPEG; of a share of the crops        nspike.degradations.compression
    haze      J·t + A·(1 - t), t = exp(-β·depth); the scene's own depth, or a smooth random one      nspike.degradations.haze
    bicubic   shrunk by a scale and enlarged again; the scales take turns    nspike.images.resize
    rain      streaks that are added                                         nspike.degradations.rain
    motion    J ∗ line, shake  J ∗ a camera's random path, defocus  J ∗ disc  nspike.degradations.blur
    kernels   J ∗ a kernel from files, turned and mirrored at random         nspike.degradations.kernels
    mixed     of several degradations one, drawn for each crop
    pairs     the degraded image that lies beside the clean one

A number may be given as a range [low, high], from which every crop draws. Angles are in degrees, lengths in pixels.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.tasks import KIND_OF, Task
from nspike.degradations.blur import convolve, defocus_kernel, motion_kernel, shake_kernel
from nspike.degradations.compression import MARGIN, compress
from nspike.degradations.haze import add_haze, random_depth
from nspike.degradations.kernels import digest_of, read_kernels
from nspike.degradations.layouts import EXPECTED
from nspike.degradations.noise import add_gaussian
from nspike.degradations.rain import add_rain
from nspike.degradations.sources import Scene
from nspike.errors import BadInputError, UsageError, nearest
from nspike.images.resize import imresize
from nspike.model.model import Info
from nspike.runtime.caller import either

Plane: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """A kind of degradation: the task that it is, its numbers with their defaults (None: must be given)."""

    task: Task | None
    numbers: Mapping[str, Any]


KINDS: dict[str, Kind] = {
    "noise": Kind("denoise", {"sigma": None}),
    "jpeg": Kind("denoise", {"sigma": None, "quality": [70, 98], "share": 0.5}),
    "haze": Kind("dehaze", {"beta": [0.4, 1.6], "airlight": [0.7, 1.0]}),
    "bicubic": Kind("superres", {"scales": None}),
    "rain": Kind(
        "derain",
        {"density": [0.002, 0.02], "length": [9.0, 25.0], "angle": [60.0, 120.0], "strength": [0.3, 0.9]},
    ),
    "motion": Kind("deblur", {"length": [5.0, 21.0], "angle": [0.0, 180.0]}),
    "shake": Kind("deblur", {"length": [5.0, 31.0], "bend": [0.0, 180.0]}),
    "kernels": Kind("deblur", {"folder": None}),
    "defocus": Kind("defocus", {"radius": [1.0, 4.0]}),
    "mixed": Kind(None, {"of": None}),
    "pairs": Kind(None, {}),
}

NOISY = ("noise", "jpeg")
"""Kinds that add Gaussian noise, of the level that `noise_level` says."""

_TEXTS = ("folder",)
"""What is a path, not a number."""


@dataclass(frozen=True)
class Degradation:
    """A kind of degradation and its numbers; `parts` are those of `mixed`.

    Raises UsageError for an unknown kind or number, or one that is missing. Kernels are read when they are used: `margin`,
    `content` and `degrade` raise BadInputError where they cannot be read.
    """

    kind: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    parts: "tuple[Degradation, ...]" = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(
                f"there is no degradation {self.kind!r}.{nearest(self.kind, KINDS)} Known: {', '.join(KINDS)}"
            )
        known = KINDS[self.kind].numbers
        for name in self.numbers:
            if name not in known:
                raise UsageError(
                    f"the degradation {self.kind} has no number {name!r}.{nearest(name, known)} "
                    f"It has: {', '.join(known) or 'none'}"
                )
        values = {name: self.numbers.get(name, default) for name, default in known.items()}
        for name, value in values.items():
            if value is None:
                raise UsageError(f"the degradation {self.kind} needs {name}")
            if name in _TEXTS:
                if not isinstance(value, str):
                    raise UsageError(f"the degradation {self.kind}: {name} = {value!r}; expected a path")
            elif name != "of":
                _check(self.kind, name, value)
        object.__setattr__(self, "numbers", values)
        object.__setattr__(self, "parts", _parts(values["of"]) if self.kind == "mixed" else ())

    @property
    def task(self) -> Task | None:
        """The task that it is; None for pairs, and for a mixture of several tasks."""
        tasks = {part.task for part in self.parts} or {KINDS[self.kind].task}
        return tasks.pop() if len(tasks) == 1 else None

    @property
    def scales(self) -> list[int]:
        """The scales of `bicubic`, else [1]."""
        return [int(scale) for scale in self.numbers["scales"]] if self.kind == "bicubic" else [1]

    @property
    def margin(self) -> int:
        """How many pixels around a crop decide what it looks like."""
        if self.parts:
            return max(part.margin for part in self.parts)
        if self.kind == "kernels":
            return max(len(kernel) for kernel in read_kernels(self.numbers["folder"])) // 2
        if self.kind == "jpeg":
            return MARGIN
        reach = {"motion": "length", "shake": "length", "rain": "length", "defocus": "radius"}.get(self.kind)
        return math.ceil(max(_span(self.numbers[reach]))) if reach else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what a model file keeps, of a path the name alone.

        Noise of one σ and scales need no kind: they say what they are.
        """
        return {**({} if self.kind in ("noise", "bicubic") else {"kind": self.kind}), **self._plain()}

    @property
    def has_files(self) -> bool:
        """Whether it depends on files."""
        return self.kind == "kernels" or any(part.has_files for part in self.parts)

    @property
    def content(self) -> str:
        """A digest of the files that it depends on; empty where there are none."""
        if self.kind == "kernels":
            return digest_of(read_kernels(self.numbers["folder"]))
        return "".join(part.content for part in self.parts)

    def _plain(self) -> dict[str, Any]:
        if self.parts:
            return {"of": [{"kind": part.kind, **part._plain()} for part in self.parts]}
        if self.kind == "kernels":
            return {"folder": Path(self.numbers["folder"]).name}
        return dict(self.numbers)


def degradation_of(info: Info, *, training: bool = False) -> Degradation:
    """What a model was trained to undo; in `training`, what it is to learn to undo. Raises UsageError if it does not say."""
    given = dict(info.degradation)
    kind = given.pop("kind", KIND_OF[info.task])
    if kind in KINDS:
        given = {name: value for name, value in given.items() if name in KINDS[kind].numbers}
    if kind == "noise" and "sigma" not in given:
        how = _say("--sigma 25", {"kind": "noise", "sigma": 25}, training)
        raise UsageError(f"model {info.name} does not say for which noise it is; {how}")
    if kind == "bicubic" and not given.get("scales"):
        how = _say("--scale 2", {"kind": "bicubic", "scales": [2]}, training)
        raise UsageError(f"model {info.name} does not say by how much it enlarges; {how}")
    return Degradation(kind, given)


def _say(option: str, degradation: Mapping[str, Any], training: bool) -> str:
    """How to say what a model undoes: where it is trained, or where it was imported."""
    if training:
        return f"give what it is to learn: {either(option, f'degradation={dict(degradation)}')}, say"
    numbers = {name: value for name, value in degradation.items() if name != "kind"}
    return f"import it with {either(option, f'degradation={numbers}')}, say"


def check_scale(degradation: Degradation, scale: int) -> None:
    """Raise UsageError for a degradation that a network which enlarges by `scale` itself cannot learn to undo."""
    if scale > 1 and (degradation.kind != "bicubic" or degradation.scales != [scale]):
        raise UsageError(
            f"the network enlarges by {scale} itself: it learns from the degradation bicubic with scales = [{scale}]"
        )


def degrade(
    scene: Scene, degradation: Degradation, index: int, draw: np.random.Generator, *, scale: int = 1
) -> tuple[Plane, Plane]:
    """(degraded, clean) of a crop, float32 (C, H, W): crop `index` of all, which chooses among scales.

    scale : by how much the network enlarges; the degraded crop is smaller by that. Raises UsageError as `check_scale` does.
    """
    check_scale(degradation, scale)
    clean = np.asarray(scene.image, np.float64)
    if scale > 1:
        small = imresize(np.ascontiguousarray(_cut(clean, scale)), 1 / scale)
        return _network_order(small), _network_order(_cut(clean, scale))
    if scene.degraded is not None:
        return _network_order(scene.degraded), _network_order(clean)
    if degradation.kind == "bicubic":
        scales = degradation.scales
        return _enlarged(clean, scales[index % len(scales)])
    if degradation.parts:
        degradation = degradation.parts[int(draw.integers(len(degradation.parts)))]
    made = _MAKE[degradation.kind](clean, scene, degradation.numbers, draw)
    return _network_order(made), _network_order(clean)


def noise_level(degradation: Degradation, draw: np.random.Generator) -> float:
    """σ, of 255, of the noise that `degrade` adds to the crop for which `draw` is next: the first that it draws."""
    return _drawn(degradation.numbers["sigma"], draw)


def _noise(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    sigma = _drawn(numbers["sigma"], draw)
    return add_gaussian(clean, sigma, int(draw.integers(2**31)))


def _jpeg(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    noisy = _noise(clean, scene, numbers, draw)
    low, high = _span(numbers["quality"])
    compressed, quality, halved = (
        draw.random() < numbers["share"],
        draw.integers(int(low), int(high) + 1),
        draw.random(),
    )
    return compress(noisy, int(quality), halved=bool(halved < 0.5)) if compressed else noisy


def _haze(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    height, width = clean.shape[:2]
    depth = random_depth((height, width), draw) if scene.depth is None else scene.depth[..., 0]
    beta, airlight = _drawn(numbers["beta"], draw), _drawn(numbers["airlight"], draw)
    return add_haze(clean, np.asarray(depth, np.float64), beta=beta, airlight=airlight)


def _rain(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    values = {name: _drawn(value, draw) for name, value in numbers.items()}
    return add_rain(clean, draw, **{**values, "angle": math.radians(values["angle"])})


def _motion(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    length, angle = _drawn(numbers["length"], draw), _drawn(numbers["angle"], draw)
    return convolve(clean, motion_kernel(length, math.radians(angle)))


def _shake(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    length, bend = _drawn(numbers["length"], draw), _drawn(numbers["bend"], draw)
    return convolve(clean, shake_kernel(length, math.radians(bend), draw))


def _kernels(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    kernels = read_kernels(numbers["folder"])
    kernel, turn = kernels[int(draw.integers(len(kernels)))], int(draw.integers(8))
    return convolve(clean, np.rot90(kernel[:, ::-1] if turn >= 4 else kernel, turn % 4))


def _defocus(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    return convolve(clean, defocus_kernel(_drawn(numbers["radius"], draw)))


def _no_pair(clean: Floats, scene: Scene, numbers: Mapping[str, Any], draw: np.random.Generator) -> Floats:
    raise BadInputError(f"the degradation pairs needs folders with {EXPECTED}")


_MAKE: dict[str, Callable[[Floats, Scene, Mapping[str, Any], np.random.Generator], Floats]] = {
    "noise": _noise,
    "jpeg": _jpeg,
    "haze": _haze,
    "rain": _rain,
    "motion": _motion,
    "shake": _shake,
    "kernels": _kernels,
    "defocus": _defocus,
    "pairs": _no_pair,
}


def _enlarged(clean: Floats, scale: int) -> tuple[Plane, Plane]:
    """Shrunk by `scale` and enlarged again, cut to a multiple of it."""
    clean = _cut(clean, scale)
    small = imresize(np.ascontiguousarray(clean), 1 / scale)
    return _network_order(imresize(small, size=clean.shape[:2])), _network_order(clean)


def _cut(clean: Floats, scale: int) -> Floats:
    """The upper left of an image whose sides are multiples of `scale`."""
    height, width = (side - side % scale for side in clean.shape[:2])
    if not height or not width:
        raise BadInputError(f"a calibration image of {clean.shape[1]}x{clean.shape[0]} is too small for scale {scale}")
    return clean[:height, :width]


def _drawn(value: Any, draw: np.random.Generator) -> float:
    """A number, or one from a range."""
    low, high = _span(value)
    return low if low == high else float(draw.uniform(low, high))


def _span(value: Any) -> tuple[float, float]:
    low, high = value if isinstance(value, list | tuple) else (value, value)
    return float(low), float(high)


def _parts(value: Any) -> tuple[Degradation, ...]:
    """The degradations of a mixture."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(part, Mapping) for part in value):
        raise UsageError(
            f'the degradation mixed: of = {value!r}; expected a list, as [{{kind = "motion"}}, {{kind = "shake"}}]'
        )
    parts = []
    for each in value:
        numbers = dict(each)
        kind = numbers.pop("kind", None)
        if kind in ("mixed", "bicubic", "pairs") or not isinstance(kind, str):
            raise UsageError(
                f"the degradation mixed cannot hold {kind!r}; each part needs a kind that is made of one clean image"
            )
        parts.append(Degradation(kind, numbers))
    return tuple(parts)


def _check(kind: str, name: str, value: Any) -> None:
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) and n >= 0 for n in numbers)
    if name == "scales":
        if not plain or not numbers or not all(n == int(n) and n >= 2 for n in numbers):
            raise UsageError(f"the degradation {kind}: scales = {value!r}; expected whole numbers from 2, as [2, 3, 4]")
    elif name == "quality":
        if not plain or len(numbers) not in (1, 2) or not all(n == int(n) and 1 <= n <= 100 for n in numbers):
            raise UsageError(
                f"the degradation {kind}: quality = {value!r}; expected a whole number from 1 to 100 or a range [low, high]"
            )
        if numbers != sorted(numbers):
            raise UsageError(f"the degradation {kind}: quality = {value!r}; expected the lower number first")
    elif name == "share":
        if not plain or isinstance(value, list | tuple) or value > 1:
            raise UsageError(f"the degradation {kind}: share = {value!r}; expected a number from 0 to 1")
    elif not plain or not (len(numbers) == 1 or (len(numbers) == 2 and numbers[0] <= numbers[1])):
        raise UsageError(f"the degradation {kind}: {name} = {value!r}; expected a number or a range [low, high]")


def _network_order(crop: NDArray[Any]) -> Plane:
    return np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32)
