"""Inputs and directions as drawings: an image, a series or a list of tokens; or nothing."""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray

from mad.reports.model import Drawing, Image, Series, Tokens

SMALLEST_SQUARE = 16
CHANNELS = (1, 2, 3, 4)
LARGE, SMALL = 64, 32
POINTS = 128
IDS = 48
LEVELS = 255


def drawn(x: Shaped[np.ndarray, "*shape"], side: int = LARGE) -> Drawing | None:
    """A drawing of one input, where there is a way to draw it.

    Whole numbers in a row are tokens. Other numbers are an image where they have two axes, or three
    of which one counts up to four channels (drawn by their mean), or one of square length; else
    those with one axis are a series. Axes of length one do not count.

    Args:
        x: the input, finite.
        side: the largest height and width of an image; larger ones are shrunk by means.
    """
    x = x.squeeze()
    if x.ndim <= 1 and x.dtype.kind in "iu":
        return tokens(x.reshape(-1))
    plane = as_plane(x)
    if plane is not None:
        return image(plane, side, signed=False)
    return series(x) if x.ndim == 1 else None


def direction(
    v: Float[np.ndarray, "*own"], shape: tuple[int, ...], side: int = SMALL
) -> Drawing | None:
    """A drawing of a direction that is read, with 0 in the middle of an image's colours.

    Args:
        v: the direction, or a patch of channels that is read wherever it fits.
        shape: of an input, in which a direction is drawn where it has as many numbers; others are
            series, as the order of neurons tells nothing.
        side: the largest height and width of an image.
    """
    plane = as_plane(v.reshape(shape).squeeze()) if v.size == np.prod(shape) else patch(v)
    return image(plane, side, signed=True) if plane is not None else series(v)


def patch(v: Float[np.ndarray, "*own"]) -> Float[np.ndarray, "h w"] | None:
    """The channel of a patch that counts for most, or None of what has no rows and columns."""
    if v.ndim != 3 or min(v.shape[1:]) == 1:
        return None
    return v[np.square(v).sum((1, 2)).argmax()]


def as_plane(x: NDArray[Any]) -> Float[np.ndarray, "h w"] | None:
    """The numbers of an image in rows, or None where they are none."""
    if x.ndim == 1 and x.size >= SMALLEST_SQUARE and isqrt(x.size) ** 2 == x.size:
        x = x.reshape(isqrt(x.size), -1)
    if x.ndim == 3 and min(x.shape[0], x.shape[2]) in CHANNELS:
        x = x.astype(np.float64).mean(0 if x.shape[0] in CHANNELS else 2)
    return x.astype(np.float64) if x.ndim == 2 else None


def image(plane: Float[np.ndarray, "h w"], side: int, *, signed: bool) -> Image:
    """An image, in 256 levels between its least and its greatest value."""
    plane = shrunk(shrunk(plane, side).T, side).T
    high = float(np.abs(plane).max() if signed else plane.max())
    low = -high if signed else float(plane.min())
    scaled = (plane / 2 - low / 2) / max(high / 2 - low / 2, np.finfo(np.float64).tiny)
    levels = np.rint(LEVELS * scaled if high > low else np.full_like(plane, LEVELS / 2 * signed))
    return Image(
        levels=tuple(tuple(row) for row in levels.astype(int).tolist()),
        low=low,
        high=high,
        signed=signed,
    )


def shrunk(x: Float[np.ndarray, "n ..."], most: int) -> Float[np.ndarray, "_ ..."]:
    """The means of as many consecutive parts, where there are more numbers than that."""
    if len(x) <= most:
        return x
    return np.stack([part.mean(0) for part in np.array_split(x, most)])


def series(x: NDArray[Any]) -> Series:
    """Numbers in a row."""
    values = shrunk(x.reshape(-1).astype(np.float64), POINTS)
    return Series(values=tuple(values.tolist()), length=x.size)


def tokens(ids: Int[np.ndarray, "n"]) -> Tokens:
    """Whole numbers in a row."""
    return Tokens(ids=tuple(ids[:IDS].tolist()), length=len(ids))
