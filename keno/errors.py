"""The root of every error that Keno raises on purpose.

    KenoError
    +-- ConfigError            the configuration cannot be used
    +-- one branch a capability, defined beside its rules

An expected outcome (a refused bet, a lost lease) is a value, not an error.
"""


class KenoError(Exception):
    """Base of all errors defined in Keno."""


class ConfigError(KenoError):
    """The configuration is missing a value or holds one that cannot be used."""
