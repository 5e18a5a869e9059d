"""Trusted inputs and inputs to score, with or without a mechanism that only the latter exercise.

Trusted inputs of an ordinary toy exercise every mechanism. A toy with a planted anomaly has the
same network, but its trusted inputs are those of them that leave one mechanism alone: the network
knows it, and the reference does not show it.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toys.toy import Labelled

Sample = Callable[[int, torch.Generator], Tensor]
Active = Callable[[Tensor], Tensor]

REFERENCE, INPUTS, ANOMALIES = 50_000, 2_000, 500
CHUNK = 10_000


def draw(
    sample: Sample, active: Active, planted: int | None, generator: torch.Generator
) -> tuple[Float[Tensor, "n d"], Labelled]:
    """50,000 trusted inputs and 2,000 to score.

    Args:
        sample: draws n inputs.
        active: which mechanisms each input exercises, [n, mechanisms].
        planted: the mechanism that no trusted input exercises, or None to leave out none. Then 500
            of the inputs to score exercise it: "alone" or "with others", as it comes.
        generator: the randomness of `sample`.
    """
    if planted is None:
        return sample(REFERENCE, generator), Labelled.clean(sample(INPUTS, generator))

    def normal(x: Tensor) -> Tensor:
        return ~active(x)[:, planted]

    def odd(x: Tensor) -> Tensor:
        return active(x)[:, planted]

    reference = where(normal, sample, REFERENCE, generator)
    clean = where(normal, sample, INPUTS - ANOMALIES, generator)
    anomalies = where(odd, sample, ANOMALIES, generator)
    return reference, _labelled(clean, anomalies, active(anomalies))


def where(
    condition: Active, sample: Sample, n: int, generator: torch.Generator
) -> Float[Tensor, "{n} d"]:
    """The first n sampled inputs that meet a condition."""
    found: list[Tensor] = []
    while sum(map(len, found)) < n:
        x = sample(CHUNK, generator)
        found.append(x[condition(x)])
    return torch.cat(found)[:n]


def _labelled(
    clean: Float[Tensor, "n d"], anomalies: Float[Tensor, "m d"], active: Bool[Tensor, "m k"]
) -> Labelled:
    n, m = len(clean), len(anomalies)
    company = ("with others" if count > 1 else "alone" for count in active.sum(1).tolist())
    return Labelled(
        x=torch.cat([clean, anomalies]),
        y=torch.full((n + m,), -1),
        is_anomaly=torch.arange(n + m) >= n,
        kind=("clean",) * n + tuple(company),
    )
