"""The one training loop all toys share."""

# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

Model = TypeVar("Model", bound=nn.Module)


def initialised(architecture: Callable[[], Model], seed: int) -> Model:
    """The network that `architecture` makes when the seed is `seed`.

    PyTorch's global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return architecture()


def fit(
    model: Model,
    batches: Iterator[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    lr: float,
    weight_decay: float = 0.0,
) -> Model:
    """Trains `model` in place with AdamW, and returns it frozen: in eval mode, without gradients.

    The only randomness is that of `batches`. It runs on one thread.

    Args:
        model: the network to train.
        batches: pairs (x, y), as many as there are steps or more.
        loss: of (model(x), y), a scalar.
        steps: the number of updates.
        lr: the first learning rate; it falls to zero along half a cosine.
        weight_decay: AdamW's.
    """
    optimizer = AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = CosineAnnealingLR(optimizer, steps)
    model.train()
    with torch.enable_grad(), one_thread():
        for _ in range(steps):
            x, y = next(batches)
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            schedule.step()
    optimizer.zero_grad()
    return model.eval().requires_grad_(False)


@contextmanager
def one_thread() -> Generator[None]:
    """Has PyTorch compute on one thread: how many share out a sum shows in its last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
