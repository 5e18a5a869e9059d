"""How many threads are used, and that the caller's come back."""

from threading import Barrier, Thread

import pytest
import torch
from problems import make_problem

from apd.threads import threads_for


@pytest.fixture(autouse=True)
def own():
    """More threads than a small product takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_a_small_product_takes_one_thread_and_a_large_one_the_callers(own):
    target = make_problem("mlp-1").target
    for rows, threads in ((1, 1), (10**8, own)):
        with threads_for(target, 5, rows):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == own


def test_the_callers_threads_come_back_whoever_ends_last(own):
    target, found = make_problem("mlp-1").target, []
    begun, ended = Barrier(2), Barrier(2)

    def first():
        with threads_for(target, 5, 1):
            begun.wait()
        ended.wait()

    def second():
        with threads_for(target, 5, 1):
            begun.wait()
            ended.wait()
        found.append(torch.get_num_threads())

    both = [Thread(target=first), Thread(target=second)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert found == [own]
    assert torch.get_num_threads() == own
