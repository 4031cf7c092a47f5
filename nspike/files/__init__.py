"""Atomic writing of files, and reading of untrusted HDF5 files.

Nothing here depends on the contents of the files.
"""
