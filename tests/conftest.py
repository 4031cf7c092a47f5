"""What all tests share."""

import os

# Third-party plugins on a developer's machine must not change results; a test that wants some says so.
os.environ["NSPIKE_LOAD_PLUGINS"] = ""
