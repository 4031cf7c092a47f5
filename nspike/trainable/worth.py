"""What the spikes that a layer reads are worth, where training may change it."""

from nspike.trainable.course import slopes
from nspike.trainable.written import Worth, Written


def worth_read(written: Written) -> list[Worth]:
    """What trains the worth of the spikes that a convolution reads."""
    trained: list[Worth] = []
    first, shared = 0, written.shared
    for part, source in enumerate(written.sources):
        last = first + source.train.neurons
        for name, tensor in source.trained.items():
            slope = slopes(source.neuron, source.values, name, shared.timesteps, shared.steps).amplitudes
            if slope.any():
                trained.append(Worth(part, first, last, tensor, slope))
        first = last
    return trained
