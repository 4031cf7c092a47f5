"""Finding and loading plugins, and the parts of a model by their names.

No first-party plugin is imported here, or anywhere in nspike.
"""
