"""How property tests are run: the same examples every time, and nothing kept on disk."""

from hypothesis import settings

examples = settings(derandomize=True, deadline=None, database=None, max_examples=60)
