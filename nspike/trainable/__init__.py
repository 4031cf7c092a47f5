"""Networks that have gradients, plain and spiking, and the optimisers.

No files, no recipes.
"""
