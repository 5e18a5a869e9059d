"""What is done to components between steps: merged, buried, and given what is left."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from apd.components import Components
from apd.config import Config
from apd.target import Target
from apd.training.exercise import Sides
from apd.training.scales import typical_sizes
from apd.training.state import Training, begin, refuse_lost

DEAD_SHARE = 0.1
SMALLEST_SHARE = 0.25


def settle(
    training: Training,
    target: Target,
    merging: float,
    mechanisms: Mapping[str, float],
    active: float,
    exercised: Mapping[str, Sides],
) -> None:
    """Merge components that are the same, bury the dead, and give them what no other needs.

    A component is dead when it is used less than `DEAD_SHARE` times as often as an average one.
    The living keep what the reference exercises. What they then leave of the weights is shared out
    by singular directions, so that the components stay faithful and what no input exercises has
    names.

    Args:
        training: changed in place.
        target: the network.
        merging: the cosine from which two components are the same.
        mechanisms: the size of a typical mechanism at every site.
        active: components an input uses on average.
        exercised: projections on what the reference exercises, at some of the sites.

    Raises:
        ConfigError: the components are no numbers any more.
    """
    refuse_lost(target, training.components)
    components, usage = training.components, training.usage
    for survivor, merged in parallel_pairs(components, merging):
        merge(components, survivor, merged)
        usage[survivor] += usage[merged]
        usage[merged] = 0
    alive = usage > DEAD_SHARE * active / components.count
    for site, factors in components.factors.items():
        for tensor, moments in zip(factors, training.moments[site], strict=True):
            for zeroed in (tensor, moments.first, moments.second):
                zeroed.mul_(alive[:, None, None])
    confine(components, exercised)
    occupy(components, components.residual(target), worthwhile(mechanisms))


def set_apart(
    components: Components,
    target: Target,
    mechanisms: Mapping[str, float],
    read: Mapping[str, Sides],
) -> None:
    """Take from all components what no trusted input reads, and share it out among zero ones.

    On trusted inputs next to nothing changes. What another input reads that they do not has names
    of its own, and no part in what they use.

    Args:
        components: changed in place.
        target: the network.
        mechanisms: the size of a typical mechanism at every site.
        read: projections on what the reference reads, at some of the sites.
    """
    confine(components, read)
    gaps = components.residual(target)
    unread = {site: gaps[site] - side.U @ gaps[site] @ side.V for site, side in read.items()}
    occupy(components, unread, worthwhile(mechanisms))


def left_whole(target: Target, config: Config) -> Components:
    """Components of weights that are not trained: their singular directions."""
    components = begin(target, config).components
    for tensor in components.tensors():
        tensor.zero_()
    occupy(components, components.residual(target), worthwhile(typical_sizes(target)))
    return components


def worthwhile(mechanisms: Mapping[str, float]) -> dict[str, float]:
    """Per site, the singular value from which a direction is worth a component."""
    return {site: SMALLEST_SHARE * size for site, size in mechanisms.items()}


def parallel_pairs(components: Components, cosine: float) -> list[tuple[int, int]]:
    """Pairs (larger, smaller) of components whose cosine reaches a threshold.

    Every component is in at most one pair as the smaller one, and then in no other pair.
    """
    products = components.inner_products().cpu()
    norms = products.diagonal().clamp_min(torch.finfo(products.dtype).tiny).sqrt()
    alike = products / norms[:, None] / norms >= cosine
    pairs: list[tuple[int, int]] = []
    gone: set[int] = set()
    order: list[int] = norms.argsort(descending=True, stable=True).tolist()
    for rank, larger in enumerate(order):
        if larger in gone:
            continue
        found = [c for c in order[rank + 1 :] if c not in gone and alike[larger, c]]
        pairs += [(larger, c) for c in found]
        gone.update(found)
    return pairs


def merge(components: Components, survivor: int, merged: int) -> None:
    """Add one component to another, in place, as closely as the rank allows; zero the one."""
    for u, v in components.factors.values():
        q_u, r_u = torch.linalg.qr(torch.cat([u[survivor], u[merged]]).T)
        q_v, r_v = torch.linalg.qr(torch.cat([v[survivor], v[merged]]).T)
        left, values, right = torch.linalg.svd(r_u @ r_v.T, full_matrices=False)
        m = u.shape[1]
        root = values[:m].sqrt()
        u[survivor] = (q_u @ left[:, :m] * root).T
        v[survivor] = (q_v @ right[:m].T * root).T
        u[merged] = 0
        v[merged] = 0


def occupy(
    components: Components,
    gaps: Mapping[str, Float[Tensor, "_o _i"]],
    least: Mapping[str, float],
) -> None:
    """Share out what no component holds among those that are zero, in place.

    A singular direction of a site goes to each; those there is none left for stay zero.

    Args:
        components: changed in place.
        gaps: what no component holds, at some of the sites.
        least: per site, the singular value from which a direction is worth a component.
    """
    free = iter(components.zero())
    for site, gap in gaps.items():
        u, v = components.factors[site]
        left, values, right = torch.linalg.svd(gap, full_matrices=False)
        found = int((values > least[site]).sum())
        for j, c in zip(range(found), free, strict=False):
            u[c, 0] = left[:, j] * values[j].sqrt()
            v[c, 0] = right[j] * values[j].sqrt()


def confine(components: Components, projections: Mapping[str, Sides]) -> None:
    """Project all vectors, in place.

    Args:
        components: changed in place.
        projections: at some of the sites.
    """
    for site, sides in projections.items():
        for tensor, side in zip(components.factors[site], sides, strict=True):
            tensor.copy_(tensor @ side)
