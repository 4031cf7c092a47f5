"""Where a spike is decided at inference: tiles, stages, heads, counts and digests, all on integers.

No floats before the head; no file access.
"""
