"""Scoring: strengths, attributions to the predicted output and all terms, against the target."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measure import Work, interleaved, matmul, matmul_fraction, peak_mb, ratio
from naive import NaiveRun
from rows import Row
from targets import Problem, frozen, gaussian_mlp
from training import forward_operations, plain

from apd import Run
from apd.output_gradients import fixed_directions
from apd.training.state import begin
from cli.score import score
from mad import Detector

FEATURES = 64
SCORED, ROWS = 1024, 128
REFERENCE = 512
ACTIVE = 50.0  # of 200: more than the classifiers of the detection benchmark have
MOST_WEIGHTS, MOST_PASSED = 4e8, 5e10
PARAMETERS = (10**4, 10**5, 10**6, 10**7)
OUTPUTS = (10, 100, 1000)
QUICK = ((10**4, 10), (10**5, 100), (10**6, 10))
STREAMED = (10**3, 10**4, 10**5)
CHUNK = 1000


def rows(device: str, threads: int, quick: bool) -> Iterator[Row]:
    """MLPs from 10^4 to 10^7 parameters with 10 to 1000 outputs."""
    cells = QUICK if quick else [(p, d) for p in PARAMETERS for d in OUTPUTS]
    for parameters, outputs in cells:
        yield measured(mlp_of(parameters, outputs), device, threads, 3 if quick else 5)


def memory_rows(device: str, threads: int, quick: bool) -> Iterator[Row]:
    """Peak memory of scoring more and more rows out of a file, in Python and by `apd score`."""
    problem = mlp_of(10**5, 10)
    ways = {"Detector.stream": streamed, "apd score": by_command}
    for (way, prepare), n in product(ways.items(), STREAMED[:2] if quick else STREAMED):
        with TemporaryDirectory() as directory:
            peak = peak_mb(
                prepare, problem, device, Path(directory), n, device=device, threads=threads
            )
        yield Row(
            section="memory",
            experiment=f"{way}, {n:,} rows: {problem.name}",
            device=device,
            threads=threads,
            ours_peak_mb=peak,
        )


def mlp_of(parameters: int, outputs: int) -> Problem:
    """An MLP with two hidden layers and about that many weights, under the default settings."""
    linear = FEATURES + outputs
    hidden = round((math.sqrt(linear**2 + 4 * parameters) - linear) / 2)
    name = f"MLP 10^{round(math.log10(parameters))}, {outputs} outputs"
    return gaussian_mlp(name, FEATURES, hidden, hidden, outputs)


def measured(problem: Problem, device: str, threads: int, rounds: int) -> Row:
    """One network. The naive form is timed on one block of rows and scaled to as many as ours."""
    detector = fitted(problem, device)
    network, x = problem.network(device), problem.inputs(SCORED, device)
    array = x.cpu().numpy()
    feasible = is_feasible(detector, network(x[:1]).shape[1])
    works = {
        "ours": partial(detector.score, array),
        "plain": plain(network, x),
        "matmul": matmul(device),
    }
    if feasible:
        slow = naive(detector, problem, device)
        works["naive"] = partial(slow.score, array[:ROWS])
    times = interleaved(works, device, rounds)
    if feasible:
        times["naive"] = [SCORED / ROWS * seconds for seconds in times["naive"]]
    seconds = {name: median(values) for name, values in times.items()}
    row = Row(
        section="scoring",
        experiment=f"score {SCORED} rows: {problem.name}",
        device=device,
        threads=threads,
        ours_s=seconds["ours"],
        plain_s=seconds["plain"],
        times_plain=ratio(times["ours"], times["plain"]),
        ours_peak_mb=peak_mb(our_scoring, problem, device, device=device, threads=threads),
        matmul_fraction=matmul_fraction(
            operations(detector, problem, device), seconds["ours"], seconds["matmul"]
        ),
        rows_per_s=SCORED / seconds["ours"],
    )
    if not feasible:
        return row
    return dataclasses.replace(
        row,
        naive_s=seconds["naive"],
        speedup=ratio(times["naive"], times["ours"]),
        naive_peak_mb=peak_mb(naive_scoring, problem, device, device=device, threads=threads),
        loss_difference=bits_difference(detector, slow, array[:ROWS]),
    )


def fitted(problem: Problem, device: str) -> Detector:
    """A detector of a network whose components are as they were initialised, a few in use."""
    config = problem.config()
    reference = problem.inputs(REFERENCE, device)
    target = frozen(problem.network(device), reference)
    components = begin(target, config).components
    nothing = torch.zeros(0, dtype=torch.int64)
    run = Run(target, components, ACTIVE, config, nothing, nothing, "", [], {})
    return Detector.fit(run, reference.cpu().numpy())


def naive(detector: Detector, problem: Problem, device: str) -> Detector:
    """The same detector, asking a run that answers in the naive form."""
    run = detector.decomposition
    fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    slow = NaiveRun(**fields, network=problem.network(device).requires_grad_(False))
    return dataclasses.replace(detector, decomposition=slow)


def is_feasible(detector: Detector, outputs: int) -> bool:
    """Whether the naive form has the memory and the time.

    It needs all components' weights together, and passes over them once per output.
    """
    run = detector.decomposition
    sizes = [math.prod(site.shape) for site in run.target.sites.values()]
    weights = run.components.count * sum(sizes)
    return weights <= MOST_WEIGHTS and weights * outputs <= MOST_PASSED


def bits_difference(ours: Detector, slow: Detector, x: np.ndarray) -> float:
    """Largest difference of the scores, relative to the largest score."""
    bits = ours.score(x).bits
    return float(np.abs(slow.score(x).bits - bits).max() / np.abs(bits).max())


def operations(detector: Detector, problem: Problem, device: str) -> float:
    """Floating-point operations in the target's and components' products, per scoring.

    Counted: a forward of the target, a backward of it to its activations for the predicted output
    and for every direction of the strengths, and a forward with the components' sum in its weights'
    place; what every part of every component reads and the gradients it meets; and the forward of
    the active pairs alone. The terms' own codes are not counted.
    """
    run, network = detector.decomposition, problem.network(device)
    passes = 1 + len(fixed_directions(network(problem.inputs(1, device)).shape[1]))
    parts = run.components.count * run.config.rank
    active = run.active * run.config.rank
    total = (2.0 + passes) * forward_operations(network, problem.inputs(SCORED, device))
    for site in run.target.sites.values():
        o, i = site.shape
        amounts = parts * (i + passes * o) + active * (i + o)
        total += len(site.uses) * 2 * SCORED * amounts
    return total


def our_scoring(problem: Problem, device: str) -> Work:
    """Scoring one block of rows, after a first one that loads its code."""
    return warmed(fitted(problem, device), problem, device)


def naive_scoring(problem: Problem, device: str) -> Work:
    """The same in the naive form, after the package's form on the same rows."""
    detector = fitted(problem, device)
    warmed(detector, problem, device)
    return partial(naive(detector, problem, device).score, problem.inputs(ROWS, "cpu").numpy())


