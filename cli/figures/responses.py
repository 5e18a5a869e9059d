"""The output of a feature as its input goes from 0 to 1, with components kept and removed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from cli.figures.known import features_of
from cli.figures.panels import panels, rows_of
from cli.figures.sheet import BLUE, ORANGE, sheet
from cli.figures.subject import Subject

POINTS = 41
FEATURES, ACROSS = 6, 3
FEW = 3
# colour, width, dashes and name of each line, in the order of a response's outputs
LINES = (
    ("#b0b0b0", 4.0, "-", "target"),
    (BLUE, 1.5, "-", "active components alone"),
    (ORANGE, 1.5, "--", "matched component removed"),
)


class Response(NamedTuple):
    """One feature's output along its input.

    Attributes:
        feature: its number.
        used: the components active where it is alone.
        matched: the component most like it.
        target, active, ablated: outputs of the target, of `used` alone, of all but `matched`.
    """

    feature: int
    used: list[int]
    matched: int
    target: Tensor
    active: Tensor
    ablated: Tensor


def missing(subject: Subject) -> str | None:
    """Why there is no such figure, where there is none."""
    if not features_of(subject):
        return "the target is no toy that has an output for every input feature"
    return None if shown(subject) else "no input exercises one feature and no other"


def draw(subject: Subject) -> Figure:
    """The figure."""
    return of_responses([response(subject, feature) for feature in shown(subject)])


def shown(subject: Subject) -> list[int]:
    """A few features that inputs exercise alone."""
    there = subject.alone[:, : features_of(subject)].any(0).nonzero().flatten().tolist()
    return there[:FEATURES]


def sweep() -> Tensor:
    """What the input of a feature is set to."""
    return torch.linspace(0, 1, POINTS)


def response(subject: Subject, feature: int) -> Response:
    """The outputs of one feature, all other inputs being 0."""
    run = subject.run
    x = torch.zeros(POINTS, *run.input_shape)
    x[:, feature] = sweep()
    x = run.target.prepare(x)
    used, matched = subject.used[feature], subject.matched[feature]
    networks = (run.target, run.only(used), run.ablate([matched]))
    with torch.no_grad():
        outputs = [network(x)[:, feature].double() for network in networks]
    return Response(feature, used, matched, *outputs)


def of_responses(responses: list[Response]) -> Figure:
    """A panel for every feature."""
    figure = sheet(
        9.5,
        2.6 * rows_of(len(responses), ACROSS) + 0.8,
        "Feature responses with components kept and removed",
    )
    axes = panels(figure, len(responses), ACROSS)
    x = sweep().numpy()
    for axis, found in zip(axes, responses, strict=True):
        outputs = (found.target, found.active, found.ablated)
        for y, (colour, width, line, label) in zip(outputs, LINES, strict=True):
            axis.plot(x, y, color=colour, lw=width, ls=line, label=label)
        axis.set_title(
            f"feature {found.feature}\nactive: {few(found.used)}; matched: {found.matched}",
            fontsize=8,
        )
    figure.supxlabel("input of the feature, all others 0 (input units)", fontsize=9)
    figure.supylabel("its output (output units)", fontsize=9)
    axes[0].legend(loc="upper left", fontsize=8)
    return figure


def few(components: list[int]) -> str:
    """The first components' numbers, and how many more there are."""
    if not components:
        return "none"
    more = f" and {len(components) - FEW} more" * (len(components) > FEW)
    return ", ".join(map(str, components[:FEW])) + more
