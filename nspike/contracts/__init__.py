"""What a plugin may register: neurons, heads, converters, losses, energy models, networks, file formats,
methods; and the hooks.

Contains no plugin and does not run any.
"""
