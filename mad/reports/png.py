"""Levels as the bytes of a PNG picture, with a palette (PNG, ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH, PALETTE = 8, 3
# colours at even steps from the lowest level to the highest: paper to ink; orange, paper, blue
AMOUNTS = ((255, 255, 255), (120, 150, 180), (10, 20, 50))
SIGNED = ((150, 70, 0), (250, 170, 90), (255, 255, 255), (110, 170, 220), (0, 70, 130))


def png(levels: Sequence[Sequence[int]], *, signed: bool) -> bytes:
    """A picture of levels 0 to 255.

    Args:
        levels: rows from top to bottom.
        signed: whether the middle level stands for zero, and has the colour of paper.
    """
    header = struct.pack(">2I5B", len(levels[0]), len(levels), BIT_DEPTH, PALETTE, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(row) for row in levels)
    return b"".join(
        (
            SIGNATURE,
            chunk(b"IHDR", header),
            chunk(b"PLTE", palette(SIGNED if signed else AMOUNTS)),
            chunk(b"IDAT", zlib.compress(rows, 9)),
            chunk(b"IEND", b""),
        )
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk: length, kind, content, checksum."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def palette(stops: Sequence[tuple[int, int, int]]) -> bytes:
    """256 colours between a few."""
    at = np.linspace(0, len(stops) - 1, 256)
    channels = [np.interp(at, range(len(stops)), channel) for channel in zip(*stops, strict=True)]
    return np.rint(np.stack(channels, 1)).astype(np.uint8).tobytes()
