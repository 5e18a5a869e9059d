"""The speed benchmark compares like with like: the naive forms compute what the package does."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import pytest
import scoring
import training
from targets import tms


def test_the_naive_step_has_the_losses_of_ours():
    small = tms(5, 3, components=4, rank=2, active=0.7, schatten_p=0.9)
    assert training.loss_difference(small, "cpu") < 1e-5


@pytest.mark.parametrize("outputs", [10, 70])
def test_the_naive_scores_are_ours(outputs):
    problem = scoring.mlp_of(10**4, outputs)
    detector = scoring.fitted(problem, "cpu")
    naive = scoring.naive(detector, problem, "cpu")
    x = problem.inputs(64, "cpu").numpy()
    assert scoring.bits_difference(detector, naive, x) < 1e-4
    assert detector.decomposition.active == scoring.ACTIVE
