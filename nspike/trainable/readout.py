"""What the head makes of the output layer of a batch, with its gradient; and what each step alone would give.

Of step t alone, O(t) is what the head reads where the current I(t) arrives at every step: the charge is T·I(t). Where the head
is linear in the charge, as `membrane` is, the mean of O(t) over the steps is what it reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nspike.autograd.tensor import Tensor, record
from nspike.contracts.head import Head, OutputLayer
from nspike.integer.rounding import IntegerNetwork
from nspike.trainable.layer import Doubles
from nspike.trainable.rule import Rule


@dataclass(frozen=True)
class Readout:
    """The output layer of a batch that has run: `rule`, of the network `integers`, read by `head` with `parameters`."""

    rule: Rule
    integers: IntegerNetwork
    head: Head
    parameters: Mapping[str, Tensor]

    def tensor(self) -> Tensor:
        """What the head reads, float64 (N, C, H, W) in units of the ANN's output."""
        return self._recorded(self._seen())

    def with_steps(self) -> tuple[Tensor, Tensor]:
        """The same, and O(t) of every step up to T, float64 (T, N, C, H, W). For a head that does not fire."""
        stacked = self._recorded(self._seen(), self._seen_at_steps())
        return stacked[0], stacked[1:]

    def _seen(self) -> list[OutputLayer]:
        """What the head sees of each image."""
        stage = self.rule.layer.prepared.stage
        theta = stage.integer.theta.astype(np.int64)
        left = (self.rule.v - stage.v0).transpose(0, 3, 1, 2)
        fired = np.zeros(left.shape, np.int32)
        if self.head.fires:
            fired = self.rule.train.dense().sum(axis=1, dtype=np.int32)
        charge = left.astype(np.int64) + fired * theta[:, None, None]
        residual = left if self.head.fires else np.zeros_like(left)
        return [
            OutputLayer(*each, theta, stage.integer.exponent, self.integers.timesteps)
            for each in zip(charge, fired, residual, strict=True)
        ]

    def _seen_at_steps(self) -> list[list[OutputLayer]]:
        """The same of each step, as if its current were that of every step."""
        stage, timesteps = self.rule.layer.prepared.stage, self.integers.timesteps
        currents = self.rule.layer.input.currents().transpose(1, 0, 4, 2, 3)  # (steps, N, C, H, W)
        nothing = np.zeros(currents.shape[2:], np.int32)
        theta = stage.integer.theta.astype(np.int64)
        return [
            [
                OutputLayer(
                    timesteps * one.astype(np.int64), nothing, nothing, theta, stage.integer.exponent, timesteps
                )
                for one in currents[min(t, len(currents) - 1)]
            ]
            for t in range(timesteps)
        ]

    def _recorded(self, seen: list[OutputLayer], at_steps: list[list[OutputLayer]] | None = None) -> Tensor:
        """What the head reads; with `at_steps` (1 + T, N, C, H, W), that of each step after it."""
        rule, numbers = self.rule, {name: tensor.data for name, tensor in self.parameters.items()}
        scale = self.integers.output_scale[:, None, None]

        def read(images: Sequence[OutputLayer]) -> Doubles:
            return np.stack([np.asarray(self.head.read(one, numbers), np.float64) * scale for one in images])

        def backward(g: Any) -> list[Any]:
            assert self.head.gradient is not None
            whole = g if at_steps is None else g[0]
            parts = [self.head.gradient(one, numbers, whole[n] * scale) for n, one in enumerate(seen)]
            maps = {
                key: np.stack([each[key] for each in parts]).transpose(0, 2, 3, 1)
                for key in ("charge", "spikes", "residual")
                if key in parts[0]
            }
            if at_steps is not None:
                maps["charge"] = self._of_steps(maps["charge"], at_steps, g[1:] * scale, parts)
            of_theta = np.sum([each["theta"] for each in parts], axis=0) if "theta" in parts[0] else None
            spikes = rule.spread(maps["spikes"]) if "spikes" in maps else None
            of_layer = rule.back(spikes, end=maps.get("residual"), charge=maps.get("charge"), theta=of_theta)
            return [*of_layer, *(sum(each[name] for each in parts) for name in self.parameters)]

        out = read(seen) if at_steps is None else np.stack([read(seen), *(read(images) for images in at_steps)])
        return record(out, [*rule.parents, *self.parameters.values()], backward)

    def _of_steps(
        self, charge: Doubles, at_steps: list[list[OutputLayer]], g: Doubles, parts: list[Mapping[str, Doubles]]
    ) -> Doubles:
        """∂L/∂I (steps, N, H, W, C), from that of the charge (N, H, W, C) and of O(t); `parts` take the head's gradients too."""
        assert self.head.gradient is not None
        numbers = {name: tensor.data for name, tensor in self.parameters.items()}
        out = np.repeat(charge[None], self.integers.steps, axis=0)
        for t, images in enumerate(at_steps):
            for n, one in enumerate(images):
                gradients = self.head.gradient(one, numbers, g[t, n])
                out[t, n] += self.integers.timesteps * np.asarray(gradients["charge"]).transpose(1, 2, 0)
                parts.append({name: gradients[name] for name in self.parameters})
        return out
