"""Keeping freed memory for the next step."""

from __future__ import annotations

import torch

LARGEST = 31 * 2**20


def keep_freed_memory() -> None:
    """Have the C library keep freed memory instead of giving it back to the system every time.

    A step allocates and frees the same few megabytes over and over. glibc takes blocks of that size
    from the system and gives them back at once, and every page has to be faulted in and zeroed
    again. It stops doing so for blocks as large as the largest it has seen freed, up to 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD), so one is freed here, untouched. Elsewhere this does nothing.
    """
    torch.empty(LARGEST, dtype=torch.uint8)
