import pytest

from nspike.runtime.words import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 crops"), (1, "1 crop"), (2, "2 crops"), (1200, "1,200 crops")])
def test_counted(count, text):
    assert counted(count, "crop") == text
