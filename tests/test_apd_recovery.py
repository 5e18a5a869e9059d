"""Figures of recovery: 1 on the truth, and by hand where it is not."""

import math

import oracles
import pytest
import torch
import torch.nn.functional as F
from problems import numbers

from apd import recovery


@pytest.fixture
def truth():
    """A weight, and the mechanisms it is made of: one per column."""
    weight = numbers(91)(3, 6)
    mechanisms = torch.stack([weight * column for column in torch.eye(6, dtype=torch.float64)])
    return weight, mechanisms


def figures(weight, components):
    return (
        recovery.mmcs(weight, components),
        recovery.ml2r(weight, components),
        recovery.distinct(weight, components),
    )


def test_the_truth_is_recovered_in_any_order(truth):
    weight, mechanisms = truth
    for order in (torch.arange(6), torch.tensor([4, 0, 5, 2, 1, 3])):
        cosine, ratio, count = figures(weight, mechanisms[order])
        assert math.isclose(cosine, 1, abs_tol=1e-12)
        assert math.isclose(ratio, 1, abs_tol=1e-12)
        assert count == 6
        match = recovery.match_columns(weight, mechanisms[order])
        assert torch.equal(order[match.component], torch.arange(6))


def test_a_hand_computed_example():
    weight = torch.tensor([[3.0, 0.0], [4.0, 2.0]], dtype=torch.float64)
    components = torch.tensor(
        [
            [[3.0, 1.0], [0.0, 1.0]],  # cosines 9/15 and 1/sqrt(2), lengths 3 and sqrt(2)
            [[1.5, 5.0], [2.0, 0.0]],  # cosines 1 and 0, lengths 5/2 and 5
        ],
        dtype=torch.float64,
    )
    cosine, ratio, count = figures(weight, components)
    assert math.isclose(cosine, (1 + 1 / math.sqrt(2)) / 2)
    assert math.isclose(ratio, (2.5 / 5 + math.sqrt(2) / 2) / 2)
    assert count == 2


def test_figures_are_those_of_loops():
    draw = numbers(92)
    weight, components = draw(3, 6), draw(11, 3, 6)
    slow = oracles.matches(weight, components)
    fast = recovery.match_columns(weight, components)
    assert fast.component.tolist() == [c for c, _, _ in slow]
    assert torch.allclose(fast.cosine, torch.tensor([cosine for _, cosine, _ in slow]).double())
    assert torch.allclose(fast.length_ratio, torch.tensor([r for _, _, r in slow]).double())
    assert figures(weight, components)[2] == len({c for c, _, _ in slow})


def test_shrinking_shows_in_the_lengths_alone(truth):
    weight, mechanisms = truth
    cosine, ratio, _ = figures(weight, 0.8 * mechanisms)
    assert math.isclose(cosine, 1, abs_tol=1e-12)
    assert math.isclose(ratio, 0.8)


def test_a_column_of_zeros_is_nobodys(truth):
    weight, mechanisms = truth
    wider = [F.pad(part, (0, 1)) for part in (weight, mechanisms)]
    wider[1][:, :, -1] = 0.3
    found = recovery.match_columns(*wider)
    assert (found.cosine[-1], found.length_ratio[-1]) == (0, 0)
    assert recovery.ml2r(*wider) == pytest.approx(recovery.ml2r(weight, mechanisms) * 6 / 7)


def test_one_component_that_holds_everything_recovers_one_mechanism(truth):
    weight, _ = truth
    assert figures(weight, weight[None])[2] == 1


def test_zero_components_match_nothing(truth):
    weight, mechanisms = truth
    padded = torch.cat([torch.zeros(4, 3, 6, dtype=torch.float64), mechanisms])
    assert figures(weight, padded) == figures(weight, mechanisms)
    assert recovery.match_columns(weight, padded).component.min() >= 4
