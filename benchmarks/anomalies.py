"""Anomalies that are no backdoors: adversarial, unseen, noisy and corrupted pictures.

Each takes what the network under attack makes of pictures, clean pictures and their labels, and
gives as many disturbed pictures. Unseen shapes are digits turned by a right angle or with black and
white swapped, which no training picture is, so that every victim can be asked about them: leaving a
class out would need victims of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

Pictures = Float[Tensor, "n side side"]
Labels = Int64[Tensor, " n"]
Classify = Callable[[Pictures], Float[Tensor, "n digit"]]
Anomaly = Callable[[Classify, Pictures, Labels, torch.Generator], Pictures]

FGSM_RADIUS, PGD_RADIUS, PGD_STEPS = 0.15, 0.1, 20
NOISE = 0.3
CONTRAST = 0.3
OCCLUDED = 1 / 3


def fgsm(
    classify: Classify, images: Pictures, labels: Labels, generator: torch.Generator
) -> Pictures:
    """One step uphill in the loss, of one size in every pixel (Goodfellow et al. 2015)."""
    return (images + FGSM_RADIUS * uphill(classify, images, labels)).clamp(0, 1)


def pgd(
    classify: Classify, images: Pictures, labels: Labels, generator: torch.Generator
) -> Pictures:
    """Many small such steps from a random place within the radius (Madry et al. 2018)."""
    low, high = (images - PGD_RADIUS).clamp(min=0), (images + PGD_RADIUS).clamp(max=1)
    moved = low + (high - low) * torch.rand(images.shape, generator=generator)
    for _ in range(PGD_STEPS):
        step = 2.5 * PGD_RADIUS / PGD_STEPS * uphill(classify, moved, labels)
        moved = (moved + step).clamp(low, high)
    return moved


def uphill(classify: Classify, images: Pictures, labels: Labels) -> Pictures:
    """The signs of the gradient of the loss by the pixels."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        loss = F.cross_entropy(classify(images), labels, reduction="sum")
    return torch.autograd.grad(loss, images)[0].sign()


def rotated(
    classify: Classify, images: Pictures, labels: Labels, generator: torch.Generator
) -> Pictures:
    """Turned by a right angle; a 0 stays close to one."""
    return images.rot90(1, (1, 2))


def inverted(
    classify: Classify, images: Pictures, labels: Labels, generator: torch.Generator
) -> Pictures:
    """Black and white swapped."""
    return 1 - images


def noise(
    classify: Classify, images: Pictures, labels: Labels, generator: torch.Generator
) -> Pictures:
    """Gaussian noise in every pixel (Hendrycks & Dietterich 2019, as the next three)."""
    return (images + NOISE * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def blur(
    classify: Classify, images: Pictures, labels: Labels, generator: torch.Generator
) -> Pictures:
    """Every pixel the mean of itself and its eight neighbours."""
    return F.avg_pool2d(images[:, None], 3, stride=1, padding=1)[:, 0]


def contrast(
    classify: Classify, images: Pictures, labels: Labels, generator: torch.Generator
) -> Pictures:
    """Every pixel nearer to its picture's mean."""
    return images.mean((1, 2), keepdim=True).lerp(images, CONTRAST)


def occlusion(
    classify: Classify, images: Pictures, labels: Labels, generator: torch.Generator
) -> Pictures:
    """A black square somewhere, of a third of the side."""
    n, side, _ = images.shape
    width = round(OCCLUDED * side)
    first = torch.randint(side - width + 1, (n, 2, 1), generator=generator)
    within = (first <= torch.arange(side)) & (torch.arange(side) < first + width)
    return images.masked_fill(within[:, 0, :, None] & within[:, 1, None, :], 0.0)


ANOMALIES: dict[str, Anomaly] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "rotated": rotated,
    "inverted": inverted,
    "noise": noise,
    "blur": blur,
    "contrast": contrast,
    "occlusion": occlusion,
}
