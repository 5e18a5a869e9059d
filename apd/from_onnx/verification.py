"""Whether an imported network computes what its file says, by another's account."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from jaxtyping import Shaped
from onnx.reference import ReferenceEvaluator

from apd.errors import TargetError
from apd.from_onnx.module import Imported
from apd.from_onnx.read import first

TOLERANCE = 1e-4
ROWS = 64
ERRORS = 3


class Verified(NamedTuple):
    """Whom a network was compared with, and on how many inputs."""

    judge: str
    rows: int


def verify(module: Imported, path: Path, inputs: Shaped[np.ndarray, "n *shape"]) -> Verified:
    """Compare outputs with onnxruntime's, else with those of ONNX's reference implementation.

    Args:
        module: what was read from the file.
        path: the file.
        inputs: any inputs, of which the first `ROWS` finite ones are tried.

    Raises:
        TargetError: an output is off by more than `TOLERANCE` times the largest, or the file
            cannot be run on such inputs.
    """
    finite = np.isfinite(inputs.reshape(len(inputs), -1)).all(1)
    x = torch.as_tensor(inputs[np.flatnonzero(finite)[:ROWS]]).to(module.input_dtype)
    if len(x) == 0:
        raise TargetError(f"{path} cannot be tried out, as no input is finite")
    judge = "onnxruntime" if find_spec("onnxruntime") else "onnx.reference"
    try:
        with torch.no_grad():
            own = module(x).numpy()
    except (TargetError, RuntimeError, ValueError, IndexError, TypeError) as error:
        raise TargetError(
            f"{path} cannot be run on inputs of shape {tuple(x.shape[1:])}: {first(error)}"
        ) from error
    try:
        expected = RUN[judge](path, x.numpy())
    except Exception as error:
        raise TargetError(f"{judge} cannot run {path}: {first(error)}") from error
    check_alike(path, own, expected, judge)
    return Verified(judge, len(x))


def check_alike(
    path: Path, own: Shaped[np.ndarray, "..."], expected: Shaped[np.ndarray, "..."], judge: str
) -> None:
    """Refuse outputs that are not as expected.

    Raises:
        TargetError: with how far off they are.
    """
    if own.shape != expected.shape:
        raise TargetError(f"{path} gives {own.shape} outputs here and {expected.shape} in {judge}")
    off = float(np.abs(own.astype(np.float64) - expected).max())
    if not off <= TOLERANCE * float(np.abs(expected).max()):
        raise TargetError(f"{path} gives other outputs here than in {judge}, by up to {off:.2g}")


def by_onnxruntime(path: Path, x: Shaped[np.ndarray, "n *shape"]) -> Shaped[np.ndarray, "..."]:
    """The outputs of a file by onnxruntime."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS
    session: Any = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def by_reference(path: Path, x: Shaped[np.ndarray, "n *shape"]) -> Shaped[np.ndarray, "..."]:
    """The outputs of a file by the implementation that comes with onnx."""
    run: Any = ReferenceEvaluator(onnx.load(path))
    return run.run(None, {run.input_names[0]: x})[0]


RUN = {"onnxruntime": by_onnxruntime, "onnx.reference": by_reference}
