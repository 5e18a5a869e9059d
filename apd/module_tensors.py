"""Tensors in a module under dotted names, as its `state_dict` has them."""

from __future__ import annotations

from torch import Tensor, nn


def hold(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Give a module a parameter, or a buffer where the tensor is none, under a dotted name."""
    path, _, leaf = name.rpartition(".")
    holder = submodule(module, path)
    if isinstance(tensor, nn.Parameter):
        holder.register_parameter(leaf, tensor)
    else:
        holder.register_buffer(leaf, tensor)


def submodule(module: nn.Module, path: str) -> nn.Module:
    """The module at a dotted path; it and those on the way are made where they are missing."""
    for name in path.split(".") if path else ():
        if name not in dict(module.named_children()):
            module.add_module(name, nn.Module())
        module = module.get_submodule(name)
    return module
