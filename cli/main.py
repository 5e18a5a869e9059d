"""`apd`, the console script: the table of commands, and failures as one sentence each.

Exit status: 0 done, 1 failed, 2 misused, 3 anomalies found or rows that could not be scored where
--fail-on-anomaly asked for it, 130 interrupted.
"""

import os
import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import Annotated

import typer

from cli import errors, speech
from cli.accept import accept
from cli.evaluate import evaluate
from cli.export import export
from cli.inspect import inspect
from cli.report import report
from cli.score import score
from cli.serve import serve
from cli.toy import toy
from cli.train import train

app = typer.Typer(
    name="apd",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (train, score, report, evaluate, accept, inspect, export, serve, toy):
    app.command()(command)


# Threads that wait by spinning make training twenty times slower where a processor is busy.
THREADS_WAIT = ("OMP_WAIT_POLICY", "PASSIVE")


def interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupts the program, or ends it where torch is being imported, which cannot be undone."""
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    if getattr(spec, "_initializing", False):
        say_interrupted()
        os._exit(errors.INTERRUPTED)
    raise errors.Interrupted


def say_interrupted() -> None:
    """Says so on stderr."""
    print("apd: interrupted.", file=sys.stderr, flush=True)


def say_any_name() -> None:
    """Has names of files that cannot be encoded printed with their bytes spelt out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_version(wanted: bool) -> None:
    """Prints the version and ends, where --version was given."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"apd {version('apd')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Tell, in bits, whether a network produced its outputs for the usual reasons.

    Example, complete in an empty directory: apd train && apd score inputs.npz
    """
    speech.begin()


def main() -> None:
    """Runs a command; an expected failure is one sentence on stderr and exit status 1."""
    os.environ.setdefault(*THREADS_WAIT)
    say_any_name()
    signal.signal(signal.SIGINT, interrupt)
    try:
        app(prog_name="apd")
    except errors.Interrupted:
        say_interrupted()
        sys.exit(errors.INTERRUPTED)
    except Exception as error:
        if not errors.is_expected(error):
            raise
        print(f"apd: {errors.sentence(error)}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
