"""The inputs a decomposition trusts: which it can use, and which of them it trains on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from apd.config import Config
from apd.errors import ReferenceError
from apd.inputs import tensor_of

FEWEST_ROWS = 2

Reference = Tensor | Mapping[str, Tensor]


def tensors_of(reference: Any) -> Reference:
    """A reference as a tensor, or as tensors by the names of the target's inputs."""
    if isinstance(reference, Mapping):
        return {name: tensor_of(array) for name, array in reference.items()}
    return tensor_of(reference)


def first_rows(reference: Reference) -> Reference:
    """As many rows as it takes to look at a target."""
    if isinstance(reference, Tensor):
        return reference[:FEWEST_ROWS]
    return {name: tensor[:FEWEST_ROWS] for name, tensor in reference.items()}


def spread_over(reference: Shaped[Tensor, "n *shape"], most: int) -> Shaped[Tensor, "some *shape"]:
    """So many of the rows at most, evenly spaced, as references come sorted."""
    return reference[:: max(1, -(-len(reference) // most))]


def check_reference(reference: Reference) -> None:
    """Refuse a reference that cannot be decomposed on.

    Raises:
        ReferenceError: it has fewer than two rows, or some are not finite.
    """
    named = {"the reference": reference} if isinstance(reference, Tensor) else reference
    for name, x in named.items():
        if x.ndim == 0 or len(x) < FEWEST_ROWS:
            raise ReferenceError(f"{name} has too few inputs; at least {FEWEST_ROWS} are needed")
        check_finite(x, f"{name} holds NaN or infinity")


def check_finite(x: Shaped[Tensor, "n ..."], said: str) -> None:
    """Refuse what is not finite.

    Raises:
        ReferenceError: what is said of it, and the first rows of which it is true.
    """
    bad = (~torch.isfinite(x.reshape(len(x), -1)).all(1)).nonzero().flatten().tolist()
    if bad:
        rows = ", ".join(map(str, bad[:10])) + (", ..." if len(bad) > 10 else "")
        raise ReferenceError(f"{said} in rows {rows}")


def training_rows(n: int, config: Config) -> Int[Tensor, "rows"]:
    """The seeded choice of the reference rows to train on, in ascending order."""
    generator = torch.Generator().manual_seed(config.seed)
    return torch.randperm(n, generator=generator)[: training_count(n, config)].sort().values


def training_count(n: int, config: Config) -> int:
    """How many of n reference rows are trained on, two at least."""
    return max(FEWEST_ROWS, round(config.decompose * n))


def fingerprint_of(x: Shaped[Tensor, "n *shape"]) -> str:
    """A hash of inputs: type, shape and every value."""
    digest = hashlib.sha256(f"{x.dtype} {tuple(x.shape)}".encode())
    digest.update(x.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def row_hashes(x: Shaped[Tensor, "n *shape"]) -> Int[Tensor, "n"]:
    """64 bits of every row's values: those of equal rows are equal, whatever the sign of zeros."""
    unsigned = x.cpu() + torch.zeros((), dtype=x.dtype)
    rows = unsigned.contiguous()[:, None].flatten(1).view(torch.uint8).numpy()
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return torch.tensor(np.frombuffer(b"".join(hashes), dtype=np.int64))


def others(x: Shaped[Tensor, "n *shape"], hashes: Int[Tensor, "rows"]) -> Int[np.ndarray, "others"]:
    """The rows that are not among those with these hashes; of equal rows, those beyond as many."""
    left = Counter(hashes.tolist())
    found = list[int]()
    for row, own in enumerate(row_hashes(x).tolist()):
        if left[own]:
            left[own] -= 1
        else:
            found.append(row)
    return np.array(found, dtype=np.int64)
