"""Recovery of whole mechanisms, as vectors in the parameter space of all decomposed sites.

The figures of APD (arXiv 2501.14926, section 3.1), said there of columns, carried over to
mechanisms of any rank that span any number of sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from apd.components import Components
from apd.recovery.matches import NOBODY, Matches

# The weights of one mechanism [o, i] by site; sites left out are zero.
Mechanism = Mapping[str, Tensor]


def best(mechanisms: Sequence[Mechanism], components: Components) -> Matches:
    """Match every mechanism with the component most like it, whatever the others match.

    Args:
        mechanisms: at least one; what they hold elsewhere than at the components' sites is not
            compared.
        components: at least one.
    """
    table = cosines(mechanisms, components)
    return matched(table, length_ratios(mechanisms, components), table.max(1).indices)


def one_to_one(mechanisms: Sequence[Mechanism], components: Components) -> Matches:
    """Match mechanisms with components of their own, so that the cosines' sum is greatest.

    The linear assignment problem (Kuhn 1955); an opposite component is worth no less than one at a
    right angle. With fewer components than mechanisms, some are left without.

    Args:
        mechanisms: at least one; what they hold elsewhere than at the components' sites is not
            compared.
        components: at least one.
    """
    table = cosines(mechanisms, components)
    component = torch.full((len(mechanisms),), NOBODY, device=table.device)
    worth = table.clamp_min(0).cpu().numpy()
    rows, columns = map(torch.as_tensor, linear_sum_assignment(worth, maximize=True))
    component[rows] = columns.to(component)
    return matched(table, length_ratios(mechanisms, components), component)


def matched(
    cosines: Float[Tensor, "k C"], length_ratios: Float[Tensor, "k C"], component: Int[Tensor, "k"]
) -> Matches:
    """The matching of every mechanism with the component of that index, or with nobody."""
    chosen = component.clamp_min(0)[:, None]
    somebody = component != NOBODY
    cosine, ratio = (t.gather(1, chosen).squeeze(1) * somebody for t in (cosines, length_ratios))
    return Matches(component, cosine, ratio)


def cosines(mechanisms: Sequence[Mechanism], components: Components) -> Float[Tensor, "k C"]:
    """The cosine of every mechanism with every component, 0 where either is zero."""
    products = torch.stack([inner_products(m, components) for m in mechanisms])
    tiny = torch.finfo(products.dtype).tiny
    lengths = mechanism_norms(mechanisms, components).clamp_min(tiny)
    return products / lengths[:, None] / component_norms(components).clamp_min(tiny)


def length_ratios(mechanisms: Sequence[Mechanism], components: Components) -> Float[Tensor, "k C"]:
    """The norm of every component over that of every mechanism; 0 for a mechanism of zero."""
    lengths = mechanism_norms(mechanisms, components)[:, None]
    return torch.where(lengths > 0, component_norms(components) / lengths, 0.0)


def inner_products(mechanism: Mechanism, components: Components) -> Float[Tensor, "C"]:
    """<P_c, M>, the sum of U[p, m]^T M_l V[p, m] over its parts, without forming any P_c."""
    total = next(iter(components.factors.values())).U.new_zeros(components.count)
    for site, (u, v) in components.factors.items():
        if site in mechanism:
            parts = ((u @ mechanism[site].to(u)) * v).sum((1, 2))
            total.index_add_(0, components.owners[site], parts)
    return total


def mechanism_norms(mechanisms: Sequence[Mechanism], components: Components) -> Float[Tensor, "k"]:
    """The lengths of mechanisms over the components' sites, in the components' precision."""
    one = next(iter(components.factors.values())).U
    squares = [
        sum((m[s].to(one).square().sum() for s in components.factors if s in m), one.new_zeros(()))
        for m in mechanisms
    ]
    return torch.stack(squares).sqrt()


def component_norms(components: Components) -> Float[Tensor, "C"]:
    """The lengths of components over all sites, without forming any weights."""
    return torch.stack(list(components.squared_norms().values())).sum(0).sqrt()
