"""The checkpoint of an unfinished run: one file, replaced whole, enough to go on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from torch import Tensor

from apd.assembly import Found
from apd.components import Components
from apd.config import Config
from apd.errors import RunError
from apd.files import read_metadata, read_tensors, write_tensors
from apd.store import factor_tensors, factors_from, history_tensors, is_run, steps_from
from apd.target import Target
from apd.training.optimiser import Moments
from apd.training.sparsity import Sparsity
from apd.training.state import Attempt, Training
from apd.training.train import Step

CHECKPOINT = "checkpoint.safetensors"

# raised whenever training comes to take other steps, so that none goes on with another's
TRAINING = 8


def is_unfinished(directory: Path | str) -> bool:
    """Whether a checkpoint is there, and no finished run."""
    return (Path(directory) / CHECKPOINT).is_file() and not is_run(directory)


def identity(target: Target, reference_fingerprint: str, config: Config) -> dict[str, str]:
    """What a checkpoint belongs to; training goes on only where all of it is the same."""
    settings = config.model_dump(mode="json")
    return {
        "version of training": str(TRAINING),
        "target": target.fingerprint,
        "reference": reference_fingerprint,
        **{f"setting {name!r}": json.dumps(value) for name, value in settings.items()},
    }


@dataclass
class Progress:
    """How far a decomposition has got; changed in place.

    Attributes:
        found: the weights that are done with.
        training: of the weight after those; None before its first step.
        steps: every record so far.
    """

    found: dict[str, Found]
    training: Training | None
    steps: list[Step]


def version_there(directory: Path) -> tuple[int, int] | None:
    """Which checkpoint is there: another whenever one is written, None where there is none."""
    try:
        found = (directory / CHECKPOINT).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def write_checkpoint(
    directory: Path,
    progress: Progress,
    belongs_to: Mapping[str, str],
    before: tuple[int, int] | None,
) -> None:
    """Save how far a decomposition has got; until it is whole, the older checkpoint stays.

    So it does where the components are no numbers any more.

    Args:
        directory: where to.
        progress: how far.
        belongs_to: what of.
        before: the version that is to be there; if another is, somebody else is at work there.

    Raises:
        RunError: the directory cannot be written, or somebody else writes to it.
    """
    if version_there(directory) != before:
        raise RunError(f"another decomposition is under way in {directory}; this one stops")
    tensors = {**found_tensors(progress.found), **history_tensors(progress.steps)}
    kinds = {site: found.kind for site, found in progress.found.items()}
    if progress.training is not None:
        if not all(bool(t.isfinite().all()) for t in progress.training.components.tensors()):
            return
        tensors |= training_tensors(progress.training)
    write_tensors(directory / CHECKPOINT, tensors, {**belongs_to, "kinds": json.dumps(kinds)})


def read_checkpoint(directory: Path, target: Target, belongs_to: Mapping[str, str]) -> Progress:
    """How far the decomposition in a directory has got.

    Raises:
        RunError: the checkpoint is damaged, or belongs to another target, reference or settings.
    """
    path = directory / CHECKPOINT
    metadata = read_metadata(path)
    refuse_other(path, metadata, belongs_to)
    tensors = {name: t.to(target.device) for name, t in read_tensors(path).items()}
    try:
        found = found_from(tensors, json.loads(metadata["kinds"]))
        steps = steps_from(tensors, target.sites)
        training = training_from(tensors, target) if "usage" in tensors else None
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} is damaged or of another version; remove it to begin anew"
        ) from error
    return Progress(found, training, steps)


def refuse_other(path: Path, found: Mapping[str, str], belongs_to: Mapping[str, str]) -> None:
    """Refuse to go on with what is of something else.

    Raises:
        RunError: the first part that is another.
    """
    for part, value in belongs_to.items():
        if found.get(part) != value:
            raise RunError(f"{path} can only go on with the same {part} as before")


def found_tensors(found: Mapping[str, Found]) -> dict[str, Tensor]:
    """What is done with, by name."""
    active = {f"active/{site}": torch.tensor(own.active).double() for site, own in found.items()}
    return active | factor_tensors({f"found/{site}": own.factors for site, own in found.items()})


def found_from(tensors: Mapping[str, Tensor], kinds: Mapping[str, str]) -> dict[str, Found]:
    """What `found_tensors` wrote, and what kind of parts these are."""
    factors = factors_from(tensors, [f"found/{site}" for site in kinds])
    return {
        site: Found(factors[f"found/{site}"], float(tensors[f"active/{site}"]), kind)
        for site, kind in kinds.items()
    }


def training_tensors(training: Training) -> dict[str, Tensor]:
    """A training's state by name."""
    return {
        **factor_tensors(training.components.factors),
        "step": torch.tensor(training.step),
        "usage": training.usage,
        "sparsity": torch.tensor(astuple(training.sparsity), dtype=torch.float64),
        "attempt": torch.tensor(astuple(training.attempt), dtype=torch.float64),
        **{
            f"adam/{name}/{letter}/{site}": tensor
            for site, pair in training.moments.items()
            for letter, moments in zip("UV", pair, strict=True)
            for name, tensor in vars(moments).items()
        },
    }


def training_from(tensors: Mapping[str, Tensor], target: Target) -> Training:
    """The training `training_tensors` wrote."""
    (site,) = [site for site in target.sites if f"U/{site}" in tensors]
    began, pace, nearest = tensors["attempt"].tolist()

    def moments(name: str) -> Moments:
        return Moments(tensors[f"adam/first/{name}"], tensors[f"adam/second/{name}"])

    return Training(
        int(tensors["step"]),
        Components.of(factors_from(tensors, [site])),
        {site: (moments(f"U/{site}"), moments(f"V/{site}"))},
        tensors["usage"],
        Sparsity(*tensors["sparsity"].tolist()),
        Attempt(int(began), pace, nearest),
    )
