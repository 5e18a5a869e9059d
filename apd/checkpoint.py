"""The checkpoint of an unfinished run: one file, replaced whole, enough to go on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import torch
from torch import Tensor

from apd.config import Config
from apd.errors import RunError
from apd.files import read_metadata, read_tensors, write_tensors
from apd.store import components_from, factor_tensors, history_tensor, is_run, steps_from
from apd.target import Target
from apd.training.optimiser import Moments
from apd.training.sparsity import Sparsity
from apd.training.state import Attempt, Training
from apd.training.train import Step

CHECKPOINT = "checkpoint.safetensors"

# raised whenever training comes to take other steps, so that none goes on with another's
TRAINING = 2


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


def write_checkpoint(
    directory: Path, training: Training, steps: Sequence[Step], belongs_to: Mapping[str, str]
) -> None:
    """Save the state of training; until it is whole, the older checkpoint stays.

    So it does where the components are no numbers any more.

    Raises:
        RunError: the directory cannot be written.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in training.components.tensors()):
        return
    tensors = {
        **factor_tensors(training.components),
        "usage": training.usage,
        "sparsity": torch.tensor(astuple(training.sparsity), dtype=torch.float64),
        "attempt": torch.tensor(astuple(training.attempt), dtype=torch.float64),
        "history": history_tensor(steps),
        **moment_tensors(training),
    }
    write_tensors(directory / CHECKPOINT, tensors, belongs_to)


def read_checkpoint(
    directory: Path, target: Target, belongs_to: Mapping[str, str]
) -> tuple[Training, list[Step]]:
    """The training saved in a directory, and its records so far.

    Raises:
        RunError: the checkpoint is damaged, or belongs to another target, reference or settings.
    """
    path = directory / CHECKPOINT
    refuse_other(path, read_metadata(path), belongs_to)
    tensors = {name: t.to(target.device) for name, t in read_tensors(path).items()}
    try:
        steps = steps_from(tensors["history"].cpu())
        began, pace, nearest = tensors["attempt"].tolist()
        training = Training(
            len(steps),
            components_from(tensors, target),
            moments_from(tensors, target),
            tensors["usage"],
            Sparsity(*tensors["sparsity"].tolist()),
            Attempt(int(began), pace, nearest),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} is damaged or of another version; remove it to begin anew"
        ) from error
    return training, steps


def refuse_other(path: Path, found: Mapping[str, str], belongs_to: Mapping[str, str]) -> None:
    """Refuse to go on with what is of something else.

    Raises:
        RunError: the first part that is another.
    """
    for part, value in belongs_to.items():
        if found.get(part) != value:
            raise RunError(f"{path} can only go on with the same {part} as before")


def moment_tensors(training: Training) -> dict[str, Tensor]:
    """Adam's state by name."""
    return {
        f"adam/{name}/{letter}/{site}": tensor
        for site, pair in training.moments.items()
        for letter, moments in zip("UV", pair, strict=True)
        for name, tensor in vars(moments).items()
    }


def moments_from(
    tensors: Mapping[str, Tensor], target: Target
) -> dict[str, tuple[Moments, Moments]]:
    """The moments `moment_tensors` wrote."""

    def moments(name: str) -> Moments:
        return Moments(tensors[f"adam/first/{name}"], tensors[f"adam/second/{name}"])

    return {site: (moments(f"U/{site}"), moments(f"V/{site}")) for site in target.sites}
