"""What a component reads and writes most at a run's first site."""

from __future__ import annotations

from collections.abc import Callable

import torch

import apd
from mad.reports import Directed


def directing(run: apd.Run) -> Callable[[int], Directed | None]:
    """The leading singular vectors of P_c at the first site, or None where P_c is zero there.

    The number that counts for most in what is read is positive, which settles the sign of both.
    """
    site, factors = next(iter(run.components.factors.items()))
    owner = run.components.owners[site]
    use = run.target.sites[site].uses[0]
    patch = run.target.state[site].shape[1:]

    def directed(c: int) -> Directed | None:
        u, v = (f.flatten(0, 1).T.double() for f in factors.of(owner == c))
        q_u, r_u = torch.linalg.qr(u)
        q_v, r_v = torch.linalg.qr(v)
        left, values, right = torch.linalg.svd(r_u @ r_v.T)
        if not values.any():
            return None
        read, write = use.sides(q_u @ left[:, 0], q_v @ right[0])
        sign = read[read.abs().argmax()].sign()
        read = read.reshape(patch) if read.numel() == patch.numel() else read
        return Directed(site, (sign * read).cpu().numpy(), (sign * write).cpu().numpy())

    return directed
