"""Speed and memory of decomposing and scoring, in one table.

    python benchmarks/speed.py [--quick] [--json PATH] [--threads 1 2] [--only SECTION ...]

training  one step at the published experiments' own number of components, rank and batch, beside
          its naive twin (naive.py) and one plain forward and backward of the target
scoring   a detector's throughput on MLPs of 10^4 to 10^7 parameters with 10 to 1000 outputs
growth    the time of a step against components, rank, outputs, depth and batch
memory    the peak of scoring 10^3 to 10^5 rows out of a file, in Python and by `apd score`

Times are medians over rounds in which everything compared takes its turn; ratios are medians of the
rounds' own. Peak memory is measured in fresh processes. Where there is a GPU, the same table
follows for it. Absolute times hold for one machine; ratios carry over.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import growth
import scoring
import torch
import training
from kept import keep
from measure import set_threads
from rich.console import Console
from rows import Row, show

WIDTH = 180
SECTIONS = {
    "training": training.rows,
    "scoring": scoring.rows,
    "growth": growth.rows,
    "memory": scoring.memory_rows,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows, three rounds")
    parser.add_argument("--json", type=Path, help="write the rows there as they come")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="one table part each")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    return parser.parse_args()


def main() -> None:
    """Measure, and print the table."""
    options = arguments()
    console, progress = Console(), Console(stderr=True)
    console.width = max(console.width, WIDTH)
    settings = [("cpu", threads) for threads in options.threads]
    if torch.cuda.is_available():
        settings.append(("cuda", max(options.threads)))
    rows: list[Row] = []
    for device, threads in settings:
        set_threads(threads)
        for section in options.only:
            for row in SECTIONS[section](device, threads, options.quick):
                rows.append(row)
                progress.print(f"{device}, {threads} threads, {row.experiment}")
                keep(options.json, rows)
    show(rows, console)


if __name__ == "__main__":
    main()
