"""What is said of a network that comes in training mode; it is decomposed as in evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def say(module: nn.Module) -> None:
    """Say so where a network would compute something else in the mode it is in."""
    from torch import nn

    from cli import console

    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    dropouts = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    kinds = {"batch norm": norms, "dropout": dropouts}
    found = [
        name
        for name, kind in kinds.items()
        if any(isinstance(m, kind) and m.training for m in module.modules())
    ]
    if found:
        them = " and ".join(found)
        console.say(
            console.screen(), f"The network is in training mode; {them} will be as in evaluation."
        )
