"""Jobs side by side, each in a process of its own, so that none takes another along."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import TypeVar

import torch

Job = TypeVar("Job")

FORK = multiprocessing.get_context("fork")  # the sources as they were loaded, whatever is edited


def side_by_side(
    work: Callable[[Job], None], jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, bool]]:
    """Every job as it ends, and whether it came to its end well; errors are printed as they happen.

    Where the caller stops, by Ctrl-C or otherwise, those under way are ended.
    """
    waiting, running = list(reversed(jobs)), {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                job = waiting.pop()
                process = FORK.Process(target=alone, args=(work, job), daemon=True)
                process.start()
                running[process.sentinel] = process, job
            for sentinel in wait(list(running)):
                process, job = running.pop(sentinel)
                process.join()
                yield job, process.exitcode == 0
    finally:
        for process, _ in running.values():
            process.terminate()
            process.join()


def alone(work: Callable[[Job], None], job: Job) -> None:
    """A job on one thread; Ctrl-C is left to the process that waits for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    work(job)
