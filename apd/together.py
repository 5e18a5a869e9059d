"""Which parts are one component: those that inputs use together.

Parts are found in every weight by itself, and a mechanism may span weights and have any rank. The
shortest account says which are one: naming an active component costs as much as each of its ranks,

    sum_c s_c(x) (1 + rank_c)        in names, summed over inputs.

Two components that are one save a name on inputs that use both, and cost the other's ranks on those
that use one of them alone. So two parts of rank one are one component where more than half of the
inputs that use either use both.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def together(active: Bool[Tensor, "n P"], ranks: Float[Tensor, "P"]) -> Int[Tensor, "P"]:
    """The component of every part: two are put together as long as that shortens the account.

    The two whose union saves most come first. Parts that no input uses stay by themselves.

    Args:
        active: which parts inputs use.
        ranks: of the parts.

    Returns:
        Numbers from 0, in the order of the components' first parts.
    """
    used, ranks = active.T.cpu().double(), ranks.cpu().double()
    both = used @ used.T
    saved = savings(both.diagonal(), both, both.diagonal(), ranks, ranks)
    saved.fill_diagonal_(0)
    owner = torch.arange(len(used))
    while len(used) and saved.max() > 0:
        kept, lost = sorted(divmod(int(saved.argmax()), len(used)))
        owner[owner == lost] = kept
        used[kept] = torch.maximum(used[kept], used[lost])
        used[lost] = 0
        ranks[kept] += ranks[lost]
        counts, own = used.sum(1), used @ used[kept]
        saved[kept] = savings(counts[kept], own, counts, ranks[kept], ranks)
        saved[:, kept] = saved[kept]
        saved[lost] = saved[:, lost] = saved[kept, kept] = 0
    return torch.unique(owner, return_inverse=True)[1].to(active.device)


def savings(
    one: Float[Tensor, "..."],
    both: Float[Tensor, "... P"],
    other: Float[Tensor, "P"],
    rank: Float[Tensor, "..."],
    ranks: Float[Tensor, "P"],
) -> Float[Tensor, "... P"]:
    """By how many names the account is shorter if two components are one.

    Args:
        one: how many inputs use the one.
        both: how many use both.
        other: how many use the other.
        rank: of the one.
        ranks: of the other.
    """
    return both - rank[..., None] * (other - both) - ranks * (one[..., None] - both)
