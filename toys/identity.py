"""The toy model of superposition with an identity layer between its two halves.

Bushnaq, Braun and Sharkey 2025 (arXiv 2506.20790, stochastic parameter decomposition): the identity
is one mechanism of full rank that every input exercises, beside one of rank one per feature.
"""

from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from toys import superposition
from toys.planted import draw
from toys.toy import Toy


class IdentityTMS(nn.Module):
    """x -> ReLU(W^T H W x + b), with W [hidden, features], H [hidden, hidden], b [features]."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.zeros(hidden, features))
        self.H = nn.Parameter(torch.eye(hidden))
        self.b = nn.Parameter(torch.zeros(features))

    def forward(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n features"]:
        """The reconstruction of x."""
        return relu(linear(linear(linear(x, self.W), self.H), self.W.T, self.b))


def active(x: Float[Tensor, "n features"]) -> Bool[Tensor, "n features+1"]:
    """Mechanism j is exercised where feature j is not zero, the last where any feature is not."""
    features = superposition.active(x)
    return torch.cat([features, features.any(1, keepdim=True)], 1)


def build(features: int, hidden: int, seed: int, planted: bool = False) -> Toy:
    """The toy "tms-{features}-{hidden}-identity": the network of the toy without "-identity".

    The identity is not trained, and so the rest is as good as it was. Mechanisms: one per feature,
    and {"H": identity}. The planted mechanism is that of feature seed % features.
    """
    generator = torch.Generator().manual_seed(seed)
    model = _with_identity(superposition.trained(features, hidden, generator))
    absent = seed % features if planted else None
    sample = partial(superposition.sample, features)
    reference, inputs = draw(sample, superposition.active, absent, generator)
    return Toy(
        name=f"tms-{features}-{hidden}-identity",
        seed=seed,
        model=model,
        reference=reference,
        inputs=inputs,
        mechanisms=[*superposition.mechanisms(model.W), {"H": model.H.clone()}],
        planted=absent,
    )


def _with_identity(tms: superposition.TMS) -> IdentityTMS:
    hidden, features = tms.W.shape
    model = IdentityTMS(features, hidden)
    model.load_state_dict(tms.state_dict(), strict=False)
    return model.eval().requires_grad_(False)
