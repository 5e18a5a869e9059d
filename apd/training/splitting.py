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
from apd.batch_sizes import power_of_two, rows_at_once
from apd.components import Components
from apd.config import Config
from apd.hooks import capture
from apd.reference import spread_over
from apd.sites import Factors
from apd.target import Target
from apd.training import losses
from apd.training.exercise import LARGEST, unit_vectors

ROWS = 16384
MOST_NUMBERS = 2**26
MOST_VECTORS = 8192
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
    """Make two of every component of which that lowers the simplicity loss by a tenth at a site.

    And again of those, until there are none. Their sum stays what it is. Zero components become
    the second halves; where these run out, it is the components that gain most that are split.
    Sites of a side of more than `LARGEST` are left as they are.

    Args:
        components: changed in place.
        target: the network.
        x: inputs; no more than `ROWS` are looked at, and fewer where there would be more than
            `MOST_NUMBERS` in what a weight is applied to.
        active: how many components an input uses on average.
        config: the settings.
        generator: which half of a component's inputs is which is drawn from it.
    """
    for site, factors in components.factors.items():
        if max(target.sites[site].shape) > LARGEST:
            continue
        alone = target.alone(site)
        some = spread_over(x, min(ROWS, power_of_two(MOST_NUMBERS / numbers_met(alone))))
        while True:
            one, other, gain = halved(alone, factors, some, active, config, generator)
            worth = gain.argsort(descending=True, stable=True)[: int((gain > 0).sum())]
            pairs = list(zip(worth.tolist(), components.zero(), strict=False))
            for c, empty in pairs:
                for tensor, kept, moved in zip(factors, one, other, strict=True):
                    tensor[c], tensor[empty] = kept[c], moved[c]
            if not pairs:
                break


def numbers_met(target: Target) -> int:
    """How many numbers the vectors hold that the weight of a target's only site meets, an input."""
    ((_, site),) = target.sites.items()
    return sum(target.positions.values()) * max(site.shape)


def halved(
    target: Target,
    factors: Factors,
    x: Shaped[Tensor, "n *shape"],
    active: float,
    config: Config,
    generator: torch.Generator,
) -> tuple[Factors, Factors, Float[Tensor, "C"]]:
    """Both halves of every component of a target's only site, and what is gained by having them.

    Of the inputs that use a component, those use a half on which its strength is more than a share
    of the component's, so that where it is left out, `Config.separation` of the square is missing
    at most.

    Args:
        target: the network.
        factors: the components.
        x: inputs.
        active: how many components an input uses on average.
        config: the settings.
        generator: which half of a component's inputs is which is drawn from it.

    Returns:
        The factors of the halves; by how much the simplicity loss is lower with them, times the
        inputs that were asked, or 0 where that is less than a tenth.
    """
    ((name, site),) = target.sites.items()
    whole = Components.of({name: factors})
    found = strengths(target, whole, x)
    on = strongest(found, active)
    learnt = on & (torch.rand(on.shape, generator=generator) < 0.5).to(on.device)
    reads, writes = site.uses[0].sides(*factors)
    one, vectors = reads.clone(), vectors_read(target, x)
    for c in (learnt.sum(0) >= FEWEST_INPUTS).nonzero().flatten().tolist():
        read = spread_over(vectors[learnt[:, c]].flatten(0, 1), MOST_VECTORS)
        one[c] = first_half(read.double(), reads[c].double(), writes[c].double().norm(dim=1))
    halves = [Factors(*site.uses[0].sides(half, writes)) for half in (one, reads - one)]
    judged = on & ~learnt
    before = losses_of(whole, judged, config)
    least, after = config.separation**0.5 * found, torch.zeros_like(before)
    for half in halves:
        part = Components.of({name: half})
        after += losses_of(part, judged & (strengths(target, part, x) > least), config)
    return halves[0], halves[1], torch.where(after < WORTH * before, before - after, 0.0)


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
    blocks: list[Tensor] = []
    for rows in x.split(rows_at_once(target, sum(site.shape))):
        _, captures = capture(target, rows)
        read = [c.use.read(c.x, basis) for c in captures if c.use.sides("read", "met") == way]
        blocks.append(torch.cat([r.reshape(len(rows), -1, r.shape[-2]) for r in read], dim=1))
    return torch.cat(blocks)


def first_half(
    vectors: Float64[Tensor, "n d"], v: Float64[Tensor, "m d"], lengths: Float64[Tensor, "m"]
) -> Float64[Tensor, "m d"]:
    """One of the two functionals that add up to v, each read off vectors of its own.

    They begin as what is read on either side of the direction in which vectors vary most, each
    turned so that the first of the numbers read off it is positive.

    Args:
        vectors: what is read.
        v: the functional, m numbers.
        lengths: of what each of these numbers writes.
    """
    moment = vectors.T @ vectors
    moment.diagonal().add_(RIDGE * moment.diagonal().mean().clamp_min(TINY))
    triangle = torch.linalg.cholesky(moment)
    read = vectors @ v.T
    own, half = ahead(vectors * read[:, :1].sign()), torch.zeros_like(v)
    for _ in range(ROUNDS):
        half = torch.cholesky_solve(vectors.T @ (read * own[:, None]), triangle).T
        of_half = vectors @ half.T
        before, own = own, written(of_half, lengths) > written(read - of_half, lengths)
        if torch.equal(own, before):
            break
    return half


def written(read: Float64[Tensor, "n m"], lengths: Float64[Tensor, "m"]) -> Float64[Tensor, "n"]:
    """How much is written of what is read, were all of it along lines of their own."""
    return (read * lengths).norm(dim=1)


def ahead(vectors: Float64[Tensor, "n d"]) -> Bool[Tensor, "n"]:
    """Which vectors are ahead along the direction of most variance, found by power iteration."""
    mean = vectors.mean(0)
    direction = vectors[(vectors - mean).norm(dim=1).argmax()] - mean
    for _ in range(ROUNDS):
        along = vectors @ direction - mean @ direction
        direction = along @ vectors - along.sum() * mean
        direction = direction / direction.norm().clamp_min(TINY)
    return vectors @ direction > mean @ direction
