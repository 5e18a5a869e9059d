"""The naive twin: the algorithmic form of the published implementation, written from its formulas.

Every component's weights P [C, o, i] are formed at every site; so are the activations n x C x o of
all components; attributions take one backward pass per output, in a loop; the sparse pass masks
n x C x m amounts and sums n x C x o activations; the simplicity loss is summed over n x C x m; and
all components are run with a gradient graph besides, their activations cached for the length of the
step. The losses are those of the package: the same numbers, the long way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from targets import Network
from torch import Tensor

from apd import Run
from apd.explanation import Explained, as_array
from apd.output_gradients import fixed_directions
from apd.sites import Factors
from apd.training.masks import batch_topk

TINY = 1e-12


@dataclass(frozen=True)
class Twin:
    """What a naive step needs.

    Attributes:
        network: the target.
        factors: the components, as leaves the optimiser moves.
        optimiser: Adam over them.
        pairs: active (input, component) pairs in a batch.
        p: of the Schatten norm.
        coefficients: of faithfulness, minimality and simplicity in the loss.
    """

    network: Network
    factors: Mapping[str, Factors]
    optimiser: torch.optim.Adam
    pairs: int
    p: float
    coefficients: tuple[float, float, float]

    def step(self, x: Tensor) -> float:
        """One optimiser step; returns the error of all components together."""
        strengths, outputs = attributions(self.network, self.factors, x)
        mask = batch_topk(strengths, self.pairs)
        everything, cached = components_outputs(self.network, self.factors, x)
        kept = torch.rand(mask.shape[1], device=x.device, dtype=x.dtype)
        terms = losses(self.network, self.factors, x, outputs, mask, kept, self.p)
        total = sum(c * term for c, term in zip(self.coefficients, terms, strict=True))
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        cached.clear()
        return F.mse_loss(everything, outputs).item()


def component_weights(factors: Mapping[str, Factors]) -> dict[str, Tensor]:
    """P [C, o, i] at every site."""
    return {site: torch.einsum("cmo,cmi->coi", f.U, f.V) for site, f in factors.items()}


def watched(network: Network, x: Tensor) -> tuple[Tensor, list[tuple[str, bool, Tensor, Tensor]]]:
    """The outputs, and for each product its site, whether transposed, its input and its output."""
    seen = []

    def apply(x: Tensor, site: str, transposed: bool = False) -> Tensor:
        y = network.dense(x, site, transposed).requires_grad_()
        seen.append((site, transposed, x.detach(), y))
        return y

    with torch.enable_grad():
        return network.compute(x, apply), seen


def effects(
    network: Network, factors: Mapping[str, Factors], x: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The outputs, and for every output the effects [n, L, C] of all components on it."""
    outputs, seen = watched(network, x)
    weights = component_weights(factors)
    acts = [
        torch.einsum("no,coi->nci" if transposed else "ni,coi->nco", x, weights[site])
        for site, transposed, x, _ in seen
    ]
    by_output = []
    for o in range(outputs.shape[1]):
        gradients = torch.autograd.grad(
            outputs[:, o].sum(), [y for *_, y in seen], retain_graph=True
        )
        by_site = dict.fromkeys(factors, 0)
        for (site, *_), act, g in zip(seen, acts, gradients, strict=True):
            by_site[site] = by_site[site] + torch.einsum("no,nco->nc", g, act)
        by_output.append(torch.stack(list(by_site.values()), 1))
    return outputs, by_output


def attributions(
    network: Network, factors: Mapping[str, Factors], x: Tensor
) -> tuple[Tensor, Tensor]:
    """sqrt((1/d) sum_o (sum_l effect)^2) for every input and component, and the outputs."""
    outputs, by_output = effects(network, factors, x)
    squares = sum(effect.sum(1) ** 2 for effect in by_output)
    return (squares / outputs.shape[1]).sqrt(), outputs.detach()


