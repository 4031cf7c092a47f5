"""The version of nspike, as pyproject.toml has it."""

VERSION = "0.1.0"
