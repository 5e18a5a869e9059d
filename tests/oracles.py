"""Obviously right twins of every fast quantity: explicit loops over explicit weights.

Nothing here knows of read, write or adjoint, nor of any other shortcut of apd and mad.
"""

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch
from problems import Problem
from sklearn.model_selection import KFold
from torch import Tensor, nn
from torch.func import functional_call, jvp

from apd import Components
from apd.sites import Factors
from mad.predicted import Predicted

# --- components -----------------------------------------------------------------------------


def weights_of(problem: Problem, c: int) -> dict[str, Tensor]:
    """P_c at every site, summed up out of outer products."""
    weights = {}
    for site, (U, V) in problem.components.factors.items():
        weights[site] = torch.zeros(U.shape[2], V.shape[2], dtype=U.dtype)
        for p, owner in enumerate(problem.components.owners[site].tolist()):
            if owner == c:
                for m in range(U.shape[1]):
                    weights[site] = weights[site] + torch.outer(U[p, m], V[p, m])
    return weights


def all_weights(problem: Problem) -> list[dict[str, Tensor]]:
    return [weights_of(problem, c) for c in range(problem.components.count)]


def shaped_weights(problem: Problem) -> list[dict[str, Tensor]]:
    """Every P_c in the shapes of the module's parameters, which a convolution's are."""
    shapes = {name: parameter.shape for name, parameter in problem.module.named_parameters()}
    return [
        {site: weight.reshape(shapes[site]) for site, weight in weights.items()}
        for weights in all_weights(problem)
    ]


def inner_product(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return sum((first[site] * second[site]).sum().item() for site in first)


def low_rank(matrix: Tensor, rank: int) -> Tensor:
    """The best approximation of that rank (Eckart and Young 1936)."""
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] @ torch.diag(values[:rank]) @ v[:rank]


def parallel_pairs(weights: list[dict[str, Tensor]], cosine: float) -> list[tuple[int, int]]:
    """From the largest component down, each takes in those that are left and alike."""
    norms = [math.sqrt(inner_product(w, w)) for w in weights]
    left = sorted(range(len(weights)), key=lambda c: -norms[c])
    pairs = []
    while left:
        larger = left.pop(0)
        for c in list(left):
            if norms[c] > 0 and inner_product(weights[larger], weights[c]) >= (
                cosine * norms[larger] * norms[c]
            ):
                pairs.append((larger, c))
                left.remove(c)
    return pairs


# --- attribution and masks ------------------------------------------------------------------


def effects(problem: Problem) -> Tensor:
    """The derivative of every input's outputs along every P_c,l: [n, L, C, d]."""
    parameters = dict(problem.module.named_parameters())

    def effect(site: str, component: dict[str, Tensor]) -> Tensor:
        def outputs(weight: Tensor) -> Tensor:
            return functional_call(problem.module, {**parameters, site: weight}, (problem.x,))

        return derivative(outputs, parameters[site].detach(), component[site])

    components = shaped_weights(problem)
    return torch.stack(
        [
            torch.stack([effect(site, component) for component in components], dim=1)
            for site in problem.target.sites
        ],
        dim=1,
    )


