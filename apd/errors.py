"""Everything apd raises on purpose.

ApdError
├── TargetError      the network cannot be decomposed (unsupported operator, dead site, bad output),
│                    or inputs are none of its own
├── ReferenceError   the reference inputs cannot be used
├── ConfigError      a setting is unknown or out of range
├── ComponentError   a component is asked for that is not there
└── RunError         a run directory is missing, truncated, foreign or cannot be written
"""


class ApdError(Exception):
    """Base of every error apd raises on purpose; its message is one sentence for a person."""


class TargetError(ApdError):
    """The network cannot be decomposed, or inputs are none of its own."""


class ReferenceError(ApdError):
    """The reference inputs cannot be used."""


class ConfigError(ApdError):
    """A setting is unknown or out of range."""


class ComponentError(ApdError):
    """A component is asked for that is not there."""


class RunError(ApdError):
    """A run directory is missing, truncated, of another version, or cannot be written."""
