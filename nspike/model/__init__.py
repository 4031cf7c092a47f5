"""A model, the file that holds it, and the models that are shipped.

Nothing that runs a model.
"""
