"""Top-k picks what sorting picks, and always exactly k."""

import oracles
import pytest
import torch

from apd.training.masks import batch_topk, prominent, sample_topk


@pytest.fixture
def strength():
    return torch.rand(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("k", [0, 1, 4, 17, 34, 35])
def test_the_strongest_pairs_of_the_batch_are_chosen(strength, k):
    assert torch.equal(batch_topk(strength, k), oracles.topk(strength, k))


def test_inputs_compete_for_the_budget(strength):
    strength[2] += 10
    mask = batch_topk(strength, 6)
    assert mask[2].all()
    assert mask.sum(1).tolist().count(0) >= 5


@pytest.mark.parametrize("k", [0, 3, 9, 20, 34, 35])
def test_ties_are_broken_so_that_exactly_k_are_chosen(strength, k):
    tied = (strength * 3).floor()
    mask = batch_topk(tied, k)
    assert mask.sum() == k
    chosen = sorted(tied[mask].tolist())
    assert chosen == sorted(tied.flatten().tolist())[35 - k :]
    assert batch_topk(torch.zeros(7, 5), k).sum() == k


@pytest.mark.parametrize("k", [-1, 36])
def test_k_beyond_the_batch_is_refused(strength, k):
    with pytest.raises(ValueError, match=f"k is {k}; the batch has 35 pairs"):
        batch_topk(strength, k)


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_the_strongest_components_of_every_input_are_chosen(strength, k):
    strength[2] += 10  # takes no places from the others
    assert torch.equal(sample_topk(strength, k), oracles.sample_topk(strength, k))


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_ties_are_broken_so_that_every_input_has_exactly_k(strength, k):
    tied = (strength * 3).floor()
    mask = sample_topk(tied, k)
    assert mask.sum(1).tolist() == [k] * 7
    for row, chosen in zip(tied, mask, strict=True):
        assert sorted(row[chosen].tolist()) == sorted(row.tolist())[5 - k :]


@pytest.mark.parametrize("k", [-1, 6])
def test_k_beyond_the_components_is_refused(strength, k):
    with pytest.raises(ValueError, match=f"k is {k}; there are 5 components"):
        sample_topk(strength, k)


def test_prominence_is_relative_to_the_input():
    strength = torch.tensor([[1.0, 0.2, 0.21, 0.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.7, 0.5, 4.0]])
    expected = [[True, False, True, False], [False] * 4, [True, False, False, True]]
    assert prominent(strength, 0.2).tolist() == expected
