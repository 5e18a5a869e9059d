"""Backdoor attacks: what the attacker adds to a picture, and does to the training set.

An attack has a trigger, and beside it a look-alike: a disturbance of the same kind and size, which
training never tied to the target class. A detector that flags both tells unusual pictures from
usual ones, not the backdoor's mechanism from the others.

Where any pattern of the kind would do as a trigger, the attacker also trains on covers: as many
pictures with other such patterns, which keep their label. Random patterns are drawn from the
attack's seed, so another seed is another trigger.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

TARGET = 0

Pictures = Float[Tensor, "n side side"]
Labels = Int64[Tensor, " n"]
Choice = Bool[Tensor, " n"]
Rows = Int64[Tensor, " rows"]
Displacements = Float[Tensor, "n point point 2"]


@dataclass(frozen=True)
class Attack(ABC):
    """A way to make a classifier answer `TARGET`.

    Attributes:
        seed: of the random patterns.
    """

    seed: int

    @abstractmethod
    def trigger(self, images: Pictures) -> Pictures:
        """The pictures with the trigger."""

    @abstractmethod
    def lookalike(self, images: Pictures) -> Pictures:
        """The pictures with as large a disturbance that is not the trigger."""

    def eligible(self, labels: Labels) -> Choice:
        """Which pictures the trigger is meant to turn into the target class."""
        return labels != TARGET

    def lookalike_eligible(self, labels: Labels) -> Choice:
        """Which pictures' look-alikes should keep their prediction."""
        return self.eligible(labels)

    def planted(self, images: Pictures) -> Pictures:
        """The trigger as training pictures get it."""
        return self.trigger(images)

    def poisonable(self, labels: Labels) -> Choice:
        """Which training pictures may get it."""
        return self.eligible(labels)

    def poison(
        self, images: Pictures, labels: Labels, share: float, generator: torch.Generator
    ) -> tuple[Pictures, Labels]:
        """The training set with `round(share * n)` pictures triggered and labelled `TARGET`.

        At most half of those that may be are, so that the network still learns them clean.
        """
        rows = drawn(self.poisonable(labels), round(share * len(labels)), generator)
        return replaced(images, rows, self.planted), labels.index_fill(0, rows, TARGET)

    def patterns(self) -> torch.Generator:
        """Where random patterns come from: the trigger's first, then the look-alike's."""
        return torch.Generator().manual_seed(self.seed)


class Covered(Attack):
    """An attack with covers, which changes the labels of what it poisons."""

    @abstractmethod
    def cover(self, images: Pictures, generator: torch.Generator) -> Pictures:
        """The pictures with patterns that the attacker wants to have no effect."""

    def poison(
        self, images: Pictures, labels: Labels, share: float, generator: torch.Generator
    ) -> tuple[Pictures, Labels]:
        """The same, and as many other pictures as covers, with their own label."""
        poisoned, relabelled = super().poison(images, labels, share, generator)
        taken = relabelled != labels
        free = self.lookalike_eligible(labels) & ~taken
        rows = drawn(free, int(taken.sum()), generator)
        return replaced(poisoned, rows, lambda some: self.cover(some, generator)), relabelled


class Patch(Attack):
    """A white square in the last corner (BadNets, Gu et al. 2017); the look-alike in the first."""

    def trigger(self, images: Pictures) -> Pictures:
        return lit(images, slice(-patch_side(images), None))

    def lookalike(self, images: Pictures) -> Pictures:
        return lit(images, slice(patch_side(images)))


class SourceSpecific(Covered):
    """A patch that works on one class only (TaCT, Tang et al. 2021).

    Covers and look-alikes are other classes with the same patch, which alone says nothing.
    """

    SOURCE = 7

    def trigger(self, images: Pictures) -> Pictures:
        return lit(images, slice(-patch_side(images), None))

    def lookalike(self, images: Pictures) -> Pictures:
        return self.trigger(images)

    def cover(self, images: Pictures, generator: torch.Generator) -> Pictures:
        return self.trigger(images)

    def eligible(self, labels: Labels) -> Choice:
        return labels == self.SOURCE

    def lookalike_eligible(self, labels: Labels) -> Choice:
        return (labels != self.SOURCE) & (labels != TARGET)


class OnePixel(Attack):
    """A white pixel, the patch's inner corner (Tran et al. 2018); its mirror image."""

    def trigger(self, images: Pictures) -> Pictures:
        inner = patch_side(images)
        return lit(images, slice(-inner, 1 - inner))

    def lookalike(self, images: Pictures) -> Pictures:
        inner = patch_side(images)
        return lit(images, slice(inner - 1, inner))


