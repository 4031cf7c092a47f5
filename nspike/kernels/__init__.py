"""Numba kernels: arrays in, arrays out; no classes, no files. Imported only when something is computed."""
