"""What several commands are asked alike: rows to flag, an output to explain, files of a kind."""

from collections.abc import Collection
from pathlib import Path

import typer

from cli.summary import Discoveries, Summary

ALPHA = 0.01
LEAST = 1e-12


def share(value: float | None) -> float | None:
    """A false-alarm budget, where one is given.

    Raises:
        typer.BadParameter: it is not between 0 and 1, or too small for any calibration.
    """
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"{value} is not between 0 and 1")
    if value is not None and value < LEAST:
        raise typer.BadParameter(f"{value:g} is below {LEAST:g}: nothing could ever be flagged")
    return value


def ending(path: Path, suffixes: Collection[str], beside: str = "") -> Path:
    """A file whose name ends in one of some suffixes.

    Args:
        path: the file.
        suffixes: of which it is to have one.
        beside: what else may be given, in words.

    Raises:
        typer.BadParameter: it ends in none.
    """
    if path.suffix not in suffixes:
        raise typer.BadParameter(f"{path} does not end in {', '.join(suffixes)}{beside}")
    return path


def explained(text: str | None) -> str | int | None:
    """Which output to explain: "predicted", "all" or an index; None where it is not said.

    Raises:
        typer.BadParameter: it is none of these.
    """
    if text in ("predicted", "all", None):
        return text
    if text.isdecimal():
        return int(text)
    raise typer.BadParameter(f"{text!r} is not predicted, all or the index of an output")


def flagging(
    alpha: float | None, alarms: float | None, inputs: float | None, fdr: float | None
) -> Summary:
    """What is flagged: up to an alpha, up to that of so many alarms a day, or discoveries.

    Raises:
        typer.BadParameter: more than one of these is given, half a budget, or an impossible one.
    """
    ways = {"--alpha": alpha, "--alarms-per-day": alarms, "--fdr": fdr}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"{given[0]} and {given[1]} exclude each other; give one")
    if (alarms is None) != (inputs is None):
        raise typer.BadParameter("--alarms-per-day and --inputs-per-day need each other")
    if alarms is not None and inputs is not None:
        return Summary(of_a_day(alarms, inputs))
    if fdr is not None:
        return Discoveries(0.0, fdr=fdr)
    return Summary(ALPHA if alpha is None else alpha)


def of_a_day(alarms: float, inputs: float, calibration: str = "pooled") -> float:
    """The alpha of an alarm budget.

    Raises:
        typer.BadParameter: there is none, or it is too small for any calibration.
    """
    from mad import InputError as NoBudget
    from mad.calibration import alpha_for

    try:
        alpha = alpha_for(alarms, inputs, calibration)
    except NoBudget as error:
        raise typer.BadParameter(str(error)) from error
    share(alpha)
    return alpha
