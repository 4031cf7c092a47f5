"""What a plugin may register: neurons, heads, converters, losses, energy models, networks, file formats; and the hooks.

No plugin, and nothing that runs one.
"""
