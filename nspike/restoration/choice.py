"""Which model restores an image, when its user named only a task, or a noise level, or nothing.

Denoising without a noise level estimates it from the image (`nspike.restoration.noise`) and takes the shipped model that
was trained for the nearest one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from nspike.contracts.architecture import Task
from nspike.errors import UsageError
from nspike.images.jpeg_blocks import Blocks
from nspike.model import file as weights
from nspike.model import shipped as models
from nspike.model.model import Model, check_plain
from nspike.registry.parts import check, neuron_of, swap
from nspike.restoration.noise import Noise, noise_of
from nspike.restoration.opening import load_file
from nspike.restoration.way import trained_scales


@dataclass(frozen=True)
class Request:
    """What a user asked for; None where nothing was said.

    model : a shipped model's name, or a file; task; sigma : noise in units of 1/255; scale : of super-resolution;
    neuron, head, timesteps, parameters : what replaces the model's, as `nspike.swap` takes it; ann : run the plain ANN.
    steps : whether what comes of each of several steps is wanted.
    spare : leave an image alone whose noise, estimated, is below what the smallest model was trained for.
    """

    model: str | None = None
    task: Task | None = None
    sigma: float | None = None
    scale: int | None = None
    neuron: str | None = None
    head: str | None = None
    timesteps: int | None = None
    ann: bool = False
    spare: bool = False
    steps: bool = False
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Choice:
    """A model, ready to run.

    shipped : the model as it is in its file; name, digest : its own.
    noise : what was estimated, where the noise was not given.
    told : the noise level that the network is given, where it takes one.
    enough : the noise from which a model is worth running, where the one estimated is below it; else None.
    changes : what is not as shipped (see `nspike.registry.parts.swap`); sigma : the noise
    given or estimated; notes : what was decided without the user; warnings : what may be amiss.
    """

    model: Model
    shipped: Model
    name: str
    digest: str
    changes: tuple[str, ...]
    scale: int | None
    sigma: float | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    enough: float | None = None
    told: float | None = None
    noise: Noise | None = None


class Chooser:
    """Chooses the model for each image of a run, and loads each model once.

    Raises UsageError for options that exclude each other or are out of range.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self._at_noise: dict[tuple[int, float], Model] = {}
        self._loaded: dict[str, tuple[Model, Model, str, tuple[str, ...]]] = {}
        if request.sigma is not None and not (math.isfinite(request.sigma) and 0 < request.sigma <= 255):
            raise UsageError(f"sigma = {request.sigma:g} is out of range; expected above 0 and at most 255")
        if request.sigma is not None and request.scale is not None:
            raise UsageError("sigma is for denoising and scale for super-resolution; give one of them")
        if request.ann and (
            request.parameters or (request.neuron, request.head, request.timesteps) != (None, None, None)
        ):
            raise UsageError("the plain ANN has no neuron, head or T; leave them out, or leave out --ann")
        self.task: Task = request.task or self._task()
        if request.sigma is not None and self.task != "denoise":
            raise UsageError(f"sigma is for denoising; the task is {self.task}")
        if request.scale is not None and self.task != "superres":
            raise UsageError(f"scale is for super-resolution; the task is {self.task}")
        shipped = self._load(self._name(request.sigma))[
            0
        ]  # what is wrong with the request shows before the first image
        if not models.is_for(shipped.info, self.task):
            raise UsageError(f"model {shipped.info.name} is for {models.purpose(shipped.info)}, not for {self.task}")

    def choose(self, pixels: NDArray[Any], blocks: Blocks | None = None) -> Choice:
        """The model for an image, uint8 or uint16, (H, W) or (H, W, 3); `blocks` are those of its file, if that is a JPEG."""
        request, sigma, notes = self.request, self.request.sigma, []
        enough, noise = None, None
        if self.task == "denoise" and sigma is None:
            noise = noise_of(pixels, blocks)
            if noise is None:
                notes.append("the image is too small to estimate its noise")
            else:
                sigma = noise.sigma
                notes.append(f"noise estimated: {noise}")
        colour = pixels.ndim == 3
        of_image = {
            "colour": colour,
            "jpeg": blocks is not None,
            "in_channel": None if noise is None else noise.in_channel,
        }
        shipped, model, digest, changes = self._load(self._name(sigma, **of_image))
        if noise is not None and shipped.info.colour != "rgb":
            sigma = noise.in_channel
        if self.task == "denoise" and request.model is None and request.sigma is None and sigma is not None:
            notes[-1] += f", so model {shipped.info.name} was chosen"
            least = models.noise_levels(shipped.info)[:1]
            smallest = self._name(0.0, colour=colour, jpeg=blocks is not None)
            blind = 0.0 if shipped.network.takes_noise_level else models.WORTH[blocks is not None]
            worth = max(least[0] / models.NEAR, blind) if least else 0.0
            if request.spare and sigma < worth and shipped.info.name == self._load(smallest)[0].info.name:
                enough = worth
        if request.model is None and not request.ann and (made := _made_with(shipped, request)):
            notes.append(f"model {shipped.info.name} was made with {made}")
        told = sigma if shipped.network.takes_noise_level else None
        if told is not None:
            told = round(told, 1)
            shipped, model = self._told(shipped, told), self._told(model, told)
        scale = request.scale
        if self.task == "superres" and scale is None:
            scale = (trained_scales(shipped) or [2])[0]
            notes.append(f"scale {scale}, the model's smallest")
        return Choice(
            model=model,
            shipped=shipped,
            name=shipped.info.name,
            digest=digest,
            told=told,
            changes=changes,
            scale=scale,
            sigma=sigma,
            notes=tuple(notes),
            warnings=tuple(_warnings(shipped, sigma, scale, model)),
            enough=enough,
            noise=noise,
        )

    def _told(self, model: Model, sigma: float) -> Model:
        """The model at a noise level; the same object each time, as what is compiled for it is kept with it."""
        key = (id(model), sigma)
        if key not in self._at_noise:
            self._at_noise[key] = model.at_noise(sigma)
        return self._at_noise[key]

    def _task(self) -> Task:
        """The task, where it was not named."""
        if self.request.model is not None:
            return models.purpose(weights.read_info(models.find(self.request.model)).info)
        return "denoise" if self.request.scale is None else "superres"

    def _name(self, sigma: float | None, **of_image: Any) -> str:
        """The model to load for a noise level."""
        request = self.request
        return request.model or models.default_for(
            self.task,
            sigma=sigma,
            scale=request.scale,
            plain=request.ann,
            neuron=request.neuron,
            head=request.head,
            timesteps=request.timesteps,
            steps=request.steps or bool(request.parameters),
            **of_image,
        )

    def _load(self, name: str) -> tuple[Model, Model, str, tuple[str, ...]]:
        """The model as shipped, as it is to be run, its digest, and what differs."""
        if name not in self._loaded:
            path = models.find(name)
            shipped = load_file(path)
            digest = weights.read_info(path).digest
            model, changes = shipped, list[str]()
            if self.request.ann:
                check_plain(shipped)
            else:
                check(shipped)
                model, changes = swap(
                    shipped,
                    neuron=self.request.neuron,
                    head=self.request.head,
                    timesteps=self.request.timesteps,
                    parameters=self.request.parameters,
                )
            self._loaded[name] = (shipped, model, digest, tuple(changes))
        return self._loaded[name]


