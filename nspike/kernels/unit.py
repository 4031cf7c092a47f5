"""The integer grid of the input plane, in units of 1/65535."""

UNIT = 65535
"""The integer that stands for white: 16-bit pixels are on the grid as they are, 8-bit ones are multiplied by 257."""
