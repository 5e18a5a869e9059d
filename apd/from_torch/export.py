"""A module's calls as `torch.export` records them: composites kept, any number of inputs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from apd.errors import TargetError

aten = torch.ops.aten

FIXED = (
    "the target takes one number of inputs at a time; any must do, as with x.shape[0] in place of "
    "len(x), int(x.shape[0]) or a number"
)

# recurrent layers are unrolled into the calls of their steps
UNROLLED = (
    *(aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input),
    *(aten.lstm_cell.default, aten.gru_cell.default),
    *(aten.rnn_tanh_cell.default, aten.rnn_relu_cell.default),
)


def returned_by(module: nn.Module, inputs: Tensor | Mapping[str, Tensor]) -> Any:
    """What a module makes of its one input, or of its named ones.

    Raises:
        TargetError: it fails.
    """
    try:
        with silence(), torch.no_grad():
            return module(inputs) if isinstance(inputs, Tensor) else module(**inputs)
    except Exception as error:
        raise TargetError(f"the target fails on {words(inputs)}: {reason(error)}") from error


def words(inputs: Tensor | Mapping[str, Tensor]) -> str:
    """Inputs in words."""
    if isinstance(inputs, Tensor):
        return f"{inputs.dtype} inputs of shape {tuple(inputs.shape)}"
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in inputs.items())


def export(module: nn.Module, example: Shaped[Tensor, "n *shape"]) -> ExportedProgram:
    """What a module in evaluation mode computes.

    Args:
        module: of one input and one output.
        example: two or more inputs; their number is free in what is returned.

    Raises:
        TargetError: the module cannot be followed, or takes one number of inputs at a time.
    """
    try:
        program = followed(module, example, strict=False)
    except Exception as error:
        what = words(example)
        raise TargetError(f"the target cannot be traced on {what}: {reason(error)}") from error
    return program if is_free(program) else seen_through(module, example)


def seen_through(module: nn.Module, example: Shaped[Tensor, "n *shape"]) -> ExportedProgram:
    """What a module computes that fixes the number of inputs unless Python is traced as well.

    Raises:
        TargetError: it fixes their number even so.
    """
    try:
        program = followed(module, example, strict=True)
    except Exception as error:
        raise TargetError(FIXED) from error
    if not is_free(program):
        raise TargetError(FIXED)
    return program


def followed(
    module: nn.Module, example: Shaped[Tensor, "n *shape"], strict: bool
) -> ExportedProgram:
    """The program; in strict mode Python's own functions, like `len`, are traced as well."""
    table = torch.export.default_decompositions()
    with silence(), torch.no_grad():
        free = ({0: torch.export.Dim.AUTO},)
        program = torch.export.export(module, (example,), dynamic_shapes=free, strict=strict)
        return program.run_decompositions({op: table[op] for op in UNROLLED})


def is_free(program: ExportedProgram) -> bool:
    """Whether a program takes any number of inputs at a time."""
    n = count(program)
    return isinstance(n, torch.SymInt) and bool(n.node.expr.free_symbols)


def count(program: ExportedProgram) -> Any:
    """How many inputs a program takes at a time."""
    first, *_ = program.graph_signature.user_inputs
    return next(n for n in program.graph.nodes if n.name == first).meta["val"].shape[0]


def reason(error: Exception) -> str:
    """Why a module cannot be followed, in one line."""
    if isinstance(error, GuardOnDataDependentSymNode):
        return (
            "its forward branches or loops on the values of its inputs, and only one course of "
            "calls can be recorded (torch.where chooses between values)"
        )
    return str(error).strip().partition("\n")[0]


@contextmanager
def silence() -> Generator[None]:
    """Keep torch from warning of, logging and printing what is raised as well."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
