"""The ReLUs at the end of a network become its `rectify`."""

from dataclasses import replace

from nspike.graph.geometry import geometry
from nspike.graph.layer import IMAGE, Layer
from nspike.graph.network import Network


def without_trailing_relu(network: Network) -> Network:
    """The same function: a ReLU whose values only the end sees, through what moves them, is taken as the last step of all."""
    layers = {layer.name: layer for layer in network.layers}
    activations = {layer.name: layer for layer in network.activations}
    behind: list[Layer] = []
    at = network.output
    while at not in activations:
        layer = layers[at]
        if geometry(layer).role != "arrange" or not hasattr(layer, "source") or layer.sources[0] == IMAGE:
            return network
        behind.append(layer)
        at = layer.sources[0]
    relu = activations[at]
    passed = {relu.name, *(layer.name for layer in behind)} - {network.output}
    readers = [layer.name for layer in network.layers for source in layer.sources if source in passed]
    if relu.ceiling is not None or len(readers) != len(behind) or relu.source == IMAGE:
        return network
    rectify = network.rectify or not relu.signed
    if behind:
        first = replace(behind[-1], source=relu.source)  # type: ignore[arg-type]
        kept = tuple(first if layer is behind[-1] else layer for layer in network.layers if layer.name != relu.name)
        return without_trailing_relu(replace(network, layers=kept, rectify=rectify))
    kept = tuple(layer for layer in network.layers if layer.name != relu.name)
    if kept[-1].name == relu.source:
        return without_trailing_relu(replace(network, layers=kept, output=relu.source, rectify=rectify))
    last = layers[relu.source]
    if any(relu.source in layer.sources for layer in kept):
        return network
    kept = (*(layer for layer in kept if layer is not last), last)
    return without_trailing_relu(replace(network, layers=kept, output=last.name, rectify=rectify))
