"""Blocks of one size, that cover every row once, however the rows are handed over."""

import numpy as np
import pytest

from mad.blocks import blocks

ROWS = 8


def cut(x: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    return np.split(x, np.cumsum(sizes))


@pytest.mark.parametrize("n", [1, 2, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS - 5])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_every_row_comes_once_in_blocks_of_one_shape(n, shape):
    x = np.arange(n * int(np.prod(shape))).reshape(n, *shape)
    found = []
    for own, block in blocks([x], ROWS):
        assert block.shape == (ROWS, *shape)
        assert block.dtype == x.dtype
        assert (block[own:] == block[0]).all()
        found.append(block[:own].copy())
    assert [len(part) for part in found] == [ROWS] * (n // ROWS) + [n % ROWS] * (n % ROWS > 0)
    assert np.array_equal(np.concatenate(found), x)


@pytest.mark.parametrize("sizes", [[1] * 29, [0, 8, 0, 8, 13], [29, 0], [3, 20, 6], [7, 9, 8, 5]])
def test_chunks_make_no_difference(sizes):
    x = np.arange(29 * 3).reshape(29, 3)
    whole = list(blocks([x], ROWS))
    chunked = list(blocks(iter(cut(x, sizes)), ROWS))
    assert [own for own, _ in chunked] == [own for own, _ in whole]
    for (_, a), (_, b) in zip(chunked, whole, strict=True):
        assert np.array_equal(a, b)


def test_writing_to_a_block_leaves_the_inputs_and_other_blocks_alone():
    x = np.arange(20.0)
    kept = []
    for _, block in blocks([x], ROWS):
        kept.append((block, block.copy()))
        block[:] = -1
    assert np.array_equal(x, np.arange(20.0))
    assert all((block == -1).all() for block, _ in kept)
    assert kept[1][1].tolist() == list(range(8, 16))


def test_no_rows_make_no_blocks():
    assert list(blocks([np.empty((0, 3))], ROWS)) == []
    assert list(blocks([], ROWS)) == []
