"""What people see: sentences, tables and progress; colours on a terminal, plain lines elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from textwrap import wrap

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from cli.printable import printable
from cli.speech import speech

LINE_EVERY_S = 5.0
RATE_OVER_S = 10.0

Report = Callable[[int, str], None]


def screen(*, stderr: bool = False) -> Console:
    """A console for what people may do without; rich honours NO_COLOR and the terminal's width."""
    return _console(stderr=stderr, quiet=not speech.words)


def alerts() -> Console:
    """A console for warnings, on stderr, which are said whatever else is not."""
    return _console(stderr=True, quiet=False)


def _console(*, stderr: bool, quiet: bool) -> Console:
    """A console that leaves words as they are."""
    return Console(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)


def say(console: Console, text: str, style: str = "") -> None:
    """One sentence, never broken into lines by us."""
    console.print(Text(printable(text), style), soft_wrap=True)


def head(console: Console, text: str, style: str = "bold") -> None:
    """What is above a table or facts, below an empty line."""
    say(console, "")
    say(console, text, style)


def facts(console: Console, rows: Mapping[str, str]) -> None:
    """Names and their values, one per line; a terminal gets long ones broken at spaces."""
    shown = [(printable(name), printable(value)) for name, value in rows.items()]
    width = max(len(name) for name, _ in shown)
    room = max(1, console.width - width - 2) if console.is_terminal else sys.maxsize
    for name, value in shown:
        lines = wrap(value, room, break_long_words=False, break_on_hyphens=False)
        text = f"\n{'':{width}}  ".join(lines)
        console.print(Text.assemble((f"{name:{width}}", "dim"), "  ", text), soft_wrap=True)


def table(
    headers: Iterable[str], rows: Iterable[Iterable[str]], *, words: int | None = None
) -> Table:
    """Columns under headers, numbers to the right; the one numbered `words` to the left."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        made.add_column(header, justify="right", no_wrap=True)
    if words is not None:
        column = made.columns[words]
        column.justify, column.no_wrap, column.overflow = "left", False, "fold"
    for row in rows:
        made.add_row(*(Text("\n".join(map(printable, cell.split("\n")))) for cell in row))
    return made


class Pace:
    """How fast something goes, judged by the last few seconds."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.noted: deque[tuple[float, int]] = deque()

    def note(self, done: int) -> None:
        """So many are done by now; what was done before the first note does not count as speed."""
        now = time.monotonic()
        self.noted.append((now, done))
        while len(self.noted) > 2 and now - self.noted[0][0] > RATE_OVER_S:
            self.noted.popleft()

    @property
    def rate(self) -> float:
        """How many per second; 0 while that is not known."""
        if len(self.noted) < 2:
            return 0.0
        (first, then), (last, now) = self.noted[0], self.noted[-1]
        return (now - then) / (last - first) if last > first else 0.0

    def text(self, unit: str) -> str:
        """The rate and the remaining time in words."""
        if not self.rate:
            return ""
        left = (self.total - self.noted[-1][1]) / self.rate
        if self.rate < 1:
            return f"{1 / self.rate:,.1f} s/{unit.removesuffix('s')}, {duration(left)} left"
        return f"{self.rate:,.0f} {unit}/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60:,} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Meter(Progress):
    """A bar with a line of words under it."""

    words = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then the words."""
        yield from super().get_renderables()
        if self.words:
            yield Text(self.words, style="dim")


@contextmanager
def progress(label: str, total: int, unit: str) -> Generator[Report]:
    """Reports on stderr how far something is: call it with how many are done, and a few words.

    On a terminal a bar that goes away when it is done; elsewhere a line every few seconds.
    """
    if not speech.progress:
        yield unheard
        return
    console = alerts()
    with (
        _bar(console, label, total, unit)
        if console.is_terminal
        else _lines(console, label, total, unit) as report
    ):
        yield report


def unheard(done: int, words: str) -> None:
    """How far it is, told to nobody."""


@contextmanager
def _bar(console: Console, label: str, total: int, unit: str) -> Generator[Report]:
    pace = Pace(total)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Meter(*columns, console=console, transient=True, expand=True) as meter:
        task = meter.add_task(label, total=total, pace="")

        def report(done: int, words: str) -> None:
            pace.note(done)
            meter.words = printable(words)
            meter.update(task, completed=done, pace=pace.text(unit))

        yield report


@contextmanager
def _lines(console: Console, label: str, total: int, unit: str) -> Generator[Report]:
    pace = Pace(total)
    said_at = time.monotonic()

    def report(done: int, words: str) -> None:
        nonlocal said_at
        pace.note(done)
        if time.monotonic() - said_at >= LINE_EVERY_S:
            said_at = time.monotonic()
            parts = (f"{label} {done}/{total} {unit}", pace.text(unit), words)
            say(console, ", ".join(part for part in parts if part))

    yield report
