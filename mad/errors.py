"""Everything mad raises on purpose.

MadError
├── ReferenceError   the reference inputs cannot be profiled or calibrated on
├── InputError       inputs cannot be scored, or what is asked for is not there
└── StoreError       a saved detector is missing, truncated, foreign or cannot be written
"""


class MadError(Exception):
    """Base of every error mad raises on purpose; its message is one sentence for a person."""


class ReferenceError(MadError):
    """The reference inputs cannot be profiled or calibrated on."""


class InputError(MadError):
    """Inputs cannot be scored, or what is asked for is not there."""


class StoreError(MadError):
    """A saved detector is missing, truncated, of another version, or cannot be written."""
