"""The layers of a network as frozen descriptions, without arithmetic.

The same descriptions are run as the plain ANN, converted, and run as the spiking network.
All layers keep the image's height and width: convolutions are zero-padded by half their kernel.
"""

from dataclasses import dataclass

IMAGE = "image"
"""The name under which a layer refers to the network's input, in [0, 1]."""


@dataclass(frozen=True)
class Conv:
    """A convolution, stride 1, zero padding `kernel // 2`; in the ANN perhaps followed by batch norm."""

    name: str
    source: str
    in_channels: int
    out_channels: int
    kernel: int
    bias: bool = True
    batch_norm_eps: float | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the layers that this one reads."""
        return (self.source,)

    @property
    def radius(self) -> int:
        """How many pixels around an output are read, zero padding included."""
        return self.kernel // 2

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """(C_out, C_in, k, k)."""
        return self.out_channels, self.in_channels, self.kernel, self.kernel


@dataclass(frozen=True)
class Activation:
    """A ReLU in the ANN; a layer of neurons in the spiking network.

    ceiling : where the ANN clips it, one number or one for each channel; None for a plain ReLU. levels : into how many equal
    steps up to the ceiling its value is rounded (QCFS, see `nspike.autograd.activation`); None for none. A spiking network
    takes its scales instead.
    """

    name: str
    source: str
    channels: int
    ceiling: tuple[float, ...] | None = None
    levels: int | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the layers that this one reads."""
        return (self.source,)


@dataclass(frozen=True)
class Concat:
    """Several activations stacked along the channels, in the order given."""

    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Gate:
    """An activation K times the image x: K·(x − 1) + 1, as in AOD-Net; in spikes, each gated by its pixel."""

    name: str
    source: str
    channels: int

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the layers that this one reads, the image apart."""
        return (self.source,)


Layer = Conv | Activation | Concat | Gate

Driver = Conv | Gate
"""A layer that gives the current of one layer of neurons, or the output: a stage of the spiking network."""

KINDS: dict[str, type[Layer]] = {"conv": Conv, "activation": Activation, "concat": Concat, "gate": Gate}
"""Every kind of layer, by its name in model files. Everything else about a kind is in tables with these kinds as keys."""
