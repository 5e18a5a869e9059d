"""A toy as a directory: safetensors, JSON and plain arrays, nothing in it that can execute.

toy.json                  format version, name, seed, planted mechanism
weights.safetensors       the network's state
reference.npz             x
inputs.npz                x, y, is_anomaly, kind
mechanisms.safetensors    "{index}/{parameter name}", where the mechanisms are known
"""

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

from toys.catalogue import recipe
from toys.errors import ToyError
from toys.fit import initialised
from toys.toy import Labelled, Toy

FORMAT_VERSION = 2
HEADER, WEIGHTS, REFERENCE, INPUTS, MECHANISMS = FILES = (
    "toy.json",
    "weights.safetensors",
    "reference.npz",
    "inputs.npz",
    "mechanisms.safetensors",
)


def save(toy: Toy, directory: Path | str) -> None:
    """Writes `toy` to `directory`, which appears whole or not at all; a toy there is replaced.

    Raises:
        ToyError: if something other than a toy is there, or it cannot be written.
    """
    directory = Path(os.path.realpath(directory))
    staging = directory.with_name(f".{directory.name}.{uuid4().hex}")
    retired = staging.with_name(f"{staging.name}.retired")
    try:
        _check_replaceable(directory)
        staging.mkdir(parents=True)
        _write(toy, staging)
        if directory.exists():
            directory.rename(retired)
        staging.rename(directory)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ToyError(f"{directory} cannot be written: {reason}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(retired, ignore_errors=True)


def load(directory: Path | str) -> Toy:
    """The toy that `save` wrote to `directory`, without training it again.

    Raises:
        ToyError: if the directory does not hold one that is whole.
    """
    directory = Path(directory)
    name, seed, planted = _header(directory / HEADER)
    inputs = _arrays(directory / INPUTS, x="f4", y="i8", is_anomaly="b1", kind="U")
    return Toy(
        name=name,
        seed=seed,
        model=_model(name, seed, directory / WEIGHTS),
        reference=torch.tensor(_arrays(directory / REFERENCE, x="f4")["x"]),
        inputs=Labelled(
            x=torch.tensor(inputs["x"]),
            y=torch.tensor(inputs["y"]),
            is_anomaly=torch.tensor(inputs["is_anomaly"]),
            kind=tuple(map(str, inputs["kind"])),
        ),
        mechanisms=_mechanisms(directory / MECHANISMS),
        planted=planted,
    )


def _check_replaceable(directory: Path) -> None:
    if Path.cwd().is_relative_to(directory):
        raise ToyError(f"{directory} holds the working directory, so a toy cannot take its place.")
    if not directory.exists():
        return
    there = {path.name for path in directory.iterdir()} if directory.is_dir() else {"a file"}
    if there and not {HEADER} <= there <= set(FILES):
        raise ToyError(f"{directory} holds something other than a toy and is left as it is.")


def _write(toy: Toy, directory: Path) -> None:
    header = {
        "format_version": FORMAT_VERSION,
        "name": toy.name,
        "seed": toy.seed,
        "planted": toy.planted,
    }
    (directory / HEADER).write_text(json.dumps(header, indent=2) + "\n")
    save_file(_contiguous(toy.model.state_dict()), directory / WEIGHTS)
    np.savez_compressed(directory / REFERENCE, x=toy.reference.numpy(force=True))
    np.savez_compressed(
        directory / INPUTS,
        x=toy.inputs.x.numpy(force=True),
        y=toy.inputs.y.numpy(force=True),
        is_anomaly=toy.inputs.is_anomaly.numpy(force=True),
        kind=np.array(toy.inputs.kind, dtype=np.str_),
    )
    if toy.mechanisms:
        save_file(
            _contiguous(
                {
                    f"{index}/{name}": tensor
                    for index, mechanism in enumerate(toy.mechanisms)
                    for name, tensor in mechanism.items()
                }
            ),
            directory / MECHANISMS,
        )


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


@contextmanager
def _reading(path: Path) -> Generator[None]:
    """Turns whatever a parser makes of damaged bytes into one sentence about the file."""
    try:
        yield
    except ToyError:
        raise
    except FileNotFoundError as error:
        raise ToyError(f"{path} is missing, so {path.parent} does not hold a toy.") from error
    except Exception as error:
        raise ToyError(f"{path} is damaged or was not written by toys.save.") from error


def _header(path: Path) -> tuple[str, int, int | None]:
    with _reading(path):
        match json.loads(path.read_text()):
            case {"format_version": int(version)} if version != FORMAT_VERSION:
                raise ToyError(
                    f"{path} has format version {version}; this package reads {FORMAT_VERSION}."
                )
            case {
                "format_version": int(),
                "name": str(name),
                "seed": int(seed),
                "planted": int() | None as planted,
            }:
                return name, seed, planted
            case _:
                raise ValueError


def _model(name: str, seed: int, path: Path) -> nn.Module:
    model = initialised(partial(recipe(name).architecture, seed), 0)
    with _reading(path):
        model.load_state_dict(load_file(path))
    return model.eval().requires_grad_(False)


def _arrays(path: Path, **dtypes: str) -> dict[str, NDArray[Any]]:
    """The named arrays of an .npz file, equally long, of the stated dtypes ("U": any text)."""
    with _reading(path), path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        arrays = {key: file[key] for key in dtypes}
        if len({len(array) for array in arrays.values()}) > 1:
            raise ValueError
        if any(arrays[key].dtype.type is not np.dtype(dtype).type for key, dtype in dtypes.items()):
            raise ValueError
    return arrays


def _mechanisms(path: Path) -> list[dict[str, Tensor]]:
    if not path.exists():
        return []
    with _reading(path):
        found: dict[int, dict[str, Tensor]] = {}
        for key, tensor in load_file(path).items():
            index, name = key.split("/")
            found.setdefault(int(index), {})[name] = tensor
        return [found[index] for index in range(len(found))]
