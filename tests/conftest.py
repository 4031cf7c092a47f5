"""What all tests share."""

import os

import pytest

# Third-party plugins on a developer's machine must not change results; a test that wants some says so.
os.environ["NSPIKE_LOAD_PLUGINS"] = ""


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels():
    """Compile what most tests run before the first one, so that none is told that kernels are compiled now."""
    import nspike.restoration.method  # noqa: F401 - gives `Model` its methods, in whatever order tests run
    from nspike.engine.warmup import warm_up
    from nspike.registry.plugins import registry

    warm_up([registry().neurons[name] for name in ("if", "mprn")], registry().heads["membrane"])
