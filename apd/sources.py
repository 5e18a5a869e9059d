"""Independent sources of what a weight reads, with a part for each.

Where features are seldom there, and no more of them than there are directions, what is read is a
sum of sources that vary independently, y = sum_i h_i t_i, h_i = <d_i, y> (independent component
analysis, Comon 1994). The weight is then W = sum_i (W t_i) d_i^T: a part for every feature, however
weak, whatever neurons it shares.

FastICA (Hyvärinen 1999) finds readers d_i as well as chance allows, since some features are on
together. But a source is mostly zero, which says what it is exactly. So readers are sharpened: what
each reads is taken for zero where it is little, and is then the least-squares prediction of that,
again and again, while little becomes less.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64, Shaped
from torch import Tensor

from apd.batch_sizes import power_of_two
from apd.components import Components
from apd.config import Config
from apd.reference import spread_over
from apd.sites import Factors
from apd.target import Target
from apd.training.exercise import LARGEST, moments, read
from apd.training.splitting import TINY, numbers_met, vectors_read
from apd.training.train import generator_of

ROWS = 2**15
MOST_NUMBERS = 2**25
SETTINGS: dict[str, Any] = {"whiten": False, "max_iter": 200, "tol": 1e-6}
LITTLE = np.geomspace(0.2, 0.001, 30)
MOSTLY_OFF = 0.5


def sources(
    target: Target, x: Shaped[Tensor, "n *shape"], most: int, config: Config
) -> Components | None:
    """The part of every source of what a target's only weight reads.

    Args:
        target: the network, with one weight alone.
        x: inputs; no more than `ROWS` are looked at, and fewer where there would be more than
            `MOST_NUMBERS` in what the weight is applied to.
        most: how many parts there may be.
        config: the settings.

    Returns:
        Parts whose sum is the weight on the directions that are read. None of a weight of a side of
        more than `LARGEST`, nor where it reads more directions than there may be parts, or as many
        as vectors, nor where sources are more often on than off, on average: what is dense has none
        to be found.
    """
    ((name, site),) = target.sites.items()
    if max(site.shape) > LARGEST:
        return None
    way = site.uses[0].sides
    sides = read(target, moments(target, x, generator_of(config, config.steps)))[name]
    projection, _ = way(*sides)
    span = range_of(projection.double())
    some = spread_over(x, min(ROWS, power_of_two(MOST_NUMBERS / numbers_met(target))))
    vectors = vectors_read(target, some).flatten(0, 1)
    if not 1 < span.shape[1] <= min(most, len(vectors) - 1):
        return None
    white, mixing = whitening(vectors.double(), span)
    numbers = vectors.double() @ white
    readers = sharpened(numbers, config.seed)
    if on(numbers @ readers.T, LITTLE[-1]).double().mean() > MOSTLY_OFF:
        return None
    weight, _ = way(target.weight(name).T, target.weight(name))
    lines = weight.double() @ mixing @ torch.linalg.pinv(readers)
    reads, writes = (t.to(weight)[:, None] for t in (readers @ white.T, lines.T))
    return Components.of({name: Factors(*way(reads, writes))}).living().components


def range_of(projection: Float64[Tensor, "d d"]) -> Float64[Tensor, "d r"]:
    """Orthonormal directions that a projection leaves as they are."""
    return torch.linalg.eigh(projection)[1][:, -round(float(projection.trace())) :]


def whitening(
    vectors: Float64[Tensor, "n d"], span: Float64[Tensor, "d r"]
) -> tuple[Float64[Tensor, "d r"], Float64[Tensor, "d r"]]:
    """What makes uncorrelated numbers of mean square 1 of vectors, and vectors of such numbers.

    Args:
        vectors: with something along every direction that is kept.
        span: the directions that are kept, orthonormal.
    """
    values, axes = torch.linalg.eigh(span.T @ (vectors.T @ vectors) @ span / len(vectors))
    sizes, directions = values.clamp_min(TINY).sqrt(), span @ axes
    return directions / sizes, directions * sizes


def sharpened(white: Float64[Tensor, "n r"], seed: int) -> Float64[Tensor, "r r"]:
    """What reads sources off uncorrelated numbers of mean square 1, up to size and sign.

    Args:
        white: the numbers.
        seed: what they are looked for from.
    """
    readers = independent(white, seed)
    for little in LITTLE:
        read = white @ readers.T
        readers = (read * on(read, little)).T @ white / len(white)
    return readers


def on(read: Float64[Tensor, "n r"], little: float) -> Bool[Tensor, "n r"]:
    """Whether sources are there: all but what is little beside the most there ever is of each."""
    return ~(read.abs() <= little * read.abs().amax(0))


def independent(white: Float64[Tensor, "n r"], seed: int) -> Float64[Tensor, "r r"]:
    """Orthonormal directions along which such numbers are least Gaussian."""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    analysis = FastICA(**SETTINGS, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        analysis.fit(white.cpu().numpy())
    return torch.as_tensor(analysis.components_).to(white)
