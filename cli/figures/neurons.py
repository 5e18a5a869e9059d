"""How much every neuron contributes to every feature, in the target and in its component.

APD, arXiv 2501.14926, section 3.2: the contribution of neuron h to feature i is what it reads of
input i times what it writes to output i, (W_in W_E[i])_h (W_U[i] W_out)_h. Of a component it is
what neurons read by it alone and write by all weights: what writes may be another component.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

import apd
from cli.figures.known import is_residual_mlp
from cli.figures.sheet import BLUE, GREY, SIGNED, sheet
from cli.figures.subject import Subject
from toys.residual import Residual, blocks


def missing(subject: Subject) -> str | None:
    """Why there is no such figure, where there is none."""
    return None if is_residual_mlp(subject) else "the target is no residual MLP with known features"


def draw(subject: Subject) -> Figure:
    """The figure."""
    assert subject.toy is not None
    model = cast(Residual, subject.toy.model)
    return compared(of_target(model), of_components(model, subject.run.components, subject.matched))


def of_target(model: Residual) -> Tensor:
    """Contributions [features, neurons], the blocks' neurons one after the other."""
    parts = [(model.W_E @ block.W_in.T) * (model.W_U @ block.W_out) for block in blocks(model)]
    return torch.cat(parts, 1)


def of_components(model: Residual, components: apd.Components, matched: list[int]) -> Tensor:
    """The same of what the one component that goes with each feature reads."""
    own = [components.component(c) for c in matched]
    parts: list[Tensor] = []
    for i, block in enumerate(blocks(model)):
        reads = [c[f"blocks.{i}.W_in"] @ e for c, e in zip(own, model.W_E, strict=True)]
        parts.append(torch.stack(reads) * (model.W_U @ block.W_out))
    return torch.cat(parts, 1)


def compared(target: Tensor, components: Tensor) -> Figure:
    """Every pair of feature and neuron as a dot, and both tables as heat maps."""
    x, y = target.double().numpy(), components.double().numpy()
    correlation = float(np.corrcoef(x.flatten(), y.flatten())[0, 1]) if y.any() else 0.0
    figure = sheet(10.5, 5.2, "Neuron contributions: the target and each feature's component")
    scatter, *maps = figure.subplot_mosaic(
        [["dots", "target"], ["dots", "components"]], width_ratios=(1, 1.15)
    ).values()
    dots(scatter, x, y)
    scatter.set_title(f"{x.size} pairs of feature and neuron, correlation {correlation:.3f}")
    reach = float(max(np.abs(x).max(), np.abs(y).max()))
    images = [
        heat(axis, title, table, reach)
        for axis, title, table in zip(
            maps, ("target", "component of the feature"), (x, y), strict=True
        )
    ]
    maps[-1].set_xlabel("input feature")
    figure.colorbar(images[-1], ax=maps, label="contribution (output per input)")
    return figure


def dots(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """The component's contribution over the target's, with the line where they are equal."""
    axis.axline((0, 0), slope=1, color=GREY, lw=1, ls="--", zorder=0)
    axis.scatter(x, y, s=7, color=BLUE, alpha=0.5, linewidths=0, rasterized=True)
    axis.set_xlabel("contribution in the target (output per input)")
    axis.set_ylabel("contribution in the feature's component (output per input)")


def heat(axis: Axes, title: str, table: np.ndarray, reach: float) -> AxesImage:
    """A table [features, neurons], with a colour scale around zero."""
    axis.set_title(title)
    axis.set_ylabel("neuron")
    axis.grid(visible=False)
    return axis.imshow(
        table.T, cmap=SIGNED, vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest"
    )
