"""The pictures that the classifiers of the detection benchmark read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.datasets import load_digits
from torch import Tensor

TRAINING, REFERENCE = 0.5, 0.3


@dataclass(frozen=True)
class Images:
    """Pictures of digits.

    Attributes:
        images: brightness in [0, 1].
        labels: which digit each shows.
    """

    images: Float[Tensor, "n side side"]
    labels: Int64[Tensor, " n"]

    @property
    def side(self) -> int:
        return self.images.shape[-1]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> Images:
        """Those of the given row numbers or mask."""
        return Images(self.images[rows], self.labels[rows])


class Parts(NamedTuple):
    """Disjoint parts: what the attacker trains on, what the defender trusts, what neither saw."""

    training: Images
    reference: Images
    test: Images


def load(path: Path | None) -> Images:
    """An .npz with `images` [n, side, side] uint8 and `labels`; without one, the 8x8 digits.

    The digits are scikit-learn's, with brightness 0 to 16.
    """
    if path is None:
        digits = load_digits()
        return of_arrays(digits.images / 16, digits.target)
    with np.load(path) as file:
        return of_arrays(file["images"] / 255, file["labels"])


def of_arrays(images: np.ndarray, labels: np.ndarray) -> Images:
    """Brightness in [0, 1] and labels, in torch's types."""
    return Images(
        torch.tensor(images, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64)
    )


def split(data: Images, seed: int) -> Parts:
    """Half to train on, three tenths to trust, and the rest to test, shuffled by `seed`."""
    n = len(data)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    cuts = [round(TRAINING * n), round((TRAINING + REFERENCE) * n)]
    return Parts(*(data[rows] for rows in order.tensor_split(cuts)))
