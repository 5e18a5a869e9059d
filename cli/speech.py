"""How much a command says: all of it, warnings and errors only, or one JSON object on stdout."""

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any

import typer


@dataclass
class Speech:
    """What the command under way may say, warnings and errors apart.

    Attributes:
        words: whether it speaks to people.
        progress: whether it says how far it is.
    """

    words: bool = True
    progress: bool = True


speech = Speech()


def begin() -> None:
    """A command begins, which says everything unless it is told otherwise."""
    speech.words = speech.progress = True


def hush(wanted: bool) -> bool:
    """Leave out whatever is neither a warning nor an error, where that is wanted."""
    if wanted:
        speech.words = speech.progress = False
    return wanted


def as_json(wanted: bool) -> bool:
    """Leave out words for people, where JSON is wanted."""
    if wanted:
        speech.words = False
    return wanted


def put(value: Any) -> None:
    """One JSON object on stdout; numbers that are not finite are null."""
    print(json.dumps(known(value), allow_nan=False))


def known(value: Any) -> Any:
    """The value with None in place of every number in it that is NaN or infinite."""
    if isinstance(value, dict):
        return {name: known(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [known(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


Quiet = Annotated[
    bool, typer.Option("--quiet", callback=hush, help="Say nothing but warnings and errors.")
]
Json = Annotated[
    bool, typer.Option("--json", callback=as_json, help="Say it as one JSON object on stdout.")
]
