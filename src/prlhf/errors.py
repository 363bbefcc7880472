"""The exception tree. Every error says what was wrong, where, and what to do; each is also a standard-library type.

PrlhfError
├── DataError (ValueError)          a file, row or field that cannot be read
├── ConfigError (ValueError)        an option that does not exist or does not fit
├── UnsupportedModelError (ValueError)   a base model that cannot carry user tokens
├── CheckpointError (OSError)       a folder that is missing, unfinished or of another format
├── UnknownUserError (LookupError)  a user id that is not in the table, where that is not allowed
└── TrainingError (RuntimeError)    a training run that cannot go on (a non-finite loss)
"""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "PrlhfError",
    "TrainingError",
    "UnknownUserError",
    "UnsupportedModelError",
]


class PrlhfError(Exception):
    """Base of every error that prlhf raises on purpose; the command line prints it without a traceback."""


class DataError(PrlhfError, ValueError):
    """A data file, row or field that cannot be read; the message names file, row, field, found and expected."""


class ConfigError(PrlhfError, ValueError):
    """An option that does not exist, or whose value does not fit; the message suggests the nearest."""


class UnsupportedModelError(PrlhfError, ValueError):
    """A base model that cannot carry user tokens; the message says why."""


class CheckpointError(PrlhfError, OSError):
    """A model or run folder that is missing, unfinished or of another format."""


class UnknownUserError(PrlhfError, LookupError):
    """A user id that is not in the user table where the caller asked for known users only."""


class TrainingError(PrlhfError, RuntimeError):
    """A training run that cannot go on, for example after a non-finite loss; names the comparisons concerned."""
