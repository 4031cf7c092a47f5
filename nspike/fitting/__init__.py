"""Training as a user meets it: recipes, runs that resume, validation, history, and what is written.

The networks and their gradients are `nspike.trainable`'s.
"""
