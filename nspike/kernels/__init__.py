"""Numba kernels: arrays in, arrays out; no classes, no files. Imported only when something is computed."""


def compile_notice() -> str | None:
    """What to tell a user before a run that has to compile kernels; None where they are compiled already."""
    from nspike.kernels._jit import FOLDER, INTERPRETED, is_cached

    if INTERPRETED or is_cached():
        return None
    where = "in memory, in every process" if FOLDER is None else "once; `nspike warmup` does it beforehand"
    return f"compiling kernels, {where}; this takes about 15 s"
