"""From a trained network's file to a model, and from a plain model to a spiking one.

No gradients.
"""
