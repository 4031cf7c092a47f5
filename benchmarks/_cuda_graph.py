"""A training step as one CUDA graph."""

import torch


def captured(step, rates):
    """A function that does what `step()` does, as a graph; `step` itself without a GPU.

    A few steps at rate 0 come before, which allocate what it needs. rates : tensors, the optimiser's learning rates.
    """
    if not torch.cuda.is_available():
        return step
    for rate in rates:
        rate.fill_(0.0)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
