"""The same graph as a plain network, in float32, tile by tile.

No spikes.
"""
