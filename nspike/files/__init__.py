"""Files that are written whole or not at all, and HDF5 files that are not trusted.

Nothing about what the files hold.
"""
