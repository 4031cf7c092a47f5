"""The grid of the input plane."""

UNIT = 65535
"""The integer that stands for white: 16-bit pixels are on the grid as they are, 8-bit ones times 257."""
