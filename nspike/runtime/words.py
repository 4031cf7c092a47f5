"""Numbers in sentences."""


def counted(count: int, noun: str) -> str:
    """A count and what is counted: "1 crop", "1,200 crops"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
