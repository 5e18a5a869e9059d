"""The embedded example: inputs to score, left in the working directory beside the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import InputError
from cli.files import write_whole

if TYPE_CHECKING:
    from toys import Toy

FILE = Path("inputs.npz")


def leave_inputs(toy: Toy) -> None:
    """Writes `inputs.npz` (x, y, is_anomaly, kind) here, unless it is here already.

    Raises:
        InputError: an `inputs.npz` with other content is here.
        OutputError: it cannot be written.
    """
    import numpy as np

    arrays = {
        "x": toy.inputs.x.numpy(),
        "y": toy.inputs.y.numpy(),
        "is_anomaly": toy.inputs.is_anomaly.numpy(),
        "kind": np.array(toy.inputs.kind),
    }
    if not FILE.exists():
        write_whole(FILE, lambda stream: np.savez_compressed(stream, allow_pickle=False, **arrays))
    elif not _holds(arrays):
        raise InputError(
            f"{FILE} is here already and the example would overwrite it; move it away, "
            "or train in an empty directory"
        )


def _holds(arrays: dict[str, Any]) -> bool:
    """Whether the file holds exactly these arrays."""
    import numpy as np

    try:
        with np.load(FILE, allow_pickle=False) as file:
            return set(file.files) == set(arrays) and all(
                np.array_equal(file[name], array) for name, array in arrays.items()
            )
    except Exception:  # whatever it is, it is not what the example would write
        return False
