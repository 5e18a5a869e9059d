"""Networks out of `.pt2` files, which `torch.export.save` writes and which hold pickles."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from apd.errors import TargetError
from apd.from_torch.export import reason, silence


def load_exported(path: Path) -> nn.Module:
    """Read an exported network. Reading it can execute what its author put there: only for trust.

    Args:
        path: what `torch.export.save` wrote, in evaluation mode and for any number of inputs.

    Raises:
        TargetError: there is no such file, or it is no exported network.
    """
    try:
        with silence():
            module = torch.export.load(path).module()
    except Exception as error:
        raise TargetError(f"{path} cannot be loaded by torch.export: {reason(error)}") from error
    for node in module.graph.nodes:
        node.meta.clear()  # example tensors of no content, which cannot be copied
    return module
