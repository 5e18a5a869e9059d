"""What mad refuses to profile, to score or to explain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from mad.decomposition import Decomposition
from mad.errors import InputError, ReferenceError

NUMBERS = "buif"


def as_array(x: Any) -> NDArray[Any]:
    """Inputs as an array of numbers that torch has; a tensor may be on any device.

    Those of bfloat16, which numpy does not have, become float32.

    Raises:
        InputError: rows are not of one shape.
    """
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if str(x.dtype) == "torch.bfloat16" else x
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InputError("the inputs are not all of one shape") from error
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_decomposition(decomposition: object) -> None:
    """Refuse what is no decomposition, such as the network itself.

    Raises:
        InputError: with what it is.
    """
    if isinstance(decomposition, type) or not hasattr(decomposition, "masked_outputs"):
        raise InputError(
            f"a decomposed network is needed, such as apd.decompose makes, "
            f"and this is a {type(decomposition).__name__}"
        )


def check_numbers(x: NDArray[Any], what: str) -> None:
    """Refuse text, dates, objects and complex numbers.

    Raises:
        InputError: with what they are.
    """
    if x.dtype.kind not in NUMBERS:
        raise InputError(f"{what} holds {x.dtype}, which is no type of number")


def check_shape(x: NDArray[Any], decomposition: Decomposition) -> None:
    """Refuse inputs that are empty or not of the decomposition's shape.

    Raises:
        InputError: with both shapes.
    """
    check_numbers(x, "an input")
    if x.ndim == 0 or len(x) == 0:
        raise InputError("there are no inputs to score")
    if x.shape[1:] != tuple(decomposition.input_shape):
        raise InputError(
            f"an input has shape {x.shape[1:]}; the target takes {decomposition.input_shape}"
        )


def check_output(decomposition: Decomposition, explain: object, x: NDArray[Any]) -> None:
    """Refuse an output to explain that the network does not have.

    Raises:
        InputError: with those it has.
    """
    width = decomposition.explain(x[:1], "predicted")[0].shape[1]
    whole = not isinstance(explain, bool) and isinstance(explain, Integral)
    if not (explain in range(width) if whole else explain in ("predicted", "all")):
        raise InputError(
            f"there is no output {explain!r} to explain; "
            f"there are 'predicted', 'all', and 0 to {width - 1}"
        )


def check_finite(x: NDArray[Any], what: str) -> None:
    """Refuse trusted inputs that hold NaN or infinity.

    Raises:
        ReferenceError: with the first row that does.
    """
    bad = np.flatnonzero(~finite_rows(x))
    if len(bad):
        raise ReferenceError(f"{what} holds NaN or infinity, first in row {bad[0]}")


def check_in_range(finite: Bool[np.ndarray, "n"]) -> None:
    """Refuse trusted inputs of which the network makes no numbers.

    Raises:
        ReferenceError: with how many there are.
    """
    if not finite.all():
        raise ReferenceError(
            f"{np.count_nonzero(~finite)} of the trusted inputs take the network out of the range "
            "of its numbers, or hold a token that it has no row for; leave them out"
        )


def finite_rows(x: NDArray[Any]) -> Bool[np.ndarray, "n"]:
    """Whether a row holds neither NaN nor infinity."""
    return np.asarray(np.isfinite(x).reshape(len(x), -1).all(1))


def checked(
    chunks: Iterable[Any], decomposition: Decomposition, trusted: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """Chunks of inputs as arrays, without the empty ones.

    Args:
        chunks: the inputs.
        decomposition: of the network that they are for.
        trusted: the type of trusted inputs.

    Raises:
        InputError: there is no input, one is not of the decomposition's shape, the type changes, or
            there are whole numbers where trusted inputs are floats, or the other way round.
    """
    dtype = None
    for chunk in chunks:
        array = as_array(chunk)
        if array.ndim > 0 and len(array) == 0:
            continue
        check_shape(array, decomposition)
        if (array.dtype.kind == "f") != (trusted.kind == "f"):
            raise InputError(f"the inputs are {array.dtype}; the reference was {trusted}")
        if dtype not in (None, array.dtype):
            raise InputError(f"the inputs are {dtype} at first, and then {array.dtype}")
        dtype = array.dtype
        yield array
    if dtype is None:
        raise InputError("there are no inputs to score")


def as_type(x: NDArray[Any], dtype: np.dtype[Any], what: str = "an input") -> NDArray[Any]:
    """Numbers in another type: floats as near as it has them, whole numbers where it has them.

    Args:
        x: numbers of any type.
        dtype: the type, of floats, whole numbers or truth values.
        what: what to call them.

    Raises:
        InputError: they are no numbers, whole numbers that the type does not have, or, where it has
            nothing but whole numbers, hold fractions or are not finite.
    """
    check_numbers(x, what)
    with np.errstate(over="ignore", invalid="ignore"):
        found = x.astype(dtype, copy=False)
    if x.dtype.kind == dtype.kind == "f":
        return found
    if not np.isfinite(x).all():
        raise InputError(f"{what} holds NaN or infinity, where {dtype} is needed")
    if (x != np.rint(x)).any():
        raise InputError(f"{what} holds fractions, where {dtype} is needed")
    if (found != x).any():
        raise InputError(f"{what} holds whole numbers that {dtype} does not have")
    return found
