"""A certificate."""

import pytest

from nspike.inspection.auditing import audit
from tests.desk import write
from tests.tiny import tiny_model


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """As plain values; tests change copies of it."""
    return audit(tiny_model(), write(tmp_path_factory.mktemp("c") / "a.png", 20, 24)).certificate
