"""Which parts are one: those that inputs use together.

Parts are found in every weight by itself, and a mechanism may span weights and have any rank. The
shortest account says which are one: naming an active component costs as much as each of its ranks,

    sum_c s_c(x) (1 + rank_c)        in names, summed over inputs.

Two components that are one save a name on inputs that use both, and cost the other's ranks on those
that use one of them alone. So two parts of rank one are one component where more than half of the
inputs that use either use both.

Of rows or columns of one weight that are on one line the rank stays one, and size counts in its
place (`apd.neurons`): amounts that add up, to a power.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def together(
    active: Bool[Tensor, "n P"],
    amounts: Float[Tensor, "P"],
    power: float,
    joinable: Bool[Tensor, "P P"],
) -> Int[Tensor, "P"]:
    """The component of every part: two are put together as long as that shortens the account.

    The two whose union saves most come first. Parts that no input uses stay by themselves.

    Args:
        active: which parts inputs use.
        amounts: what adds up where two are one; an input that uses it pays that to a power.
        power: which.
        joinable: which two may be one, an equivalence.

    Returns:
        Numbers from 0, in the order of the components' first parts.
    """
    used, amounts = active.T.cpu().double(), amounts.cpu().double().clone()
    joinable = joinable.cpu().clone().fill_diagonal_(False)
    both = used @ used.T
    alone = both.diagonal()
    saved = savings(both, alone[:, None], amounts[:, None], alone, amounts, power) * joinable
    owner, most = torch.arange(len(used)), saved.max(1).values if len(used) else alone
    while len(used) and most.max() > 0:
        first = int(most.argmax())
        kept, lost = sorted((first, int(saved[first].argmax())))
        owner[owner == lost] = kept
        used[kept] = torch.maximum(used[kept], used[lost])
        used[lost] = 0
        amounts[kept] += amounts[lost]
        joinable[lost] = joinable[:, lost] = False
        counts, own = used.sum(1), used @ used[kept]
        mine = savings(own, counts[kept], amounts[kept], counts, amounts, power) * joinable[kept]
        stale = (most > 0) & (saved[:, [kept, lost]] == most[:, None]).any(1)
        saved[kept] = saved[:, kept] = mine
        saved[lost] = saved[:, lost] = 0
        most = torch.maximum(most, mine)
        most[stale] = saved[stale].max(1).values
    return torch.unique(owner, return_inverse=True)[1].to(active.device)


def savings(
    both: Float[Tensor, "... P"],
    one: Float[Tensor, "..."],
    amount: Float[Tensor, "..."],
    other: Float[Tensor, "P"],
    amounts: Float[Tensor, "P"],
    power: float,
) -> Float[Tensor, "... P"]:
    """By how many names the account is shorter if two are one.

    Args:
        both: how many inputs use both.
        one: how many use the one.
        amount: of the one.
        other: how many use the other.
        amounts: of the other.
        power: what amounts are paid by.
    """
    apart = one * (1 + amount**power) + other * (1 + amounts**power)
    return apart - (one + other - both) * (1 + (amount + amounts) ** power)
