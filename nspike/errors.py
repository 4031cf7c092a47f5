"""Every error that a user may meet, each with the exit code that the command line gives it.

Say what was wrong, what was expected, and what to do. The command line prints the message alone, without a traceback.
"""

import difflib
from collections.abc import Iterable


class NspikeError(Exception):
    """The base of all errors that are raised on purpose; `exit_code` is the command line's."""

    exit_code = 3


class UsageError(NspikeError):
    """The call itself is wrong: an option out of range, two that exclude each other."""

    exit_code = 2


class BadInputError(NspikeError):
    """An image, a folder or a checkpoint that cannot be used."""


class ModelError(NspikeError):
    """A model, or a model file, that is damaged, inconsistent or cannot run."""


class PluginError(NspikeError):
    """A plugin that is unknown, broken or breaks its contract."""

    exit_code = 4


class OutputError(NspikeError):
    """Something that could not be written."""

    exit_code = 5


class DifferenceError(NspikeError):
    """A verification that found a difference."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint "did you mean ...?" for a misspelt `name`, or the empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""
