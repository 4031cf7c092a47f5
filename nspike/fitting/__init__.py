"""Training runs: recipes, resuming, validation, history, and the files that are written.

The networks and their gradients are in `nspike.trainable`.
"""
