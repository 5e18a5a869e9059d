"""Cells: one kind of table for one victim, computed once and kept, with every score's values.

What a cell is kept under changes with the pictures, the settings, and the sources of `apd`, of
`mad`, and of whatever here has a part in it. A decomposition does not depend on how it is scored,
and is kept by itself (`defenders`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from backdoors import Row
from defenders import Subject
from digests import files_of, source_digest
from images import load, split
from scores import Scores
from victims import Recipe

import apd
import mad
from apd.files import read_json, write_json, write_tensors

OWN = (
    *("adaptive", "anomalies", "architectures", "attacks", "backdoors", "cells", "controls"),
    *(
        "defenders",
        "digests",
        "disturbed",
        "images",
        "matching",
        "nulls",
        "observation",
        "references",
    ),
    *("scores", "trainings", "victims"),
)


class Kind(NamedTuple):
    """A table.

    Attributes:
        name: in the cache too, so another table needs another name.
        compute: one victim's rows, and what they were made of.
    """

    name: str
    compute: Callable[[Subject], tuple[list[Row], Scores]]


@dataclass(frozen=True)
class Benchmark:
    """What all cells have in common.

    Attributes:
        data: the pictures; None for the 8x8 digits.
        cache: where everything is kept.
        config: of the defender's decompositions.
        digest: of the pictures and the sources.
    """

    data: Path | None
    cache: Path
    config: apd.Config
    digest: str

    @classmethod
    def of(cls, data: Path | None, cache: Path, config: apd.Config) -> Benchmark:
        """With the digest of things as they are."""
        pictures = load(data)
        digest = hashlib.sha256(source_digest(sources()).encode())
        digest.update(pictures.images.numpy().tobytes())
        digest.update(pictures.labels.numpy().tobytes())
        return cls(data, cache, config, digest.hexdigest())

    def path(self, recipe: Recipe, kind: Kind, suffix: str) -> Path:
        """Where a cell is kept: the rows as .json, the scores as .safetensors."""
        said = self.digest, self.config.model_dump_json(), recipe.training.settings
        digits = hashlib.sha256(repr(said).encode()).hexdigest()[:12]
        return self.cache / "cells" / f"{kind.name}-{recipe}-{digits}{suffix}"

    def read(self, recipe: Recipe, kind: Kind) -> list[Row] | None:
        """A cell's rows, or None if it is yet to be computed."""
        path = self.path(recipe, kind, ".json")
        return read_json(path)["rows"] if path.exists() else None

    def compute(self, recipe: Recipe, kind: Kind) -> None:
        """Compute a cell and keep it: every score's values, and last the rows."""
        parts = split(load(self.data), recipe.seed)
        rows, scores = kind.compute(Subject.of(parts, recipe, self.config, self.cache))
        tensors = {
            f"{name}|{group}": torch.from_numpy(values)
            for name, told in scores.items()
            for group, values in told.items()
        }
        write_tensors(self.path(recipe, kind, ".safetensors"), tensors)
        named = [{"table": kind.name, **row} for row in rows]
        write_json(self.path(recipe, kind, ".json"), {"rows": named})


def sources() -> list[Path]:
    """The files that decide what a score is."""
    here = Path(__file__).parent
    return [*files_of(apd), *files_of(mad), *(here / f"{name}.py" for name in OWN)]
