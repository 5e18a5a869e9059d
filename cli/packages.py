"""Packages that only some commands need: missed in a sentence, before any work."""

import importlib.util

from cli.errors import InputError


def refuse_missing(what: str, *packages: str) -> None:
    """Refuses to begin without packages, by the names they are imported under.

    Raises:
        InputError: some are not installed; the message says how to have them.
    """
    missing = [
        name.replace("_", "-") for name in packages if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise InputError(
            f"{what} needs {' and '.join(missing)}; "
            f"install {'them' if missing[1:] else 'it'} with `pip install {' '.join(missing)}`"
        )
