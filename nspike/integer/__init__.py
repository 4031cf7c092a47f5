"""From floats to the integer grid: every rounding that decides a spike, and the float64 reference.

No other package rounds a spiking layer.
"""