def _made_with(model: Model, request: Request) -> str:
    """The parts that are asked for and that a model has by itself, in words; empty if it has none of them."""
    own = model.spiking
    if own is None:
        return ""
    asked = {
        f"neuron {own.neuron}": request.neuron == own.neuron,
        f"head {own.head}": request.head == own.head,
        f"T = {own.timesteps}": request.timesteps == own.timesteps,
    }
    return " and ".join(part for part, given in asked.items() if given)


def _warnings(model: Model, sigma: float | None, scale: int | None, changed: Model) -> list[str]:
    """What lies outside what the model was trained for, `changed` being the one that runs."""
    messages = []
    levels = models.noise_levels(model.info)
    if sigma is not None and levels and not levels[0] / models.NEAR <= sigma <= levels[-1] * models.NEAR:
        span = " to ".join(f"{level:g}" for level in dict.fromkeys((levels[0], levels[-1])))
        messages.append(
            f"the noise, sigma {sigma:.1f}, is outside what model {model.info.name} was trained for: {span}"
        )
    scales = trained_scales(model)
    if scale not in (None, 1) and scales and scale not in scales:
        known = ", ".join(map(str, scales))
        messages.append(f"scale {scale} is none that model {model.info.name} was trained for: {known}")
    if (
        model.spiking is not None
        and changed.spiking is not None
        and changed.spiking.timesteps != model.spiking.timesteps
    ):
        messages.append(
            f"model {model.info.name} was made for T = {model.spiking.timesteps}: at T = {changed.spiking.timesteps} it may be "
            "worse, with more steps too"
        )
    if model.spiking is not None and changed.spiking is not None and changed.spiking.neuron != model.spiking.neuron:
        made, runs = neuron_of(model), neuron_of(changed)
        if made.digits and not runs.digits:
            messages.append(
                f"model {model.info.name} was made for {made.name}, whose spikes are digits: {runs.name} cannot say such "
                "numbers, so expect no image; leave out --model for one that was made for it"
            )
    return messages
