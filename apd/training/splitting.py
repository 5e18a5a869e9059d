"""Components that are two: what they read is one thing on some inputs and another on others.

Two features that a weight writes along one line, u for the one and -u for the other, are one
component of rank one, u (v_1 + v_2)^T, as well as two. Two are simpler: each is smaller, and used
by its own inputs alone. But no gradient leads there, as half-way all of these inputs use both.

So what a component reads, v, is taken apart: v = v_1 + v_2, each of which predicts (by least
squares) what v reads on the vectors of which it reads more than the other does. Which those are is
found in turns, as in k-means. Half of a component's inputs say what v_1 and v_2 are, and the other
half by how much they are simpler, so that what is there by chance is not kept.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from apd.activity import strengths, strongest
from apd.batch_sizes import numbers_at_uses, numbers_of, rows_at_once, rows_that_fit
from apd.components import Components
from apd.config import Config
from apd.hooks import capture
from apd.reference import spread_over
from apd.sites import Factors
from apd.target import Target
from apd.training import losses
from apd.training.exercise import LARGEST, unit_vectors

ROWS = 16384
FEWEST_INPUTS = 16
WORTH = 0.9
ROUNDS = 30
RIDGE = 1e-6
TINY = 1e-30


def split(
    components: Components,
    target: Target,
    x: Shaped[Tensor, "n *shape"],
    active: float,
    config: Config,
    generator: torch.Generator,
) -> None:
    """Make two of every component whose simplicity loss that lowers by a tenth, at every site.

    Their sum stays what it is. Zero components become the second halves; where these run out, the
    other components stay as they are. Sites of a side of more than `LARGEST` are left as they are.

    Args:
        components: changed in place.
        target: the network.
        x: inputs; no more than `ROWS` are looked at.
        active: how many components an input uses on average.
        config: the settings.
        generator: which half of a component's inputs is which is drawn from it.
    """
    for site, factors in components.factors.items():
        if max(target.sites[site].shape) > LARGEST:
            continue
        alone = target.alone(site)
        fitting = rows_that_fit(numbers_of(alone) + numbers_at_uses(alone, 0))
        some = spread_over(x, min(ROWS, fitting))
        one, other, simpler = halved(alone, factors, some, active, config, generator)
        living = set(components.living().places.tolist())
        free = (c for c in range(components.count) if c not in living)
        for c, empty in zip(simpler.nonzero().flatten().tolist(), free, strict=False):
            for tensor, kept, moved in zip(factors, one, other, strict=True):
                tensor[c], tensor[empty] = kept[c], moved[c]


def halved(
    target: Target,
    factors: Factors,
    x: Shaped[Tensor, "n *shape"],
    active: float,
    config: Config,
    generator: torch.Generator,
) -> tuple[Factors, Factors, Bool[Tensor, "C"]]:
    """Both halves of every component of a target's only site, and which components they are worth.

    An input that uses a component uses those of its halves whose strength is more than a share of
    the component's; without it, `Config.separation` of the square are missing at most.

    Args:
        target: the network.
        factors: the components.
        x: inputs.
        active: how many components an input uses on average.
        config: the settings.
        generator: which half of a component's inputs is which is drawn from it.
    """
    ((name, site),) = target.sites.items()
    whole = Components.of({name: factors})
    found = strengths(target, whole, x)
    on = strongest(found, active)
    learnt = on & (torch.rand(on.shape, generator=generator) < 0.5).to(on.device)
    reads, writes = site.uses[0].sides(*factors)
    one = reads.clone()
    vectors = vectors_read(target, x)
    for c in (learnt.sum(0) >= FEWEST_INPUTS).nonzero().flatten().tolist():
        one[c] = first_half(vectors[learnt[:, c]].flatten(0, 1).double(), reads[c].double())
    judged = on & ~learnt
    loss = losses_of(whole, judged, config)
    halves = [Factors(*site.uses[0].sides(half, writes)) for half in (one, reads - one)]
    least, apart = config.separation**0.5 * found, torch.zeros_like(loss)
    for half in halves:
        part = Components.of({name: half})
        apart += losses_of(part, judged & (strengths(target, part, x) > least), config)
    return halves[0], halves[1], apart < WORTH * loss


def losses_of(
    components: Components, used: Bool[Tensor, "n C"], config: Config
) -> Float[Tensor, "C"]:
    """What every component has of the simplicity loss, times n."""
    return used.sum(0) * losses.complexity(losses.sizes(components), config.schatten_p)


def vectors_read(target: Target, x: Shaped[Tensor, "n *shape"]) -> Float[Tensor, "n vectors d"]:
    """What the weight of a target's only site is applied to, by the side its first use reads by."""
    ((_, site),) = target.sites.items()
    way = site.uses[0].sides("read", "met")
    basis = unit_vectors(site, target)
    at_once = rows_at_once(target, sum(site.shape))
    blocks = []
    for rows in x.split(at_once):
        _, captures = capture(target, rows)
        read = [c.use.read(c.x, basis) for c in captures if c.use.sides("read", "met") == way]
        blocks.append(torch.cat([r.reshape(len(rows), -1, r.shape[-2]) for r in read], dim=1))
    return torch.cat(blocks)


def first_half(
    vectors: Float64[Tensor, "n d"], v: Float64[Tensor, "m d"]
) -> Float64[Tensor, "m d"]:
    """One of the two functionals that add up to v, each read off vectors of its own.

    They begin as what is read on either side of the direction in which vectors vary most.
    """
    moment = vectors.T @ vectors
    moment.diagonal().add_(RIDGE * moment.diagonal().mean().clamp_min(TINY))
    triangle = torch.linalg.cholesky(moment)
    read = vectors @ v.T

    def predicting(own: Bool[Tensor, "n"]) -> Float64[Tensor, "m d"]:
        return torch.cholesky_solve(vectors.T @ (read * own[:, None]), triangle).T

    half = predicting(ahead(vectors - vectors.mean(0)))
    for _ in range(ROUNDS):
        of_half = vectors @ half.T
        half = predicting(of_half.norm(dim=1) > (read - of_half).norm(dim=1))
    return half


def ahead(centred: Float64[Tensor, "n d"]) -> Bool[Tensor, "n"]:
    """Which vectors are ahead along the direction of most variance, found by power iteration."""
    direction = centred[centred.norm(dim=1).argmax()]
    for _ in range(ROUNDS):
        direction = (centred @ direction) @ centred
        direction = direction / direction.norm().clamp_min(TINY)
    return centred @ direction > 0
