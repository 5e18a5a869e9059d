"""A mask taken apart and put together again, at the least work."""

import pytest
import torch

from apd.pairs import Pairs, cost

RANK = 30
SHAPES = [(9, 7), (40, 13), (3, 50)]


def mask_of(n: int, count: int, density: float, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, count, generator=torch.Generator().manual_seed(seed)) < density


def skewed(n: int, count: int) -> torch.Tensor:
    """One component on all inputs, two on half of them, the rest on one or none."""
    mask = torch.zeros(n, count, dtype=torch.bool)
    mask[:, 4] = True
    mask[: n // 2, [1, 5]] = True
    mask[0, :4] = True
    return mask


def put_together(pairs: Pairs, n: int) -> torch.Tensor:
    mask = torch.zeros(n, len(pairs.rows))
    for c, (rows, on) in enumerate(zip(pairs.rows.tolist(), pairs.on.tolist(), strict=True)):
        for row, weight in zip(rows, on, strict=True):
            mask[row, c] += weight
    for h, c in enumerate(pairs.busy.tolist()):
        mask[:, c] += pairs.mask[:, h]
    return mask


def work(pairs: Pairs) -> int:
    return cost(pairs.mask.numel(), pairs.rows.numel(), RANK)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 1.0])
def test_every_active_pair_is_there_once(shape, density):
    mask = mask_of(*shape, density)
    for pairs in (Pairs.of(mask, torch.float64, RANK), Pairs.dense(mask, torch.float64)):
        assert torch.equal(put_together(pairs, shape[0]), mask.float())
        assert torch.equal(pairs.columns(), mask.double())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_is_the_least_that_any_line_between_busy_and_seldom_gives(shape):
    n, count = shape
    for mask in (mask_of(*shape, 0.2), skewed(*shape)):
        counts = sorted(mask.sum(0).tolist(), reverse=True)
        least = min(cost(n * h, count * max(counts[h:], default=0), RANK) for h in range(count + 1))
        assert work(Pairs.of(mask, torch.float64, RANK)) == least
    assert work(Pairs.of(skewed(40, 13), torch.float64, RANK)) < cost(40 * 13, 0, RANK) / 2


def test_a_full_mask_makes_everyone_busy_and_an_empty_one_costs_nothing():
    full = Pairs.of(torch.ones(9, 7, dtype=torch.bool), torch.float64, RANK)
    assert full.busy.tolist() == list(range(7))
    assert full.rows.shape == (7, 0)
    assert work(Pairs.of(torch.zeros(9, 7, dtype=torch.bool), torch.float64, RANK)) == 0


def test_dense_pairs_do_not_depend_on_who_is_active():
    pairs = Pairs.dense(mask_of(9, 7, 0.1), torch.float32)
    assert pairs.busy.tolist() == list(range(7))
    assert pairs.rows.shape == (7, 0)
    assert pairs.mask.dtype == torch.float32


@pytest.mark.parametrize("shape", SHAPES)
def test_pairs_times_factors_are_the_columns_times_them(shape):
    factors = torch.rand(shape[1], dtype=torch.float64)
    for mask in (mask_of(*shape, 0.3), skewed(*shape)):
        for pairs in (Pairs.of(mask, torch.float64, RANK), Pairs.dense(mask, torch.float64)):
            assert torch.equal(pairs.times(factors).columns(), mask * factors)


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_are_the_columns_of_the_mask(shape):
    for mask in (mask_of(*shape, 0.3), skewed(*shape)):
        pairs = Pairs.of(mask, torch.float64, RANK)
        for block in (slice(0, 3), slice(3, 5), slice(5, 7)):
            part = put_together(pairs.block(block), shape[0])
            assert torch.equal(part, mask[:, block].float())
            assert torch.equal(pairs.block(block).columns(), mask[:, block].double())


def test_gathered_rows_are_those_of_each_component():
    x = torch.randn(9, 2, 3)
    pairs = Pairs.of(mask_of(9, 7, 0.2), torch.float64, RANK)
    gathered = pairs.gather(x)
    for c, rows in enumerate(pairs.rows.tolist()):
        for k, row in enumerate(rows):
            assert torch.equal(gathered[c, k], x[row])


def test_the_higher_the_rank_the_sooner_it_pays_to_gather():
    mask = mask_of(60, 13, 0.15)
    assert len(Pairs.of(mask, torch.float32, 1).busy) == 13
    assert len(Pairs.of(mask, torch.float32, 100).busy) < 13
