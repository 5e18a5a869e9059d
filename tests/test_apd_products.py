"""Matrix products in which a row's rounding does not depend on its place in the batch."""

import pytest
import torch
from torch.nn import functional as F

from apd.attention import matmul
from apd.products import linear, product

SIZES = (1, 3, 8, 15, 16, 17, 31, 40, 64, 100)


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@pytest.mark.parametrize("shape", [(9,), (5, 6), ()])
def test_products_are_the_plain_ones(shape):
    for d, k in [(4, 7), (16, 32), (17, 5)]:
        x, matrix, bias = draw(*shape, k), draw(d, k), draw(d)
        torch.testing.assert_close(product(x, matrix), F.linear(x, matrix))
        torch.testing.assert_close(linear(x, matrix), F.linear(x, matrix))
        torch.testing.assert_close(linear(x, matrix, bias), F.linear(x, matrix, bias))


@pytest.mark.parametrize("rows", [8, 40, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_rounds_alike_wherever_it_is(rows, dtype):
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))
    for d in SIZES:
        for k in SIZES:
            x, matrix, g = draw(rows, k, dtype=dtype), draw(d, k, dtype=dtype), draw(rows, d)
            results = []
            for given, gradient in [(x, g), (x[order], g[order])]:
                leaf = given.clone().requires_grad_()
                y = product(leaf, matrix)
                y.backward(gradient.to(dtype))
                results.append((y.detach(), leaf.grad))
            (y, back), (moved, moved_back) = results
            assert torch.equal(y[order], moved), (d, k)
            assert torch.equal(back[order], moved_back), (d, k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_rounds_alike_whatever_the_other_rows_hold(dtype):
    for d in SIZES:
        for k in SIZES:
            x, matrix = draw(128, k, dtype=dtype), draw(d, k, dtype=dtype)
            others = x.clone()
            others[:60] = 1e6
            others[61:] = 0
            assert torch.equal(product(x, matrix)[60], product(others, matrix)[60]), (d, k)


@pytest.mark.parametrize("shape", [(), (9,)])
def test_rows_of_any_product_with_a_matrix_round_alike(shape):
    """x @ W, as networks write it that multiply by hand, and W @ x."""
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    for d in SIZES:
        for k in SIZES:
            x, matrix = draw(40, *shape, k, dtype=torch.float32), draw(k, d, dtype=torch.float32)
            y = matmul(x, matrix)
            torch.testing.assert_close(y, x @ matrix)
            assert torch.equal(y[order], matmul(x[order], matrix)), (d, k)
            left, columns = draw(d, k, dtype=torch.float32), x.unsqueeze(-1)
            z = matmul(left, columns)
            torch.testing.assert_close(z, left @ columns)
            assert torch.equal(z[order], matmul(left, columns[order])), (d, k)
