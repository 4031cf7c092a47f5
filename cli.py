"""Launcher for a checkout: `python cli.py run photo.png`. It needs an installation, because plugins are found through it."""

import importlib.util
import sys


def main():
    missing = [name for name in ("click", "numpy", "nspike_plugins") if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f"nspike is not installed here ({', '.join(missing)} not found). Run: pip install -e .\n")
        return 2
    from nspike.__main__ import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
