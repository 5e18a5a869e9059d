"""Parameter components: vectors in the parameter space of all sites, kept as low-rank factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from apd.sites import Factors, Site
from apd.target import Target


@dataclass(frozen=True, eq=False)
class Components:
    """C components, P_c = {site: the sum of the parts it owns there}.

    A part p is sum_m U[p, m] V[p, m]^T, of rank <= m, at one site. While parts are looked for each
    is a component of its own; those that inputs use together become one (`apd.together`).

    Attributes:
        factors: site name -> (U [P, m, o], V [P, m, i]), P parts.
        owners: site name -> the component [P] that each part belongs to. Every component has a part
            at some site.
    """

    factors: Mapping[str, Factors]
    owners: Mapping[str, Int[Tensor, "_P"]]

    @classmethod
    def of(cls, factors: Mapping[str, Factors]) -> Components:
        """As many components as parts at every site, each with one part there."""
        return cls(
            factors,
            {site: torch.arange(len(u), device=u.device) for site, (u, _) in factors.items()},
        )

    @cached_property
    def count(self) -> int:
        """C, how many components there are."""
        return 1 + max((int(o.max()) for o in self.owners.values() if len(o)), default=-1)

    @property
    def numbers_read(self) -> int:
        """How many numbers are read off a vector at most: parts at a site times their rank."""
        return max(u.shape[0] * u.shape[1] for u, _ in self.factors.values())

    def tensors(self) -> list[Tensor]:
        """Every factor, U before V, in site order: what an optimiser moves."""
        return [tensor for factors in self.factors.values() for tensor in factors]

    def living(self) -> Living:
        """Those with weights at any site."""
        held = {
            site: u.flatten(1).any(1) & v.flatten(1).any(1) for site, (u, v) in self.factors.items()
        }
        places = torch.cat([self.owners[site][held[site]] for site in held]).unique()
        return Living(self.some(places), places, self.count)

    def zero(self) -> list[int]:
        """The numbers of those without weights at any site, in rising order."""
        living = set(self.living().places.tolist())
        return [c for c in range(self.count) if c not in living]

    def some(self, chosen: Int[Tensor, "some"]) -> Components:
        """Those of rising numbers, which then count from 0."""
        kept = {site: torch.isin(owner, chosen) for site, owner in self.owners.items()}
        return Components(
            {site: factors.of(kept[site]) for site, factors in self.factors.items()},
            {
                site: torch.searchsorted(chosen, owner[kept[site]])
                for site, owner in self.owners.items()
            },
        )

    def component(self, c: int) -> dict[str, Float[Tensor, "o i"]]:
        """P_c, the weights of one component."""
        own = {site: factors.of(self.owners[site] == c) for site, factors in self.factors.items()}
        return {site: total(factors) for site, factors in own.items()}

    def sum(self) -> dict[str, Float[Tensor, "o i"]]:
        """sum_c P_c at every site."""
        return {site: total(factors) for site, factors in self.factors.items()}

    def mixture(self, shares: Float[Tensor, "C"]) -> dict[str, Float[Tensor, "o i"]]:
        """sum_c shares_c P_c at every site."""
        mixed = {}
        for site, factors in self.factors.items():
            own = shares[self.owners[site]]
            some = own.nonzero().flatten()
            u, v = factors.of(some)
            mixed[site] = total(Factors(own[some, None, None] * u, v))
        return mixed

    def residual(self, target: Target) -> dict[str, Float[Tensor, "o i"]]:
        """theta* - sum_c P_c at every site: what no component owns."""
        return {site: target.weight(site) - total for site, total in self.sum().items()}

    def norm_shares(self, target: Target) -> dict[str, Float[Tensor, "C"]]:
        """||P_c,l|| / ||W_l|| of every component at every site, without forming any weights.

        0 of no weights at all.
        """
        return {
            site: norms.sqrt() / target.weight(site).norm().clamp_min(torch.finfo(norms.dtype).tiny)
            for site, norms in self.squared_norms().items()
        }

    def squared_norms(self) -> dict[str, Float[Tensor, "C"]]:
        """||P_c||^2 of every component at every site, without forming any weights."""
        norms = {}
        for site, factors in self.factors.items():
            owner = self.owners[site]
            own = gram(factors) * (owner[:, None] == owner)
            norms[site] = own.new_zeros(self.count).index_add_(0, owner, own.sum(1)).clamp_min(0)
        return norms

    def ranks(self, tolerance: float = 1e-2) -> Float[Tensor, "C"]:
        """Effective rank of every component, summed over sites.

        Singular values below `tolerance` times the largest of any component at that site are
        not counted, so a dead component has rank 0.
        """
        found = torch.zeros(self.count)
        for site, factors in self.factors.items():
            owner = self.owners[site]
            owning = owner.unique().tolist()
            spectra = [singular_values(joined(factors.of(owner == c))) for c in owning]
            largest = max((float(values.max()) for values in spectra), default=0.0)
            for c, values in zip(owning, spectra, strict=True):
                found[c] += int((values > tolerance * largest).sum())
        return found

    def inner_products(self) -> Float[Tensor, "C C"]:
        """<P_c, P_d> in the parameter space of all sites, without forming any weights."""
        found = torch.zeros(self.count, self.count)
        for site, factors in self.factors.items():
            owner, products = self.owners[site], gram(factors)
            found = found.to(products)
            found.index_put_((owner[:, None], owner), products, accumulate=True)
        return found


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


def total(factors: Factors) -> Float[Tensor, "o i"]:
    """The sum of all parts at a site."""
    return factors.U.flatten(0, 1).T @ factors.V.flatten(0, 1)


def joined(factors: Factors) -> Factors:
    """All parts at a site as one."""
    return Factors(factors.U.flatten(0, 1)[None], factors.V.flatten(0, 1)[None])


def gram(factors: Factors) -> Float[Tensor, "P P"]:
    """Inner products of parts: sum over m, k of (U[p, m] . U[q, k]) (V[p, m] . V[q, k])."""
    u, v = factors
    outputs = torch.einsum("pmo,qko->pqmk", u, u)
    inputs = torch.einsum("pmi,qki->pqmk", v, v)
    return (outputs * inputs).sum((2, 3))


def singular_values(factors: Factors) -> Float[Tensor, "P m"]:
    """Singular values of every part at one site, without forming its weights.

    With U^T = Q_u R_u and V^T = Q_v R_v, those of U^T V are those of R_u R_v^T, an m x m matrix.
    """
    r_u = torch.linalg.qr(factors.U.mT).R
    r_v = torch.linalg.qr(factors.V.mT).R
    values = torch.linalg.svdvals(r_u @ r_v.mT)
    return torch.nn.functional.pad(values, (0, factors.U.shape[1] - values.shape[-1]))


def initialise(target: Target, count: int, rank: int, generator: torch.Generator) -> Components:
    """Random components whose sum has about the Frobenius norm of the weights, at every site."""
    return Components.of(
        {
            name: random_factors(site, target.weight(name), count, rank, generator)
            for name, site in target.sites.items()
        }
    )


def whole_network(target: Target) -> Components:
    """One component that holds all weights."""
    return Components.of({site: whole(target.weight(site)) for site in target.sites})


def whole(weight: Float[Tensor, "o i"]) -> Factors:
    """W as I^T W, or as (W^T)^T I where that has fewer parts."""
    o, i = weight.shape
    eye = torch.eye(min(o, i), dtype=weight.dtype, device=weight.device)
    return Factors(eye[None], weight[None]) if o <= i else Factors(weight.T[None], eye[None])


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
