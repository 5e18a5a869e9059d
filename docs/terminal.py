"""Draws what a command prints on a terminal: python docs/terminal.py OUT.svg COMMAND ..."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> None:
    """Runs the command and writes the picture."""
    path, *command = sys.argv[1:]
    Path(path).write_text(drawn(command, printed(command)))


def printed(command: list[str]) -> str:
    """What a command prints where its output is a terminal, colours included."""
    coloured = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    return subprocess.run(
        command, env=coloured, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def drawn(command: list[str], output: str) -> str:
    """The picture, without the fonts that it would ask another site for."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f"$ {shlex.join(command)}", "bold"))
    console.print(Text.from_ansi(output.rstrip()))
    return FONTS.sub("", console.export_svg(title=command[0]))


if __name__ == "__main__":
    main()
