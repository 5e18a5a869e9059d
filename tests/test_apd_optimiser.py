"""Adam with one step size per vector."""

import pytest
import torch
from problems import numbers

from apd.training.optimiser import Moments, descend

SHAPE = (5, 2, 7)


def start(seed: int) -> tuple[torch.Tensor, Moments]:
    tensor = numbers(seed)(*SHAPE)
    return tensor, Moments.of(tensor)


def test_with_one_coordinate_per_vector_it_is_adam():
    ours = numbers(41)(5, 2, 1)
    moments, theirs = Moments.of(ours), ours.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], lr=0.03)
    for step in range(7):
        theirs.grad = numbers(50 + step)(5, 2, 1)
        descend(ours, theirs.grad, moments, 0.03, step)
        adam.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-14)


def test_it_commutes_with_a_change_of_basis():
    """Rotating every vector and every gradient rotates where the vectors go."""
    straight, moments = start(42)
    turn = torch.linalg.qr(numbers(43)(7, 7)).Q
    turned, turned_moments = straight @ turn, Moments.of(straight)
    for step in range(6):
        gradient = numbers(60 + step)(*SHAPE)
        descend(straight, gradient, moments, 0.03, step)
        descend(turned, gradient @ turn, turned_moments, 0.03, step)
    torch.testing.assert_close(straight @ turn, turned, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
def test_blocks_move_as_the_whole_does(size):
    whole, moments = start(44)
    parts, part_moments = start(44)
    for step in range(4):
        gradient = numbers(70 + step)(*SHAPE)
        descend(whole, gradient, moments, 0.03, step)
        for first in range(0, SHAPE[0], size):
            block = slice(first, first + size)
            descend(parts[block], gradient[block], part_moments.block(block), 0.03, step)
    assert torch.equal(whole, parts)
    assert torch.equal(moments.first, part_moments.first)
    assert torch.equal(moments.second, part_moments.second)


def test_what_is_zero_and_has_no_gradient_stays():
    tensor, moments = torch.zeros(SHAPE).double(), Moments.of(torch.zeros(SHAPE).double())
    for step in range(3):
        descend(tensor, torch.zeros(SHAPE).double(), moments, 0.03, step)
    assert tensor.count_nonzero() == 0
