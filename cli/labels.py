"""What a file says of its inputs: which are anomalies, and of what kind they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KIND = "kind"


def labels_of(path: Path, key: str) -> NDArray[np.bool_]:
    """Which inputs are anomalies.

    Raises:
        InputError: there is no such array, or it is not one of 0 and 1 for every input.
    """
    import numpy as np

    from cli.inputs import read

    values = read(path, key)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise InputError(
            f"{path} has something other than one 0 or 1 for every input in {key!r}; "
            "name the labels with --labels"
        )
    return values.astype(bool)


def kinds_of(path: Path, count: int) -> NDArray[np.str_]:
    """What kind of input every one is, in words; empty words where the file does not say.

    Args:
        path: the file.
        count: how many inputs it has.
    """
    import numpy as np

    from cli.inputs import DAMAGED

    with np.load(path) as file:
        try:
            found = np.asarray(file[KIND])
        except DAMAGED:
            found = np.zeros(0, str)
    told = found.dtype.kind == "U" and found.shape == (count,)
    return found if told else np.zeros(count, "U1")


def by_kind(kinds: NDArray[np.str_], flagged: NDArray[np.bool_]) -> dict[str, tuple[int, int]]:
    """How many of every kind are flagged, and how many there are, in the order of their names."""
    import numpy as np

    return {
        str(kind): (int(flagged[kinds == kind].sum()), int((kinds == kind).sum()))
        for kind in np.unique(kinds)
        if kind
    }


def refuse_one_kind(truth: NDArray[np.bool_], path: Path, key: str) -> None:
    """Refuses labels that leave nothing to compare.

    Raises:
        InputError: no input could be scored, or none that could is an anomaly, or all are.
    """
    if not len(truth):
        raise InputError(f"no input of {path} could be scored")
    if truth.all() or not truth.any():
        what = "an anomaly" if truth.all() else "clean"
        raise InputError(
            f"every input of {path} that could be scored is {what} by {key!r}; both are needed"
        )
