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
    use = run.target.sites[site].uses[0]
    patch = run.target.state[site].shape[1:]

    def directed(c: int) -> Directed | None:
        q_u, r_u = torch.linalg.qr(factors.U[c].T.double())
        q_v, r_v = torch.linalg.qr(factors.V[c].T.double())
        left, values, right = torch.linalg.svd(r_u @ r_v.T)
        if not float(values[0]):
            return None
        read, write = use.sides(q_u @ left[:, 0], q_v @ right[0])
        sign = read[read.abs().argmax()].sign()
        read = read.reshape(patch) if read.numel() == patch.numel() else read
        return Directed(site, (sign * read).cpu().numpy(), (sign * write).cpu().numpy())

    return directed