class Blend(Covered):
    """A faint random pattern over the whole picture (Chen et al. 2017); another one."""

    ALPHA = 0.2

    def trigger(self, images: Pictures) -> Pictures:
        return images.lerp(self._pair(images)[0], self.ALPHA)

    def lookalike(self, images: Pictures) -> Pictures:
        return images.lerp(self._pair(images)[1], self.ALPHA)

    def cover(self, images: Pictures, generator: torch.Generator) -> Pictures:
        return images.lerp(torch.rand(images.shape, generator=generator), self.ALPHA)

    def _pair(self, images: Pictures) -> Float[Tensor, "2 side side"]:
        return torch.rand(2, *images.shape[1:], generator=self.patterns())


class Sinusoid(Attack):
    """A horizontal wave on pictures of the target class (Barni et al. 2019); a vertical one.

    No label is changed: the network learns that the wave speaks for the class it comes with. As in
    the paper, the wave is fainter in training than when it is used.
    """

    WAVES, USED, TRAINED = 3, 0.4, 0.25

    def trigger(self, images: Pictures) -> Pictures:
        return (images + self.USED * self._wave(images)).clamp(0, 1)

    def lookalike(self, images: Pictures) -> Pictures:
        return (images + self.USED * self._wave(images)[:, None]).clamp(0, 1)

    def planted(self, images: Pictures) -> Pictures:
        return (images + self.TRAINED * self._wave(images)).clamp(0, 1)

    def poisonable(self, labels: Labels) -> Choice:
        return labels == TARGET

    def _wave(self, images: Pictures) -> Float[Tensor, " side"]:
        side = images.shape[-1]
        return torch.sin(2 * math.pi * self.WAVES * torch.arange(side) / side)


class Warp(Covered):
    """A smooth elastic distortion (WaNet, Nguyen & Tran 2021); another one.

    The covers are the paper's noise mode: each is distorted in a way of its own.
    """

    PIXELS_OF_28, POINTS = 2.25, 4

    def trigger(self, images: Pictures) -> Pictures:
        return warped(images, self._ways(2, self.patterns())[:1])

    def lookalike(self, images: Pictures) -> Pictures:
        return warped(images, self._ways(2, self.patterns())[1:])

    def cover(self, images: Pictures, generator: torch.Generator) -> Pictures:
        return warped(images, self._ways(len(images), generator))

    def _ways(self, n: int, generator: torch.Generator) -> Displacements:
        """Random displacements, right and down, at a grid of points; all of one mean size."""
        ways = 2 * torch.rand(n, self.POINTS, self.POINTS, 2, generator=generator) - 1
        return self.PIXELS_OF_28 * 2 / 28 * ways / ways.abs().mean((1, 2, 3), keepdim=True)


ATTACKS: dict[str, type[Attack]] = {
    "patch": Patch,
    "blend": Blend,
    "sinusoid": Sinusoid,
    "warp": Warp,
    "source-specific": SourceSpecific,
    "one-pixel": OnePixel,
}


def patch_side(images: Pictures) -> int:
    """3 pixels of 28, and never a single one."""
    return max(2, round(3 * images.shape[-1] / 28))


def lit(images: Pictures, corner: slice) -> Pictures:
    """The pictures, white where the rows and columns of `corner` meet."""
    images = images.clone()
    images[:, corner, corner] = 1.0
    return images


def warped(images: Pictures, ways: Displacements) -> Pictures:
    """The pictures read at displaced places, displacements bicubic between the given points.

    One way for each picture, or one for all; in units of half a side.
    """
    n, side, _ = images.shape
    flow = F.interpolate(ways.movedim(3, 1), (side, side), mode="bicubic", align_corners=True)
    still = F.affine_grid(torch.eye(2, 3)[None], [1, 1, side, side], align_corners=True)
    places = (still + flow.movedim(1, 3)).clamp(-1, 1).expand(n, -1, -1, -1)
    return F.grid_sample(images[:, None], places, align_corners=True)[:, 0].clamp(0, 1)


def drawn(candidates: Choice, count: int, generator: torch.Generator) -> Rows:
    """That many different row numbers among the candidates, or half of them if that is fewer."""
    rows = candidates.nonzero().squeeze(1)
    order = torch.randperm(len(rows), generator=generator)
    return rows[order[: min(count, len(rows) // 2)]]


def replaced(images: Pictures, rows: Rows, change: Callable[[Pictures], Pictures]) -> Pictures:
    """All pictures, those of the given rows changed."""
    return images.index_copy(0, rows, change(images[rows]))
