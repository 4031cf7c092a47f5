"""Fuzzing that counts: how many damaged copies of a file are refused, and how many are read."""


def refused(read, path, raw, draw, tries, error, changes=(1,)):
    """How many of `tries` copies of `raw` with changed bytes raise `error`; `raw` itself, read last, must not.

    Whatever else `read` raises is the test's failure. draw : a `random.Random`.
    """
    count = 0
    for _ in range(tries):
        mutant = bytearray(raw)
        for _ in range(draw.choice(changes)):
            mutant[draw.randrange(len(raw))] ^= draw.randrange(1, 256)
        path.write_bytes(mutant)
        try:
            read(path)
        except error:
            count += 1
    path.write_bytes(raw)
    read(path)
    return count
