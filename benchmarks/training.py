"""One training step: the naive twin's, the package's, and a plain forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch
from measure import Work, interleaved, matmul, matmul_fraction, peak_mb, ratio
from naive import Twin, losses
from rows import Row
from targets import PAPER, Network, Problem, frozen, tms
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from apd import Config, Target
from apd.components import Components
from apd.sites import Factors
from apd.strength import strength_of
from apd.threads import threads_for
from apd.training.background import random_shares
from apd.training.objectives.batch_topk import active_sets
from apd.training.scales import Scales, scales_of
from apd.training.state import begin
from apd.training.train import batch, generator_of, train

BATCHES = 4
STEPS_FOR_MEMORY = 3


def rows(device: str, threads: int, quick: bool) -> Iterator[Row]:
    """The published experiments at their own number of components, rank and batch."""
    for problem in PAPER[1:3] if quick else PAPER:
        yield measured(problem, device, threads, 3 if quick else 5)


def measured(problem: Problem, device: str, threads: int, rounds: int) -> Row:
    """One experiment."""
    works = {
        "naive": naive_steps(problem, device),
        "ours": our_steps(problem, device),
        "plain": plain(problem.network(device), problem.inputs(batch_size(problem), device)),
        "matmul": matmul(device),
    }
    times = interleaved(works, device, rounds)
    seconds = {name: median(values) for name, values in times.items()}
    return Row(
        section="training",
        experiment=f"step: {problem.name}",
        device=device,
        threads=threads,
        naive_s=seconds["naive"],
        ours_s=seconds["ours"],
        plain_s=seconds["plain"],
        speedup=ratio(times["naive"], times["ours"]),
        times_plain=ratio(times["ours"], times["plain"]),
        naive_peak_mb=peak(naive_steps, problem, device, threads),
        ours_peak_mb=peak(our_steps, problem, device, threads),
        matmul_fraction=matmul_fraction(
            operations(problem, device), seconds["ours"], seconds["matmul"]
        ),
        loss_difference=loss_difference(problem, device),
    )


def peak(
    steps: Callable[[Problem, str], Work], problem: Problem, device: str, threads: int
) -> float:
    """Peak memory of a few steps."""
    return peak_mb(several, steps, problem, device, device=device, threads=threads)


def several(steps: Callable[[Problem, str], Work], problem: Problem, device: str) -> Work:
    """A few steps as one piece of work, its code loaded by steps of a tiny problem."""
    tiny = steps(tms(3, 2, components=2, active=0.5, batch_size=4), device)
    tiny()
    step = steps(problem, device)
    return lambda: [step() for _ in range(STEPS_FOR_MEMORY)]


def our_steps(problem: Problem, device: str) -> Work:
    """A call that makes the next step of `apd.training.train.train`, for all weights together.

    As the published ones do; `apd.decompose` makes such steps for one weight after the other.
    """
    config, target, reference = setting(problem, device)
    threads = partial(threads_for, target, config.components * config.rank, config.batch_size)
    steps: list[Iterator[object]] = []

    def step() -> object:
        if not steps:
            steps.append(train(target, reference, config, begin(target, config)))
        with threads():
            return next(steps[0])

    return step


def naive_steps(problem: Problem, device: str) -> Work:
    """A call that makes the next step of the naive twin, from the same components."""
    config, target, reference = setting(problem, device)
    network = problem.network(device).requires_grad_(False)
    scales = scales_of(target, reference, config)
    twins: list[Twin] = []
    done = iter(range(config.steps))

    def step() -> None:
        if not twins:
            twins.append(twin(network, begin(target, config).components, config, scales))
        twins[0].step(batch(reference, config, generator_of(config, next(done))))

    return step


def plain(network: Network, x: Tensor) -> Work:
    """One forward and backward of the target itself."""

    def work() -> None:
        network.zero_grad()
        network(x).square().mean().backward()

    return work


def setting(problem: Problem, device: str) -> tuple[Config, Target, Tensor]:
    """The settings, the target, and the inputs that batches are drawn from."""
    reference = problem.inputs(BATCHES * batch_size(problem), device)
    return problem.config(), frozen(problem.network(device), reference), reference


def batch_size(problem: Problem) -> int:
    return problem.config().batch_size


def twin(network: Network, components: Components, config: Config, scales: Scales) -> Twin:
    """The naive twin of a training that begins, with the same weights of the losses.

    Its outputs' loss counts as it is, ours by its logarithm.
    """
    factors = {
        site: Factors(*(tensor.detach().clone().requires_grad_() for tensor in f))
        for site, f in components.factors.items()
    }
    leaves = [tensor for f in factors.values() for tensor in f]
    return Twin(
        network=network,
        factors=factors,
        optimiser=torch.optim.Adam(leaves, lr=config.learning_rate),
        pairs=round(config.active * config.batch_size),
        p=config.schatten_p,
        coefficients=(
            config.faithfulness / scales.weights.item(),
            config.minimality / scales.outputs.item(),
            config.simplicity / (config.active * scales.simplicity),
        ),
    )


def loss_difference(problem: Problem, device: str) -> float:
    """Largest relative difference of the three losses on the same components, batch and mask."""
    config, target, reference = setting(problem, device)
    components = begin(target, config).components
    scales = scales_of(target, reference, config)
    generator = generator_of(config, 0)
    x = batch(reference, config, generator)
    strength = strength_of(target, components, x[:1], config.projections)
    outputs, mask = active_sets(strength, components, x, config.active, generator)
    kept = random_shares(components.count, generator).to(x)
    network = problem.network(device).requires_grad_(False)
    naive = losses(network, components.factors, x, outputs, mask, kept, config.schatten_p)
    step = next(train(target, reference, config, begin(target, config)))
    ours = (
        step.faithfulness * scales.weights,
        step.minimality * scales.outputs,
        step.simplicity * config.active * scales.simplicity,
    )
    return max(abs(float(a) / float(b) - 1) for a, b in zip(naive, ours, strict=True))


def operations(problem: Problem, device: str) -> float:
    """Floating-point operations in matrix products that a step cannot do without.

    Counted: a forward of the target and one backward of it to its activations; the same of what is
    run beside active components, and its backward to weights; what every part of every component
    reads from each input, and its product with one gradient per input, at every use of a site (so
    attributions to one output, or to one projection of them); the forward and backward of the
    active (input, component) pairs alone; and two sums of the components, as they are and by
    shares, with their backward. Nothing is counted twice because some way of computing repeats it,
    so the fraction of the matmul rate is low where attributions are taken to each of many outputs.
    """
    config, target, reference = setting(problem, device)
    n, parts = config.batch_size, config.components * config.rank
    active = config.active * config.rank
    total = 5.0 * forward_operations(problem.network(device), reference[:n])
    for site in target.sites.values():
        o, i = site.shape
        total += len(site.uses) * 2 * n * (parts + 3 * active) * (o + i)
        total += 2 * 3 * 2 * parts * o * i
    return total


def forward_operations(network: Network, x: Tensor) -> int:
    """Floating-point operations of the products in one forward of the target."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    return counter.get_total_flops()
