"""The command line as a whole: help, misuse, and that nothing heavy is loaded for them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cli import console, errors, main

ROOT = Path(__file__).parent.parent
COMMANDS = ["train", "score", "report", "evaluate", "accept", "inspect", "export", "serve", "toy"]


def environment() -> dict[str, str]:
    """The environment of a process that finds the packages here, and shares the processors."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def apd(*args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`apd ...` as a process of its own, its output piped."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, args)],
        cwd=cwd,
        env={**environment(), **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def call(monkeypatch, capsys, cwd: Path, *args: object) -> tuple[int, str, str]:
    """`apd ...` in this process, for the many cases that differ in a sentence only."""
    monkeypatch.chdir(cwd)
    monkeypatch.setattr("cli.console.LINE_EVERY_S", float("inf"))
    monkeypatch.setattr(sys, "argv", ["apd", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def assert_one_sentence(stderr: str, *words: str) -> None:
    """One line, one sentence, no traceback, and it speaks of the matter."""
    assert stderr.startswith("apd: ")
    assert stderr.count("\n") == 1
    assert stderr.endswith(".\n")
    assert "Traceback" not in stderr
    for word in words:
        assert word in stderr


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS]], ids=str)
def test_every_help_has_an_example(command, tmp_path, monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, tmp_path, *command, "--help")
    assert code == 0
    assert "Example" in out
    assert "apd " in out.partition("Example")[2]


def test_help_loads_nothing_heavy(tmp_path):
    program = (
        "import sys; from cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'numpy', 'sklearn', 'apd', 'mad', 'toys'}"
        " & set(sys.modules)))"
    )
    for arguments in (["--help"], ["train", "--help"], ["score", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0
        assert done.stdout.endswith("[]\n"), done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["--nope"],
        ["train", "--nope"],
        ["train", "--steps", "0"],
        ["train", "--steps", "many"],
        ["score"],
        ["score", "x.npz", "--alpha", "1.5"],
        ["score", "x.npz", "--alpha", "0"],
        ["score", "x.npz", "--explain", "nothing"],
        ["score", "x.npz", "--out", "scores.xlsx"],
        ["toy", "nope", "--out", "here"],
        ["toy", "digits"],
    ],
    ids=" ".join,
)
def test_misuse_exits_2_and_leaves_nothing(arguments, tmp_path, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, tmp_path, *arguments)
    assert code == 2
    assert "Error: " in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_misuse_names_what_there_is(tmp_path, monkeypatch, capsys):
    _, _, err = call(monkeypatch, capsys, tmp_path, "score", "x.npz", "--out", "scores.xlsx")
    assert all(suffix in err for suffix in (".csv", ".jsonl", ".npz", ".parquet"))
    _, _, err = call(monkeypatch, capsys, tmp_path, "toy", "nope", "--out", "here")
    assert all(name in err for name in ("tms-5-2", "tms-40-10", "digits"))


def test_shells_can_complete_commands(tmp_path):
    done = apd(cwd=tmp_path, _APD_COMPLETE="complete_bash", COMP_WORDS="apd e", COMP_CWORD="1")
    assert done.stdout.split() == ["evaluate", "export"]


def test_no_color_is_honoured(monkeypatch, capsys):
    """Where a terminal is claimed, which is what colours are for."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.say(console.screen(), "good", "green")
    assert "\x1b[32mgood" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    console.say(console.screen(), "good", "green")
    assert capsys.readouterr().out == "good\n"


def test_whatever_is_said_is_printable(monkeypatch, capsys):
    """Names of files and of arrays are any text."""
    odd, shown = "a\x1b[2J\rb\x9b", r"a\x1b[2J\rb\x9b"
    screen = console.screen()
    console.say(screen, odd)
    console.facts(screen, {odd: odd})
    screen.print(console.table("ab", [[f"{odd}\n2", odd]]))
    monkeypatch.setattr("cli.console.LINE_EVERY_S", 0.0)
    with console.progress("scoring", 2, "rows") as report:
        report(1, odd)
    said = capsys.readouterr()
    assert (said.out + said.err).count(shown) == 6
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)


@pytest.mark.parametrize(("forced", "broken"), [("1", "\n       "), ("", " ")])
def test_facts_are_broken_at_spaces_and_on_terminals_only(monkeypatch, capsys, forced, broken):
    for name, value in {"COLUMNS": "30", "TERM": "xterm", "FORCE_COLOR": forced}.items():
        monkeypatch.setenv(name, value)
    path = "/a/path/that/is-longer/than/a/line"
    console.facts(console.screen(), {"drift": "as a whole like the others (p = 0.3)", "to": path})
    out = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert out == f"drift  as a whole like the{broken}others (p = 0.3)\nto     {path}\n"


def test_version(tmp_path):
    done = apd("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("apd ")


@pytest.mark.parametrize("place", ["main.app", "main.speech.begin"])
def test_an_interrupt_is_one_sentence_wherever_it_comes(place, tmp_path):
    """Before the command line is read, and within a command."""
    code = f"""
import os, signal
from cli import main
{place} = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)
main.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "score", "x.npz"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 130
    assert done.stdout == ""
    assert_one_sentence(done.stderr, "interrupted")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.InputError("no such  thing"), "no such thing."),
        (errors.InputError("two\nlines"), "two lines."),
        (errors.OutputError("Done already."), "Done already."),
        (errors.InputError("no \x1b[2Jx.npz\x07"), r"no \x1b[2Jx.npz\x07."),
        (OSError(28, "No space left on device", "f.csv"), "f.csv: No space left on device."),
        (OSError("odd"), "odd."),
        (MemoryError(), "there is not enough memory."),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to"), "there is not enough memory."),
    ],
)
def test_expected_failures_become_sentences(error, said):
    assert errors.is_expected(error)
    assert errors.sentence(error) == said


@pytest.mark.parametrize("count", [2**45, 2**62])
def test_more_numbers_than_memory_holds_are_an_expected_failure(count):
    with pytest.raises(RuntimeError) as caught:
        torch.zeros(count, dtype=torch.float64)
    assert errors.is_expected(caught.value)
    assert errors.sentence(caught.value) == "there is not enough memory."


def test_a_bug_is_not_an_expected_failure():
    assert not errors.is_expected(ValueError("a bug"))
    assert not errors.is_expected(RuntimeError("a bug"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (8 * 3600 + 120, "8 h 2 min")],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert console.duration(seconds) == said


def test_what_takes_seconds_each_is_not_said_to_go_at_no_speed(monkeypatch):
    times = iter([0.0, 8.0])
    monkeypatch.setattr("cli.console.time.monotonic", lambda: next(times))
    pace = console.Pace(1001)
    pace.note(0)
    pace.note(1)
    assert pace.text("steps") == "8.0 s/step, 2 h 13 min left"


def test_a_bar_on_a_terminal_says_how_many_are_done(monkeypatch, capsys):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    with console.progress("scoring", 7, "rows") as report:
        report(3, "three of them")
    err = capsys.readouterr().err
    assert all(word in err for word in ("scoring", "3/7", "three of them"))
