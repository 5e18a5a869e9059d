"""Whether a network takes whole numbers as such, as tokens are, or wants floats in their place."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import fx, nn

from cli.inputs import Array


def looks_up(module: nn.Module, arrays: Mapping[str, Array]) -> bool:
    """Whether a network looks its whole numbers up.

    It does if it has an embedding, or a call of one where it is an exported graph, or if it fails
    on the first rows as floats and does not on them as whole numbers.

    Args:
        module: the network.
        arrays: its inputs under their names; the name is empty where it takes one.
    """
    called = module.graph.nodes if isinstance(module, fx.GraphModule) else ()
    if any(isinstance(m, nn.Embedding) for m in module.modules()) or any(
        node.target is torch.ops.aten.embedding.default for node in called
    ):
        return True
    return not runs(module, arrays, floats_of(module)) and runs(module, arrays, torch.int64)


def floats_of(module: nn.Module) -> torch.dtype:
    """The floats a network computes in: those of its weights."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def runs(module: nn.Module, arrays: Mapping[str, Array], dtype: torch.dtype) -> bool:
    """Whether a network runs on the first rows, whole numbers being of that type.

    A copy does, as a call may change a module. A number it has no row for is one it looked up.
    """
    rows = {name: torch.as_tensor(array[:2]) for name, array in arrays.items()}
    rows = {n: x.to(dtype) if arrays[n].dtype.kind in "iu" else x for n, x in rows.items()}
    try:
        asked = copy.deepcopy(module)
        with torch.no_grad():
            asked(*rows.values()) if "" in rows else asked(**rows)
    except IndexError:
        return dtype == torch.int64
    except Exception:
        return False
    return True