def warmed(detector: Detector, problem: Problem, device: str) -> Work:
    """Scoring the rows of the table after one block, so that only the rows' own memory counts."""
    x = problem.inputs(SCORED, "cpu").numpy()
    detector.score(x[:2])
    return partial(detector.score, x)


def streamed(problem: Problem, device: str, directory: Path, n: int) -> Work:
    """Scoring the rows of a file that is mapped, not read, a block at a time."""
    detector = fitted(problem, device)
    detector.score(problem.inputs(2, "cpu").numpy())
    x = written(directory / "inputs.npy", n)
    return lambda: [len(part.bits) for part in detector.stream(x)]


def by_command(problem: Problem, device: str, directory: Path, n: int) -> Work:
    """Scoring a compressed file by `apd score`, after a short one that loads its code."""
    fitted(problem, device).save(directory / "run")
    np.savez_compressed(directory / "inputs.npz", x=written(directory / "inputs.npy", n))
    np.savez(directory / "few.npz", x=problem.inputs(2, "cpu").numpy())

    def work(name: str) -> None:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            score(directory / name, run=directory / "run", out=directory / "scores.csv")

    work("few.npz")
    return partial(work, "inputs.npz")


def written(path: Path, n: int) -> np.ndarray:
    """n Gaussian rows in a file, written a few at a time, and mapped."""
    rng = np.random.default_rng(0)
    inputs = np.lib.format.open_memmap(path, "w+", np.float32, (n, FEATURES))
    for start in range(0, n, CHUNK):
        inputs[start : start + CHUNK] = rng.standard_normal((min(CHUNK, n - start), FEATURES))
    inputs.flush()
    return np.load(path, mmap_mode="r")
