"""A network as frozen descriptions of layers, and what follows from them alone.

No arithmetic on images, no spikes.
"""
