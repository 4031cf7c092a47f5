"""The ledger: what one run cost, in 64-bit integers.

Charged once per image: a neuron in the halo of a tile is not counted. A synaptic operation is one accumulation that
one spike causes at one target (as many as the gain of its plane, unless planes are digits); *exact* counts the targets that
the spike really has (fewer at the border), *paper* k²·C_out for each, as the papers do.
"""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import UsageError

Counts = NDArray[np.int64]

COUNTED = ("events", "synops", "synops_paper", "neuron_updates", "bias_additions")
"""What is counted for each layer and step."""


@dataclass(frozen=True)
class LayerLedger:
    """One layer of neurons over a run.

    name; shape (C, H, W) of one plane; events int64 (planes, steps); synops and synops_paper int64 (steps,): what its
    spikes cause in the layers that read it; neuron_updates and bias_additions int64 (steps,); digests: per step, the
    SHA-256 of its spikes as hexadecimal text, or none if the run did not digest.
    """

    name: str
    shape: tuple[int, int, int]
    events: Counts
    synops: Counts
    synops_paper: Counts
    neuron_updates: Counts
    bias_additions: Counts
    digests: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<LayerLedger {self.name}: {int(self.events.sum()):,} spikes, {int(self.synops.sum()):,} synops>"


@dataclass(frozen=True)
class Ledger:
    """A whole run: `planes` images of `shape` (C, H, W) for `timesteps` steps and `post_steps` more.

    layers: the layers of neurons in order, with the output layer's if its head fires. analog_macs, analog_macs_paper:
    multiply-accumulates of the layers that read the image, for one step (they are the same at every step, and computed
    once). output_additions: of the output layer's biases and the skip from the image. head_synops,
    head_synops_paper: accumulations of the head's convolution; head_macs: the head's scaled additions.
    ann_macs, ann_macs_paper: of the ANN on the same image. weights: how many numbers the network's kernels hold.
    head_synops_steps: the head's accumulations by the step of the spike, or none; they add up to head_synops.
    most_spikes: the most that a neuron of a layer can fire at a step.
    current_additions: by step, additions of currents in sums, means and bilinear enlargements, and of the biases of
    convolutions that have no neurons of their own; none where there are no such layers.
    plane_digest: of a run that digests, the SHA-256 of the input planes, int32 little-endian in the order (n, c, y, x).
    """

    planes: int
    shape: tuple[int, int, int]
    timesteps: int
    post_steps: int
    layers: tuple[LayerLedger, ...]
    analog_macs: int
    analog_macs_paper: int
    output_additions: int
    head_synops: int
    head_synops_paper: int
    head_macs: int
    ann_macs: int
    ann_macs_paper: int
    weights: int
    plane_digest: str = ""
    head_synops_steps: tuple[int, ...] = ()
    current_additions: tuple[int, ...] = ()
    most_spikes: int = 1

    @property
    def spikes(self) -> int:
        """The number of spikes, all planes and steps together."""
        return sum(int(layer.events.sum()) for layer in self.layers)

    @property
    def synops(self) -> int:
        """All synaptic operations, exact, the head's included."""
        return sum(int(layer.synops.sum()) for layer in self.layers) + self.head_synops

    @property
    def synops_paper(self) -> int:
        """All synaptic operations as the papers count them."""
        return sum(int(layer.synops_paper.sum()) for layer in self.layers) + self.head_synops_paper

    @property
    def neuron_updates(self) -> int:
        """Updates of neurons, over all layers and steps."""
        return sum(int(layer.neuron_updates.sum()) for layer in self.layers)

    @property
    def additions(self) -> int:
        """Accumulations that no spike causes: biases, sums of currents, and the skip from the image."""
        biases = sum(int(layer.bias_additions.sum()) for layer in self.layers)
        return biases + self.output_additions + sum(self.current_additions)

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step, over the `timesteps` (post-step spikes included, as in the papers)."""
        neurons = sum(int(np.prod(layer.shape)) for layer in self.layers) * self.planes
        return self.spikes / (neurons * self.timesteps) if neurons else 0.0

    def by_step(self, count: str = "events") -> Counts:
        """A count by layer and step, int64 (layers, steps), of all planes; post steps are the last.

        count : "events" (spikes), "synops", "synops_paper", "neuron_updates" or "bias_additions".

        Raises UsageError for another.
        """
        if count not in COUNTED:
            raise UsageError(f"a ledger has no count {count!r} by step; expected one of {', '.join(COUNTED)}")
        rows = np.zeros((len(self.layers), self.timesteps + self.post_steps), np.int64)
        for row, layer in zip(rows, self.layers, strict=True):
            values = getattr(layer, count)
            row[:] = values.sum(axis=0) if count == "events" else values
        return rows

    def table(self) -> list[dict[str, Any]]:
        """A row for each layer of neurons: its name, shape, neurons, firing rate, and the sums of its counts."""
        rows = []
        for layer in self.layers:
            neurons = int(np.prod(layer.shape)) * self.planes
            channels, height, width = layer.shape
            row: dict[str, Any] = {
                "layer": layer.name,
                "channels": channels,
                "height": height,
                "width": width,
                "neurons": neurons,
            }
            row |= {count: int(getattr(layer, count).sum()) for count in COUNTED}
            rows.append({**row, "firing_rate": row["events"] / (neurons * self.timesteps)})
        return rows

    def to_pandas(self) -> Any:
        """`table` as a pandas DataFrame. Raises UsageError where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise UsageError("to_pandas needs pandas (pip install pandas); table() gives the same rows") from error
        return pandas.DataFrame(self.table())

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON: the fields by name, with the totals beside them.

        `current_additions` is left out where there are none.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {name: list(values[name]) for name in ("shape", "head_synops_steps", "current_additions")}
        if not self.current_additions:
            del values["current_additions"]
        values["layers"] = [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                **{count: getattr(layer, count).tolist() for count in COUNTED},
                "digests": list(layer.digests),
            }
            for layer in self.layers
        ]
        totals = ("spikes", "synops", "synops_paper", "neuron_updates", "additions", "firing_rate")
        return values | {name: getattr(self, name) for name in totals}

    def __repr__(self) -> str:
        if not self.layers:
            return f"<Ledger of a plain ANN: {self.ann_macs:,} MACs>"
        return (
            f"<Ledger of {len(self.layers)} layers, T = {self.timesteps}: {self.spikes:,} spikes, {self.synops:,} synops, "
            f"firing rate {self.firing_rate:.4f}>"
        )

    if TYPE_CHECKING:  # added by `nspike.restoration.method`: energy models are plugins, which lie above it

        def energy(self, model: Any = "horowitz45") -> tuple[Any, ...]:
            """An `EnergyColumn` for each way of counting."""

    def silenced(self) -> "Ledger":
        """The same run as if no neuron had fired."""
        none = {name: np.int64(0) for name in ("events", "synops", "synops_paper")}
        layers = tuple(
            replace(layer, **{name: getattr(layer, name) * zero for name, zero in none.items()})
            for layer in self.layers
        )
        return replace(self, layers=layers, head_synops=0, head_synops_paper=0)