def components_outputs(
    network: Network, factors: Mapping[str, Factors], x: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The outputs when every input is run on the components of its mask, or on all.

    Beside them the activations n x C x o of every product.
    """
    acts = []

    def apply(x: Tensor, site: str, transposed: bool = False) -> Tensor:
        into, out = factors[site][::-1] if not transposed else factors[site]
        amounts = torch.einsum("ni,cmi->ncm", x, into)
        if mask is not None:
            amounts = torch.einsum("ncm,nc->ncm", amounts, mask.to(x.dtype))
        acts.append(torch.einsum("ncm,cmo->nco", amounts, out))
        return acts[-1].sum(1)

    return network.compute(x, apply), acts


def losses(
    network: Network,
    factors: Mapping[str, Factors],
    x: Tensor,
    outputs: Tensor,
    mask: Tensor,
    kept: Tensor,
    p: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Faithfulness, minimality and simplicity; `kept` is how much of inactive components stays."""
    there = torch.where(mask, torch.ones_like(kept), kept)
    return (
        faithfulness(network, factors),
        F.mse_loss(components_outputs(network, factors, x, there)[0], outputs),
        simplicity(factors, mask, p),
    )


def faithfulness(network: Network, factors: Mapping[str, Factors]) -> Tensor:
    """(1/N) sum_l ||W_l - sum_c P_c,l||^2, from the components' weights."""
    gaps = [
        network.get_parameter(site).detach() - weights.sum(0)
        for site, weights in component_weights(factors).items()
    ]
    return sum(gap.square().sum() for gap in gaps) / sum(gap.numel() for gap in gaps)


def simplicity(factors: Mapping[str, Factors], mask: Tensor, p: float) -> Tensor:
    """(1/n) sum_n sum_c s_nc sum_l,m (||U_cm||^2 ||V_cm||^2)^(p/2), over n x C x m."""
    total = 0
    for f in factors.values():
        squares = torch.einsum("cmo,cmo->cm", f.U, f.U) * torch.einsum("cmi,cmi->cm", f.V, f.V)
        powers = (squares + TINY) ** (p / 2)
        total = total + torch.einsum("cm,nc->ncm", powers, mask.to(powers.dtype)).sum()
    return total / len(mask)


@dataclass(frozen=True)
class NaiveRun(Run):
    """A run that answers a detector in the naive form."""

    network: Network

    def explain(self, x: np.ndarray, output: str | int) -> Explained:
        """What contributed to the predicted output; see `apd.Run.explain`."""
        if output != "predicted":
            raise ValueError(f"the naive form explains the predicted output, not {output!r}")
        inputs = self.target.prepare(x).requires_grad_()
        outputs, by_output = effects(self.network, self.components.factors, inputs)
        rows = torch.arange(len(x), device=outputs.device)
        predicted = outputs.argmax(1)
        every = torch.stack(by_output)
        attributions = every[predicted, rows].sum(1)
        directions = fixed_directions(len(every)).to(every)
        along = torch.einsum("kd,dnlc->knc", directions, every)
        strengths = (along.square().sum(0) / len(every)).sqrt()
        (gradient,) = torch.autograd.grad(outputs[rows, predicted].sum(), inputs)
        return Explained(*map(as_array, (outputs, attributions, strengths, inputs * gradient)))

    def masked_outputs(self, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The outputs on the components of a mask."""
        return self.on_mask(x, torch.from_numpy(mask).to(self.target.device))

    def outputs_on(self, x: np.ndarray, components: Iterable[int]) -> np.ndarray:
        """The outputs on some components, the same for all inputs."""
        mask = np.zeros((len(x), self.components.count), dtype=np.bool_)
        mask[:, list(components)] = True
        return self.masked_outputs(x, mask)

    def on_mask(self, x: np.ndarray, mask: Tensor) -> np.ndarray:
        inputs = self.target.prepare(x)
        with torch.no_grad():
            outputs, _ = components_outputs(self.network, self.components.factors, inputs, mask)
        return as_array(outputs)
