"""The memory that scoring needs does not grow with the number of inputs."""

import subprocess
import sys

import pytest

# A decomposition without a network, so that nothing but numpy and mad is loaded. The detector and
# the writers are the real ones. Prints the growth of the resident set without mapped files, in MiB.
SCORE = """
import sys
from itertools import repeat
from pathlib import Path
import numpy as np
from cli import inputs, rows
from cli.fitting import fitted
from cli.scoring import scored
from cli.summary import Summary
from mad import Detector

class Sums:
    active, ranks, input_shape, rows_at_once, fingerprint = 2.0, np.ones(7), (40,), 128, ""
    def unseen_rows(self, reference): return np.arange(len(reference))
    def explain(self, x, output): return x[:, :3] + x[:, 3:6], x[:, :7], abs(x[:, :7]), x[:, 7:]
    def masked_outputs(self, x, mask): return x[:, :3] * mask.mean(1, keepdims=True)
    def outputs_on(self, x, components): return 0.9 * x[:, :3]
    def save(self, directory): pass

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return [int(fields[name].split()[0]) for name in ("VmRSS", "RssFile", "VmHWM")]

def score(directory, n, suffix):
    block = np.random.default_rng(1).normal(size=(1000, 40)).astype(np.float32)
    x = np.lib.format.open_memmap(directory / "x.npy", "w+", np.float32, (n, 40))
    for start in range(0, n, 1000):
        x[start : start + 1000] = block
    np.savez_compressed(directory / "x.npz", x=x)
    x.flush()
    (directory / "x.npy").unlink()
    del x
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    chunks = fitted(inputs.look(directory / "x.npz"), (40,), np.dtype("float32"))
    summary = Summary(0.01)
    rows.write(scored(detector, chunks, n, summary), directory / f"out{suffix}")
    assert summary.seen == n
    after = resident()
    return (after[2] - before[0] - (after[1] - before[1])) / 2**10

directory = Path(sys.argv[1])
detector = Detector.fit(Sums(), np.random.default_rng(0).normal(size=(400, 40)).astype(np.float32))
for suffix in sys.argv[2:]:
    score(directory, 1000, suffix)
    print(score(directory, 60_000, suffix))
"""
MOST_MIB = 7


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_inputs(tmp_path):
    """The inputs take 9 MiB and their scores as much again; neither is ever held whole."""
    done = subprocess.run(
        [sys.executable, "-c", SCORE, str(tmp_path), ".csv", ".npz", ".jsonl"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert max(map(float, done.stdout.split())) < MOST_MIB
