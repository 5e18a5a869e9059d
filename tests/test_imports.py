"""Who may import whom, read off the source; and what an import brings along."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEAVES = ("apd", "mad", "toys")
OURS = (*LEAVES, "cli", "tests", "benchmarks", "examples")


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The packages that a file imports anywhere in it, by their first name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("package", LEAVES)
def test_leaves_import_none_of_ours(package):
    assert len(sources(package)) > 5
    for path in sources(package):
        found = imports(path) & set(OURS)
        assert found <= {package}, path


@pytest.mark.parametrize("package", [*LEAVES, "cli", "tests", "examples"])
def test_nothing_imports_torchvision(package):
    """Its wheels for other builds break the import of everything that touches it."""
    for path in sources(package):
        assert not imports(path) & {"torchvision", "torchmetrics", "lightning", "timm"}, path


@pytest.mark.parametrize("package", LEAVES)
def test_only_the_command_line_talks_to_terminals(package):
    for path in sources(package):
        assert not imports(path) & {"typer", "rich", "click", "argparse"}, path
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"print", "input", "exit"}, path


def loaded(statement: str) -> set[str]:
    """The packages that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_mad_knows_nothing_of_torch_or_of_decompositions():
    found = loaded("import mad")
    assert {"mad", "numpy"} <= found
    assert not found & {"torch", "apd", "toys", "cli", "torchvision"}


def test_apd_and_toys_come_without_the_rest():
    found = loaded("import apd, toys")
    assert {"apd", "torch", "toys"} <= found
    assert not found & {"mad", "cli", "torchvision"}
