"""The documentation: its links resolve, its code runs, its commands do what they say."""

import importlib.util
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from safetensors.torch import save_file
from test_cli_main import COMMANDS, call, environment

import apd
import toys
from cli import main

sys.path.append(str(Path(__file__).resolve().parent.parent / "docs"))

import pages
import reference
import terminal

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_PATH = re.compile(r"`((?:apd|mad|toys|cli|tests|benchmarks|examples)/[a-z_/.]+)`")
ADAPTER = r"mad\.adapters\.(\w+)"
STORIES = ["README.md", "docs/tutorial.md"]
BRIEFLY = ["--steps", "20", "--components", "8"]
ANOMALIES = 3
MODELS = """
from torch import nn

def classifier():
    return nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    )
"""


def blocks(page: str, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall((ROOT / page).read_text()) if kind == language]


def commands(page: str) -> list[list[str]]:
    """The commands of a page's shell blocks, without comments, those joined by && apart."""
    lines = "\n".join(blocks(page, "sh")).replace("&&", "\n").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="session")
def desk(digits, detector, tmp_path_factory) -> Path:
    """What a reader of the pages has: the toy, its run, and files of their own."""
    directory = tmp_path_factory.mktemp("desk")
    toys.save(digits.toy, directory / "digits")
    detector.save(directory / "runs" / "digits")
    shutil.copy(directory / "digits" / "inputs.npz", directory)
    np.savez(directory / "trusted.npz", x=digits.toy.reference.numpy())
    np.savez(directory / "new.npz", x=digits.toy.inputs.x[250:350].numpy())
    save_file(digits.toy.model.state_dict(), directory / "w.safetensors")
    (directory / "models.py").write_text(MODELS)
    return directory


@pytest.fixture
def here(desk, tmp_path, monkeypatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def decomposed(digits, monkeypatch):
    """`apd.decompose(target, reference)` gives the run that is there."""
    monkeypatch.setattr(apd, "decompose", lambda target, reference: digits.run)


@pytest.mark.parametrize("page", pages.PAGES)
def test_every_link_and_anchor_resolves(page):
    for link in pages.links(pages.parsed((ROOT / page).read_text())):
        file, _, anchor = link.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), link
        if anchor:
            assert anchor in pages.anchors(pages.parsed(path.read_text())), link


@pytest.mark.parametrize("page", pages.PAGES)
def test_every_path_of_the_code_named_is_there(page):
    named = OWN_PATH.findall((ROOT / page).read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_api_reference_is_that_of_the_docstrings():
    assert (ROOT / "docs" / "api.md").read_text() == reference.page(), "run `make docs`"


def test_the_api_reference_speaks_of_inherited_methods_and_of_every_public_name():
    text = reference.page()
    for package in (apd, toys):
        for name in package.__all__:
            if not hasattr(getattr(package, name), "__path__"):
                assert f"`{package.__name__}.{name}`\n" in text
    assert "#### `mad.Detector.score`\n" in text
    assert "- `InputError`: the inputs do not have the shape of the reference's.\n" in text


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("One line, 2 * 3.", "One line, 2 \\* 3.\n"),
        ("A.\n\nArgs:\n    x: rows\n        [n].\n", "A.\n\n**Args**\n\n- `x`: rows\n  [n].\n"),
        ("A.\n\n    code * 2\n", "A.\n\n    code * 2\n"),
    ],
)
def test_docstrings_become_markdown(docstring, markdown):
    assert reference.prose(docstring) == markdown


def test_the_site_has_every_page_and_its_links_stay_inside(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pages", str(tmp_path)])
    pages.main()
    assert f"{len(pages.PAGES)} pages" in capsys.readouterr().out
    for name in pages.PAGES:
        path = (tmp_path / name).with_suffix(".html")
        for link in re.findall(r'(?:href|src)="([^"]*)"', path.read_text()):
            file, _, anchor = link.partition("#")
            if not pages.ELSEWHERE.match(link):
                there = path.parent / file if file else path
                assert there.exists(), (name, link)
                assert not anchor or f'id="{anchor}"' in there.read_text()


def test_anchors_are_those_of_github():
    text = "# A `b.c`, d\n\n## Same\n\n## Same\n\n[x](#same-1 'y') ![z](z.png) <https://e.org>\n"
    tokens = pages.parsed(text)
    assert pages.anchors(tokens) == ["a-bc-d", "same", "same-1"]
    assert pages.links(tokens) == ["#same-1", "z.png"]


def test_a_terminals_picture_has_its_words_and_asks_no_other_site():
    picture = terminal.drawn(["apd", "x"], "\x1b[1mflagged\x1b[0m 3\n")
    assert ">flagged</text>" in picture
    assert "font-face" not in picture


@pytest.mark.parametrize("page", STORIES)
@pytest.mark.usefixtures("decomposed")
def test_the_python_of_a_page_runs_from_top_to_bottom(page, here):
    code = blocks(page, "python")
    assert code
    (here / "page.py").write_text("\n".join(code))
    runpy.run_path(str(here / "page.py"))


@pytest.mark.parametrize(
    "code", blocks("docs/adapters.md", "python"), ids=lambda code: re.search(ADAPTER, code)[1]
)
def test_every_adapters_example_runs(code, here):
    for library in ("pyod", "inspect_ai"):
        if library in code and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", STORIES)
def test_every_command_of_a_page_works(page, here, monkeypatch, capsys):
    """What trains does so briefly, beside the prepared run; the others work on that."""
    monkeypatch.delitem(sys.modules, "models", raising=False)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for program, *arguments in commands(page):
        if program == "make":
            assert set(arguments) <= set(targets)
            continue
        assert program == "apd"
        directory, briefly = here, []
        if arguments[0] == "train":
            directory, briefly = scratch(here), BRIEFLY
        code, _, err = call(monkeypatch, capsys, directory, *arguments, *briefly)
        allowed = (0, ANOMALIES) if "--fail-on-anomaly" in arguments else (0,)
        assert code in allowed, (arguments, err)
    monkeypatch.delitem(sys.modules, "models", raising=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_commands_help_are_understood(name):
    group = typer.main.get_command(main.app)
    example = group.commands[name].help.partition("Example: ")[2].split("\n\n")[0]
    for line in " ".join(example.split()).split(" && "):
        apd, command, *arguments = shlex.split(line)
        assert apd == "apd"
        assert group.commands[command].make_context(command, arguments).args == []


def scratch(desk: Path) -> Path:
    """A copy of what is there, without runs."""
    directory = desk / f"scratch-{len(list(desk.glob('scratch-*')))}"
    shutil.copytree(desk, directory, ignore=shutil.ignore_patterns("runs", "scratch-*"))
    return directory
