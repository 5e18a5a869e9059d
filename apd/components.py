"""Parameter components: vectors in the parameter space of all sites, kept as low-rank factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from apd.sites import Factors, Site
from apd.target import Target


@dataclass(frozen=True, eq=False)
class Components:
    """C components P_c = {site: sum_m U[c, m] V[c, m]^T} of rank <= m at every site.

    Attributes:
        factors: site name -> (U [C, m, o], V [C, m, i]).
    """

    factors: Mapping[str, Factors]

    @property
    def count(self) -> int:
        """C, how many components there are."""
        return next(iter(self.factors.values())).U.shape[0]

    def tensors(self) -> list[Tensor]:
        """Every factor, U before V, in site order: what an optimiser moves."""
        return [tensor for factors in self.factors.values() for tensor in factors]

    def living(self) -> Living:
        """Those with weights at any site."""
        held = [u.flatten(1).any(1) & v.flatten(1).any(1) for u, v in self.factors.values()]
        places = torch.stack(held).any(0).nonzero().flatten()
        own = {site: factors.of(places) for site, factors in self.factors.items()}
        return Living(Components(own), places, self.count)

    def component(self, c: int) -> dict[str, Float[Tensor, "o i"]]:
        """P_c, the weights of one component."""
        return {site: f.U[c].T @ f.V[c] for site, f in self.factors.items()}

    def sum(self) -> dict[str, Float[Tensor, "o i"]]:
        """sum_c P_c at every site."""
        return {site: f.U.flatten(0, 1).T @ f.V.flatten(0, 1) for site, f in self.factors.items()}

    def mixture(self, shares: Float[Tensor, "C"]) -> dict[str, Float[Tensor, "o i"]]:
        """sum_c shares_c P_c at every site."""
        some = shares.nonzero().flatten()
        own = {site: factors.of(some) for site, factors in self.factors.items()}
        scale = shares[some, None, None]
        return {s: (scale * u).flatten(0, 1).T @ v.flatten(0, 1) for s, (u, v) in own.items()}

    def residual(self, target: Target) -> dict[str, Float[Tensor, "o i"]]:
        """theta* - sum_c P_c at every site: what no component owns."""
        return {site: target.weight(site) - total for site, total in self.sum().items()}

    def norm_shares(self, target: Target) -> dict[str, Float[Tensor, "C"]]:
        """||P_c,l|| / ||W_l|| of every component at every site, without forming any weights."""
        return {
            site: squared_norms(factors).sqrt() / target.weight(site).norm()
            for site, factors in self.factors.items()
        }

    def ranks(self, tolerance: float = 1e-2) -> Float[Tensor, "C"]:
        """Effective rank of every component, summed over sites.

        Singular values below `tolerance` times the largest of any component at that site are
        not counted, so a dead component has rank 0.
        """
        total = torch.zeros(self.count)
        for factors in self.factors.values():
            spectrum = singular_values(factors)
            total += (spectrum > tolerance * spectrum.max()).sum(1).to(total)
        return total

    def inner_products(self) -> Float[Tensor, "C C"]:
        """<P_c, P_d> in the parameter space of all sites, without forming any weights."""
        total = torch.zeros(self.count, self.count)
        for u, v in self.factors.values():
            outputs = torch.einsum("cmo,dko->cdmk", u, u)
            inputs = torch.einsum("cmi,dki->cdmk", v, v)
            total = total.to(u) + (outputs * inputs).sum((2, 3))
        return total

    def absorb(self, survivor: int, merged: int) -> None:
        """Add one component to another, in place, as closely as the rank allows; zero the one."""
        for u, v in self.factors.values():
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
        self, gaps: Mapping[str, Float[Tensor, "_o _i"]], least: Mapping[str, float]
    ) -> None:
        """Share out what no component holds among those that are zero, in place.

        A singular direction of a site goes to each; those there is none left for stay zero.

        Args:
            gaps: what no component holds, at some of the sites.
            least: per site, the singular value from which a direction is worth a component.
        """
        living = set(self.living().places.tolist())
        free = (c for c in range(self.count) if c not in living)
        for site, gap in gaps.items():
            u, v = self.factors[site]
            left, values, right = torch.linalg.svd(gap, full_matrices=False)
            found = int((values > least[site]).sum())
            for j, c in zip(range(found), free, strict=False):
                u[c, 0] = left[:, j] * values[j].sqrt()
                v[c, 0] = right[j] * values[j].sqrt()

    def confine(
        self, projections: Mapping[str, tuple[Float[Tensor, "_o _o"], Float[Tensor, "_i _i"]]]
    ) -> None:
        """Project all vectors, in place.

        Args:
            projections: for U [o, o] and for V [i, i], at some of the sites.
        """
        for site, sides in projections.items():
            for tensor, side in zip(self.factors[site], sides, strict=True):
                tensor.copy_(tensor @ side)


@dataclass(frozen=True, eq=False)
class Living:
    """The components that have weights at any site: all others are zero, whatever they are asked.

    Attributes:
        components: they alone.
        places: which of all they are, in rising order.
        count: C, how many all are.
    """

    components: Components
    places: Int[Tensor, "alive"]
    count: int

    def among_all(self, x: Float[Tensor, "*n alive"]) -> Float[Tensor, "*n C"]:
        """Their numbers at their places, and zero at the others'."""
        return x.new_zeros(*x.shape[:-1], self.count).index_copy_(-1, self.places, x)


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


def squared_norms(factors: Factors) -> Float[Tensor, "C"]:
    """||P_c||^2 at one site: sum over m, k of (U[c, m] . U[c, k]) (V[c, m] . V[c, k])."""
    u, v = factors
    return ((u @ u.mT) * (v @ v.mT)).sum((1, 2)).clamp_min(0)


def singular_values(factors: Factors) -> Float[Tensor, "C m"]:
    """Singular values of every component at one site, without forming its weights.

    With U^T = Q_u R_u and V^T = Q_v R_v, those of U^T V are those of R_u R_v^T, an m x m matrix.
    """
    r_u = torch.linalg.qr(factors.U.mT).R
    r_v = torch.linalg.qr(factors.V.mT).R
    values = torch.linalg.svdvals(r_u @ r_v.mT)
    return torch.nn.functional.pad(values, (0, factors.U.shape[1] - values.shape[-1]))


def initialise(target: Target, count: int, rank: int, generator: torch.Generator) -> Components:
    """Random components whose sum has about the Frobenius norm of the weights, at every site."""
    return Components(
        {
            name: random_factors(site, target.weight(name), count, rank, generator)
            for name, site in target.sites.items()
        }
    )


def random_factors(
    site: Site, weight: Float[Tensor, "o i"], count: int, rank: int, generator: torch.Generator
) -> Factors:
    """Gaussian factors of one site; the rank is capped by the matrix's own."""
    o, i = site.shape
    m = min(rank, o, i)
    u = torch.randn(count, m, o, generator=generator, dtype=weight.dtype)
    v = torch.randn(count, m, i, generator=generator, dtype=weight.dtype)
    scale = (weight.square().mean().cpu() / (count * m)) ** 0.25
    return Factors((scale * u).to(weight.device), (scale * v).to(weight.device))
