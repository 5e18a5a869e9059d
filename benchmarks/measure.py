"""How long work takes and how much memory it needs."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import torch
from threadpoolctl import threadpool_limits

MATRIX = 1024
ENOUGH_S = 2.0
MOST_ROUNDS = 200

Work = Callable[[], object]


def set_threads(threads: int) -> None:
    """Use that many threads from here on, in torch and in numpy."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def interleaved(
    works: Mapping[str, Work], device: str, fewest_rounds: int
) -> dict[str, list[float]]:
    """Seconds each work took, round by round, after one round that does not count.

    All works take turns, so whatever else the machine does falls on each alike. Short ones are
    repeated until `ENOUGH_S` seconds are measured.
    """
    for work in works.values():
        timed(work, device)
    times: dict[str, list[float]] = {name: [] for name in works}
    spent = 0.0
    for done in range(MOST_ROUNDS):
        if done >= fewest_rounds and spent > ENOUGH_S:
            break
        for name, work in works.items():
            times[name].append(timed(work, device))
            spent += times[name][-1]
    return times


def timed(work: Work, device: str) -> float:
    """Seconds of one call, the device's queue emptied before and after."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median of the ratios of pairs measured side by side."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def matmul(device: str) -> Work:
    """A float32 product of two square matrices of size `MATRIX`: the machine's matmul rate."""
    a, b = torch.randn(2, MATRIX, MATRIX, device=device)
    return lambda: a @ b


def matmul_fraction(operations: float, seconds: float, matmul_seconds: float) -> float:
    """The share of the machine's matmul rate at which `operations` were done in `seconds`."""
    return operations / seconds / (2 * MATRIX**3 / matmul_seconds)


def peak_mb(prepare: Callable[..., Work], *args: object, device: str, threads: int) -> float:
    """Memory that work needs beyond what was there before it, in a process of its own.

    `prepare(*args)` runs in that process first and returns the work.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(peak_here, prepare, args, device, threads).result()


def peak_here(
    prepare: Callable[..., Work], args: tuple[object, ...], device: str, threads: int
) -> float:
    """On a GPU, what torch allocates; else the growth of the resident set, in MiB.

    Pages of files (libraries, memory-mapped inputs) are not counted: the system takes them back
    when it needs them. The high-water mark is read from /proc because `ru_maxrss` of a new process
    starts at its parent's.
    """
    set_threads(threads)
    work = prepare(*args)
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    reset_high_water_mark()
    before = resident()
    work()
    after = resident()
    grown = after["VmHWM"] - before["VmRSS"] - (after["RssFile"] - before["RssFile"])
    return grown / 2**10


def resident() -> dict[str, int]:
    """The resident set, its files' part and its high-water mark, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) for name in ("VmRSS", "RssFile", "VmHWM")}


def reset_high_water_mark() -> None:
    Path("/proc/self/clear_refs").write_text("5")
