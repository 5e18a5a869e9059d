"""What the command line refuses, and how any expected failure becomes one sentence.

CliError
├── InputError    what was given cannot be used: a file, an array, a setting, a directory
└── OutputError   what was asked for cannot be written
"""

import sys

from cli.printable import printable

# errors module -> the base of what that package raises on purpose
BASES = {
    "cli.errors": "CliError",
    "apd.errors": "ApdError",
    "mad.errors": "MadError",
    "toys.errors": "ToyError",
}


WANT_OF_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")


INTERRUPTED = 130


class Interrupted(BaseException):
    """A person interrupted it; no library takes this for an interruption of its own."""


class CliError(Exception):
    """Base of what the command line itself refuses; its message is one sentence for a person."""


class InputError(CliError):
    """What was given cannot be used."""


class OutputError(CliError):
    """What was asked for cannot be written."""


def is_expected(error: BaseException) -> bool:
    """Whether a failure is the world's doing and not a bug, without importing any package.

    An error can only be of a package that has been imported, so the others need no looking at.
    """
    bases = (getattr(sys.modules[m], base) for m, base in BASES.items() if m in sys.modules)
    return isinstance(error, (OSError, *bases)) or is_want_of_memory(error)


def is_want_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory: torch says so in words."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in WANT_OF_MEMORY)
    )


def sentence(error: BaseException) -> str:
    """An expected failure as one sentence on one line."""
    if isinstance(error, OSError):
        text = f"{error.filename}: {reason(error)}" if error.filename else reason(error)
    elif is_want_of_memory(error):
        text = "there is not enough memory"
    else:
        text = str(error)
    text = printable(" ".join(text.split()))
    return text if text.endswith((".", "!", "?")) else f"{text}."


def reason(error: OSError) -> str:
    """Why a file operation failed, in a few words."""
    return error.strerror or str(error) or type(error).__name__
