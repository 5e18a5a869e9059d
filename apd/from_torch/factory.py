"""Making a target's module from its name: `package.module:factory`, with weights as safetensors."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from apd.errors import TargetError

NAMED = 3


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
    except (Exception, SystemExit) as error:
        raise TargetError(f"{name!r} cannot be imported: {what(error)}") from error
    try:
        module = factory()
    except (Exception, SystemExit) as error:
        raise TargetError(f"{name} failed: {what(error)}") from error
    if not isinstance(module, nn.Module):
        raise TargetError(f"{name} returned {type(module).__name__}; a torch.nn.Module is needed")
    if weights is not None:
        load_weights(module, weights)
    return module


def what(error: BaseException) -> str:
    """An error of somebody else's code in words."""
    text = str(error)
    if isinstance(error, SystemExit):
        return f"it exits ({text})" if text else "it exits"
    return text or type(error).__name__


def load_weights(module: nn.Module, weights: Path) -> None:
    """Load a safetensors file into a module, every tensor of it.

    One that is tied to others may be given under any of their names.

    Raises:
        TargetError: the file is missing, damaged, or does not fit.
    """
    try:
        tensors = load_file(weights)
        wrong = list(misfits(tensors, module.state_dict()))
        if not wrong:
            module.load_state_dict(tensors, strict=False)
    except FileNotFoundError as error:
        raise TargetError(f"there are no weights at {weights}") from error
    except SafetensorError as error:
        raise TargetError(
            f"{weights} is no whole safetensors file ({error}); write one with "
            "safetensors.torch.save_file(module.state_dict(), ...)"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        wrong = [" ".join(str(error).split())]
    if wrong:
        more = f" (and {len(wrong) - NAMED} more)" if len(wrong) > NAMED else ""
        raise TargetError(
            f"the weights {weights} do not fit the target: {'; '.join(wrong[:NAMED])}{more}"
        )


def misfits(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterator[str]:
    """Everything that keeps tensors from being a module's state, in words."""
    given = {state[name].data_ptr() for name in tensors if name in state}
    for name, own in state.items():
        if name not in tensors and own.data_ptr() not in given:
            yield f"they lack {name}"
    for name, tensor in tensors.items():
        if name not in state:
            yield f"the target has no {name}"
        elif tensor.shape != state[name].shape:
            yield f"{name} is {tuple(tensor.shape)}, the target's {tuple(state[name].shape)}"
        elif tensor.is_floating_point() != state[name].is_floating_point():
            yield f"{name} holds {tensor.dtype}, the target's {state[name].dtype}"
