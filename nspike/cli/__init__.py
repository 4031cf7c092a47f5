"""The command line: one file for each command, thin callers of the Python API."""
