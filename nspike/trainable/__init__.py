"""Differentiable networks, plain and spiking, and the optimisers.

No file access and no recipes.
"""
