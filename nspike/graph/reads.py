"""What layers of one source share."""


class Reads:
    """A layer that reads one other."""

    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the layers that this one reads."""
        return (self.source,)
