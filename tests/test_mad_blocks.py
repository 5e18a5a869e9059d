"""Blocks of one size, that cover every row once."""

import numpy as np
import pytest

from mad.blocks import ROWS, blocks


@pytest.mark.parametrize("n", [1, 2, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS - 5])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_every_row_comes_once_in_blocks_of_one_shape(n, shape):
    x = np.arange(n * int(np.prod(shape))).reshape(n, *shape)
    rows = []
    for part, block in blocks(x):
        assert block.shape == (ROWS, *shape)
        assert block.dtype == x.dtype
        size = part.stop - part.start
        assert np.array_equal(block[:size], x[part])
        assert (block[size:] == block[0]).all()
        rows += list(range(part.start, part.stop))
    assert rows == list(range(n))


def test_no_rows_make_no_blocks():
    assert list(blocks(np.empty((0, 3)))) == []