def derivative(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> Tensor:
    """d/dt function(at + t along) at t = 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's own, on first use
        return jvp(function, (at,), (along,))[1].detach()


def input_effects(problem: Problem) -> Tensor:
    """Of every coordinate on the chosen output, as if it grew in proportion: [n, p]."""
    x = problem.x.flatten(1)
    rows = torch.arange(len(x))
    return torch.stack(
        [
            derivative(
                lambda x: problem.module(x.view_as(problem.x))[rows, problem.chosen],
                x,
                x * (torch.arange(x.shape[1]) == j),
            )
            for j in range(x.shape[1])
        ],
        1,
    )


def masked_outputs(problem: Problem, mask: Tensor) -> Tensor:
    """Each input run alone, on the sum of the components its mask names."""
    return masked_run(problem, mask).detach()


def masked_run(
    problem: Problem, mask: Tensor, rest: float = 0.0, kept: Tensor | None = None
) -> Tensor:
    """The same, differentiable with respect to the components' factors.

    With a rest, that share of all other weights is there too; a component that its mask does not
    name is there by the share of it that is kept.
    """
    parameters = dict(problem.module.named_parameters())
    components = shaped_weights(problem)
    shares = [0.0] * len(components) if kept is None else kept.tolist()
    rows = []
    for row, on in zip(problem.x, mask, strict=True):
        weights = {site: torch.zeros_like(parameters[site]) for site in problem.target.sites}
        for component, is_on, share in zip(components, on.tolist(), shares, strict=True):
            there = 1.0 if is_on else share
            weights = {site: weights[site] + there * component[site] for site in weights}
        weights = {site: w + rest * (parameters[site].detach() - w) for site, w in weights.items()}
        rows.append(functional_call(problem.module, {**parameters, **weights}, (row[None],))[0])
    return torch.stack(rows)


def rms_over_outputs(signed: Tensor) -> Tensor:
    """sqrt((1/d) sum_o signed_o^2) over the last axis, by a loop."""
    d = signed.shape[-1]
    return (sum(signed[..., o] ** 2 for o in range(d)) / d).sqrt()


def topk(strength: Tensor, k: int) -> Tensor:
    """The k largest entries on, by sorting them all (no two may be equal)."""
    entries = sorted(
        ((value, n, c) for n, row in enumerate(strength.tolist()) for c, value in enumerate(row)),
        reverse=True,
    )
    mask = torch.zeros(strength.shape, dtype=torch.bool)
    for _, n, c in entries[:k]:
        mask[n, c] = True
    return mask


# --- losses ---------------------------------------------------------------------------------


def faithfulness(problem: Problem) -> float:
    """Mean squared gap between every weight and the sum of its components."""
    parameters = dict(problem.module.named_parameters())
    components = shaped_weights(problem)
    squares, count = 0.0, 0
    for site in problem.target.sites:
        gap = parameters[site].detach() - sum(component[site] for component in components)
        for value in gap.flatten().tolist():
            squares += value**2
            count += 1
    return squares / count


def training_gradient(
    problem: Problem,
    mask: Tensor,
    coefficients: tuple[float, float, float],
    p: float,
    kept: Tensor,
    rest: float = 0.0,
    unit: float = 1.0,
) -> list[Tensor]:
    """The gradient, at every factor, of the weighted losses, from explicit weights by autograd.

    The outputs' loss is in units of `unit` and counts by its logarithm.
    """
    leaves = [tensor.clone().requires_grad_() for tensor in problem.components.tensors()]
    factors = {
        site: Factors(leaves[2 * k], leaves[2 * k + 1])
        for k, site in enumerate(problem.target.sites)
    }
    owners = problem.components.owners
    made = dataclasses.replace(problem, components=Components(factors, owners))
    gaps = [
        problem.target.weight(site) - sum(component[site] for component in all_weights(made))
        for site in factors
    ]
    faithful = sum(gap.square().sum() for gap in gaps) / sum(gap.numel() for gap in gaps)
    error = (
        (masked_run(made, mask, rest, kept) - forward(problem.module, problem.x)).square().mean()
    )
    minimal = torch.log(1 + error / unit)
    simple = sum(
        ((U[c, m].square().sum() * V[c, m].square().sum()) ** (p / 2)) * mask[n, c]
        for U, V in factors.values()
        for n, c in mask.nonzero().tolist()
        for m in range(U.shape[1])
    ) / len(mask)
    loss = sum(c * term for c, term in zip(coefficients, (faithful, minimal, simple), strict=True))
    return list(torch.autograd.grad(loss, leaves))


def mse(outputs: Tensor, masked: Tensor) -> float:
    gaps = [
        (a - b) ** 2
        for row, other in zip(outputs.tolist(), masked.tolist(), strict=True)
        for a, b in zip(row, other, strict=True)
    ]
    return sum(gaps) / len(gaps)


def kl(outputs: Tensor, masked: Tensor) -> float:
    """Mean over inputs of sum_o p_o (ln p_o - ln q_o)."""
    total = 0.0
    for row, other in zip(outputs.tolist(), masked.tolist(), strict=True):
        p, q = softmax(row), softmax(other)
        total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    return total / len(outputs)


def softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def factor_bound(problem: Problem, usage: Tensor, p: float) -> float:
    """sum_c usage_c sum_l sum_m (|U_cm| |V_cm|)^p."""
    total = 0.0
    for U, V in problem.components.factors.values():
        for c in range(U.shape[0]):
            for m in range(U.shape[1]):
                total += usage[c].item() * (U[c, m].norm() * V[c, m].norm()).item() ** p
    return total


def schatten(problem: Problem, usage: Tensor, p: float) -> float:
    """sum_c usage_c sum_l (sum of the p-th powers of P_c,l's singular values)."""
    return sum(
        usage[c].item() * (torch.linalg.svdvals(weight) ** p).sum().item()
        for c, weights in enumerate(all_weights(problem))
        for weight in weights.values()
    )


# --- recovery -------------------------------------------------------------------------------


def matches(weight: Tensor, components: Tensor) -> list[tuple[int, float, float]]:
    """Per column: the component most alike, the cosine, and the ratio of lengths."""
    found = []
    for i in range(weight.shape[1]):
        column = weight[:, i]
        alike = []
        for c in range(len(components)):
            other = components[c][:, i]
            if other.norm() > 0:
                cosine = (column @ other / column.norm() / other.norm()).item()
                alike.append((cosine, c, (other.norm() / column.norm()).item()))
        cosine, c, ratio = max(alike)
        found.append((c, cosine, ratio))
    return found


# --- Gaussian codes -------------------------------------------------------------------------


def class_means(z: np.ndarray, predicted: Predicted) -> np.ndarray:
    """The mean of every class's rows, by confidence, and of one further row, the overall mean.

    The further row is of average confidence.
    """
    means = []
    for k in range(predicted.classes):
        weight = float(np.mean(predicted.confidence))
        total = weight * z.mean(0)
        for row, label, confidence in zip(z, predicted.label, predicted.confidence, strict=True):
            if label == k:
                total, weight = total + confidence * row, weight + confidence
        means.append(total / weight)
    return np.stack(means)


def ledoit_wolf(deviations: np.ndarray) -> np.ndarray:
    """The shrunk covariance of centred rows (Ledoit and Wolf 2004, lemmas 3.2 to 3.5)."""
    n, D = deviations.shape
    sample = sum(np.outer(row, row) for row in deviations) / n
    mean = np.trace(sample) / D
    d2 = np.sum((sample - mean * np.eye(D)) ** 2) / D
    b2 = sum(np.sum((np.outer(row, row) - sample) ** 2) for row in deviations) / D / n**2
    shrinkage = min(b2, d2) / d2
    return (1 - shrinkage) * sample + shrinkage * mean * np.eye(D)


class Tree:
    """The code of `mad.codes.tree`, one thing of one set at a time.

    Args:
        on, group: the sets.
        prior: from how many further rows a rate borrows.
        parent: what each thing depends on; found among all trees where it is not given.
    """

    def __init__(self, on, group, prior, parent=None):
        self.on, self.group, self.prior = on, group, prior
        self.parent = self.best() if parent is None else parent

    def borrowing(self, rows, c, otherwise):
        count = sum(bool(row[c]) for row in rows)
        return (count + self.prior * otherwise) / (len(rows) + self.prior)

    def rate(self, c: int, k: int) -> float:
        """How often a thing is on in a group."""
        overall = (sum(bool(row[c]) for row in self.on) + 0.5) / (len(self.on) + 1)
        return self.borrowing(self.on[self.group == k], c, overall)

    def length(self, row: np.ndarray, c: int, k: int) -> float:
        """Bits of what one set says of one thing."""
        p, parent = self.rate(c, k), self.parent[c]
        if parent != c:
            own = self.on[self.group == k]
            p = self.borrowing(own[own[:, parent] == row[parent]], c, p)
        return -math.log2(p if row[c] else 1 - p)

    def information(self, c: int, e: int) -> float:
        """What two things say of one another beyond what the group says, in bits."""
        total = 0.0
        for k in set(self.group.tolist()):
            own = self.on[self.group == k]
            independent = {
                (v, w): (self.rate(c, k) if v else 1 - self.rate(c, k))
                * (self.rate(e, k) if w else 1 - self.rate(e, k))
                for v, w in itertools.product([False, True], repeat=2)
            }
            joint = {
                (v, w): (sum((own[:, c] == v) & (own[:, e] == w)) + self.prior * p)
                / (len(own) + self.prior)
                for (v, w), p in independent.items()
            }
            for (v, w), p in joint.items():
                one = sum(q for (a, _), q in joint.items() if a == v)
                other = sum(q for (_, b), q in joint.items() if b == w)
                total += len(own) * p * math.log2(p / one / other)
        return total

    def best(self) -> list[int]:
        """The tree of the most information with the first thing for its root."""
        C = self.on.shape[1]
        pair = {(c, e): self.information(c, e) for c in range(C) for e in range(C) if c != e}
        trees = (
            [0, *parents]
            for parents in itertools.product(range(C), repeat=C - 1)
            if reaches_the_root([0, *parents])
        )
        return max(trees, key=lambda tree: sum(pair[c, e] for c, e in enumerate(tree) if c))


def reaches_the_root(parent: list[int]) -> bool:
    """Whether everything descends from the first."""
    for c in range(len(parent)):
        for _ in parent:
            c = parent[c]
        if c:
            return False
    return True


def predicted(outputs: np.ndarray, label: np.ndarray) -> Predicted:
    """Predictions, as sure as a softmax by hand has them."""
    confidence = [max(softmax(row)) for row in outputs.tolist()]
    return Predicted(label, np.array(confidence), outputs.shape[1])


class Gaussian:
    """The code of `mad.codes.gaussian`, one row at a time.

    Args:
        z, predicted: the rows, and what was predicted for them.
        own: a class's own share in its covariance.
        large: classes that have a covariance of their own.
        alike: whether all coordinates have the unit of an average one.
        least: what a coordinate is taken to vary by, of what an average one does.
    """

    def __init__(self, z, predicted, own=None, large=None, alike=False, least=1e-3):
        label, classes = predicted.label, predicted.classes
        enough = [k for k in range(classes) if sum(label == k) >= 25]
        self.large = enough if large is None else large
        self.means = class_means(z, predicted)
        deviations = np.stack(
            [
                math.sqrt(confidence) * (row - self.means[k])
                for row, k, confidence in zip(z, label, predicted.confidence, strict=True)
            ]
        )
        spread = np.sqrt(np.mean(deviations**2, axis=0))
        average = math.sqrt(np.mean(spread**2))
        if alike:
            self.scale, self.lacking = np.array([average] * len(spread)), 1e-6 * np.eye(len(spread))
        else:
            self.scale = np.array([max(s, least * average) for s in spread])
            self.lacking = np.diag(
                [max(1e-6, 1 - s**2 / max(s, least * average) ** 2) for s in spread]
            )
        self.own = shortest(z, predicted, least) if own is None else own
        self.shared = ledoit_wolf(deviations / self.scale) + self.lacking
        self.covariance = []
        for k in range(classes):
            rows = (deviations / self.scale)[label == k]
            its = ledoit_wolf(rows) + self.lacking if k in self.large else self.shared
            self.covariance.append(self.own * its + (1 - self.own) * self.shared)

    def length(self, row: np.ndarray, k: int, confidence: float) -> float:
        """Bits of one row, up to a constant."""
        ratio = np.linalg.det(self.covariance[k]) / np.linalg.det(self.shared)
        deviation = (row - self.means[k]) / self.scale
        distance = deviation @ np.linalg.inv(self.covariance[k]) @ deviation
        return confidence * float(distance) / (2 * math.log(2)) + 0.5 * math.log2(ratio)

    def lengths(self, z: np.ndarray, predicted: Predicted) -> list[float]:
        """Those of several rows."""
        each = zip(z, predicted.label, predicted.confidence, strict=True)
        return [self.length(*row) for row in each]


def shortest(z: np.ndarray, predicted: Predicted, least: float = 1e-3) -> float:
    """The own share under which held-out rows are the shortest on average."""
    shares = (0.0, 0.25, 0.5, 0.75, 0.9)
    return min(shares, key=lambda own: np.mean(held_out(z, predicted, own, least)[0]))


def held_out(
    z: np.ndarray, predicted: Predicted, own: float, least: float = 1e-3
) -> tuple[list[float], list[int]]:
    """The lengths of rows that the code was not fitted on, and their classes."""
    large = [k for k in range(predicted.classes) if sum(predicted.label == k) >= 25]
    lengths, of = [], []
    for rows, others in KFold(5, shuffle=True, random_state=0).split(z):
        fold = Gaussian(z[rows], predicted.rows(rows), own, large, least=least)
        lengths += fold.lengths(z[others], predicted.rows(others))
        of += predicted.label[others].tolist()
    return lengths, of


# --- p-values and metrics -------------------------------------------------------------------


def p_value(score: float, calibration: np.ndarray) -> float:
    if math.isnan(score):
        return math.nan
    return (1 + sum(1 for other in calibration if other >= score)) / (len(calibration) + 1)


def auroc(clean: np.ndarray, anomalous: np.ndarray) -> float:
    wins = sum((a > c) + 0.5 * (a == c) for a in anomalous for c in clean)
    return wins / (len(clean) * len(anomalous))


def tpr_at_fpr(clean: np.ndarray, anomalous: np.ndarray, fpr: str) -> float:
    """Share of anomalies above the lowest threshold that clean inputs exceed seldom enough."""
    for threshold in [-math.inf, *sorted(clean)]:
        exceeding = sum(1 for c in clean if c > threshold)
        if Fraction(exceeding, len(clean)) <= Fraction(fpr):
            return sum(1 for a in anomalous if a > threshold) / len(anomalous)
    raise AssertionError


def forward(module: nn.Module, x: Tensor) -> Tensor:
    """What the module itself says, one input at a time."""
    with torch.no_grad():
        return torch.cat([module(row[None]) for row in x])


# --- wide Gaussian codes --------------------------------------------------------------------


class IsotropicGaussian(Gaussian):
    """The ungrouped code with all but the widest directions' variances replaced by their mean."""

    def __init__(self, z: np.ndarray, kept: int):
        super().__init__(z, Predicted.alike(len(z)), own=0.0)
        D = len(self.scale)
        values, vectors = np.linalg.eigh(self.shared)
        order = sorted(range(D), key=lambda j: -values[j])
        rest = np.mean([values[j] for j in order[kept:]])
        self.shared = sum(
            (values[j] if place < kept else rest) * np.outer(vectors[:, j], vectors[:, j])
            for place, j in enumerate(order)
        )
        self.covariance = [self.shared]


# --- mechanisms, and components removed -----------------------------------------------------


def whole(mechanisms: list[dict[str, Tensor]]) -> Components:
    """Components whose weights are exactly these, of full rank: row m is e_m row^T."""
    return Components.of(
        {
            site: Factors(
                torch.eye(len(weight), dtype=weight.dtype).repeat(len(mechanisms), 1, 1),
                torch.stack([mechanism[site] for mechanism in mechanisms]),
            )
            for site, weight in mechanisms[0].items()
        }
    )


def length(weights: dict[str, Tensor]) -> float:
    return math.sqrt(inner_product(weights, weights))


def mechanism_cosines(mechanisms: list[dict[str, Tensor]], problem: Problem) -> list[list[float]]:
    """Of every mechanism with every component, from explicit weights at the mechanism's sites."""
    return [
        [
            inner_product(mechanism, weights) / length(mechanism) / length(weights)
            for weights in all_weights(problem)
        ]
        for mechanism in mechanisms
    ]


def assignment(table: list[list[float]]) -> tuple[int, ...]:
    """A column for every row, no column twice, the sum of the entries greatest: by trying all."""
    return max(
        itertools.permutations(range(len(table[0])), len(table)),
        key=lambda columns: sum(row[c] for row, c in zip(table, columns, strict=True)),
    )


def outputs_without(problem: Problem, removed: Tensor) -> Tensor:
    """Each input run alone, on the target's weights minus every component times its entry.

    Differentiable with respect to `removed`, where that is of floats.
    """
    parameters = {name: p.detach() for name, p in problem.module.named_parameters()}
    components = shaped_weights(problem)
    rows = []
    for row, amounts in zip(problem.x, removed.to(problem.target.dtype), strict=True):
        weights = dict(parameters)
        for component, amount in zip(components, amounts, strict=True):
            weights |= {site: weights[site] - amount * component[site] for site in component}
        rows.append(functional_call(problem.module, weights, (row[None],))[0])
    return torch.stack(rows)


# --- objectives -----------------------------------------------------------------------------


def sample_topk(strength: Tensor, k: int) -> Tensor:
    """The k largest entries of every row on, by sorting it (no two may be equal)."""
    return torch.cat([topk(row[None], k) for row in strength])


def jacobians(problem: Problem) -> dict[str, Tensor]:
    """The derivative of every output along every weight of every site: [n, d, *shape]."""
    parameters = {name: p.detach() for name, p in problem.module.named_parameters()}
    found = {}
    for site in problem.target.sites:
        weight = parameters[site]

        def outputs(weight: Tensor, site: str = site) -> Tensor:
            return functional_call(problem.module, {**parameters, site: weight}, (problem.x,))

        units = torch.eye(weight.numel(), dtype=weight.dtype).unflatten(1, weight.shape)
        along = [derivative(outputs, weight, unit) for unit in units]
        found[site] = torch.stack(along, dim=2).unflatten(2, weight.shape)
    return found


def attributions(jacobians: dict[str, Tensor], weights: dict[str, Tensor]) -> Tensor:
    """A(x) of one component [n], from the inner products of its weights with every gradient."""
    effects = sum(
        (jacobians[site].flatten(2) * weight.flatten()).sum(2) for site, weight in weights.items()
    )
    return rms_over_outputs(effects)


def hidden_outputs(module: nn.Module, layer: str, run: Callable[[], object]) -> Tensor:
    """What a layer puts out while something is run, an input at a time."""
    seen: list[Tensor] = []
    handle = module.get_submodule(layer).register_forward_hook(lambda _, __, y: seen.append(y[0]))
    try:
        run()
    finally:
        handle.remove()
    return torch.stack(seen)


def with_leaves(problem: Problem) -> tuple[Problem, list[Tensor]]:
    """The same components, made of factors that gradients are taken at."""
    leaves = [tensor.clone().requires_grad_() for tensor in problem.components.tensors()]
    factors = {
        site: Factors(leaves[2 * k], leaves[2 * k + 1])
        for k, site in enumerate(problem.target.sites)
    }
    owners = problem.components.owners
    return dataclasses.replace(problem, components=Components(factors, owners)), leaves
