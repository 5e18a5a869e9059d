"""Making a target's module from its name: `package.module:factory`, with weights as safetensors."""

from __future__ import annotations

import importlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from apd.errors import TargetError


def load_factory(name: str, weights: Path | None) -> nn.Module:
    """Call a module's function of no arguments, and load weights into what it returns.

    Args:
        name: `package.module:factory`.
        weights: a safetensors file with the module's state, or None to keep what the factory made.

    Raises:
        TargetError: there is no such function, it fails, it does not return an `nn.Module`, or the
            weights are missing, damaged or do not fit.
    """
    path, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(path), attribute)
    except Exception as error:
        raise TargetError(f"{name!r} cannot be imported: {error}") from error
    try:
        module = factory()
    except Exception as error:
        raise TargetError(f"{name} failed: {error}") from error
    if not isinstance(module, nn.Module):
        raise TargetError(f"{name} returned {type(module).__name__}; a torch.nn.Module is needed")
    if weights is not None:
        load_weights(module, weights)
    return module


def load_weights(module: nn.Module, weights: Path) -> None:
    """Load a safetensors file into a module, every tensor of it.

    Raises:
        TargetError: the file is missing, damaged, or does not fit.
    """
    try:
        load_model(module, weights)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        summary = " ".join(str(error).split())
        raise TargetError(f"the weights {weights} do not fit the target: {summary}") from error
