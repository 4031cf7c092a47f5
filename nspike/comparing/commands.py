"""The command line that measures one row again."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nspike.comparing.plan import Entry
from nspike.registry.plugins import registry
from nspike.restoration.execute import MEMORY

AGAIN = "again"
"""The folder that the command writes to."""
ENERGY = ("horowitz45",)
CROPS = CROP_SIZE = 64


@dataclass(frozen=True)
class Commands:
    """The options that all rows share, as typed: None for what was not given, "..." for what was in memory alone."""

    network: str | None
    data: str
    protocol: str | None
    sigma: float | None
    seed: int
    scale: int | None
    limit: int | None
    calibration: str | None
    crops: int
    crop_size: int
    energy: Sequence[str]
    lpips: str | None
    inexact: bool
    memory: int
    models: Mapping[str, str]
    recipes: Mapping[str, str]

    def of(self, entry: Entry) -> str:
        """The command that measures this row alone."""
        words = ["nspike", "compare"]
        if self.network is not None:
            words += ["--network", self.network]
        if entry.method is not None:
            words += ["--methods", entry.label, *_trial("method", entry.label)]
        for option, given in (("--model", self.models), ("--recipe", self.recipes)):
            if entry.label in given:
                words += [option, f"{entry.label}={given[entry.label]}"]
        if entry.timesteps is not None:
            words += ["--timesteps", str(entry.timesteps)]
        values = {
            "--data": self.data,
            "--protocol": self.protocol,
            "--sigma": self.sigma,
            "--seed": self.seed or None,
            "--scale": self.scale,
            "--limit": self.limit,
            "--calibrate": self.calibration,
            "--crops": None if self.crops == CROPS else self.crops,
            "--crop-size": None if self.crop_size == CROP_SIZE else self.crop_size,
            "--lpips": self.lpips,
            "--memory": None if self.memory == MEMORY else f"{-(-self.memory // 2**20)}M",
        }
        for option, value in values.items():
            if value is not None:
                words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
        if tuple(self.energy) != ENERGY:
            for name in self.energy:
                words += _trial("energy", name) or ["--plugin", f"energy:{name}"]
        if self.inexact:
            words.append("--inexact")
        return shlex.join([*words, "-o", AGAIN])


def _trial(kind: str, name: str) -> list[str]:
    """The option that loads a plugin from a file, if it came from one."""
    for entry in registry().entries():
        if (entry.kind, entry.name) == (kind, name) and entry.package.endswith(".py"):
            return ["--plugin", f"{entry.package}:{kind}:{name}"]
    return []
