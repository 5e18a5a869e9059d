"""Writes docs/api.md out of the packages' docstrings, reading their source and importing nothing.

python docs/reference.py
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
MODULES = (
    "apd",
    "apd.recovery",
    "apd.training.objectives",
    "mad",
    "mad.scorer",
    "mad.scores",
    "mad.metrics",
    "mad.testing",
    "mad.reports",
    "mad.adapters.fitted",
    "mad.adapters.sklearn",
    "mad.adapters.pyod",
    "mad.adapters.pytorch_ood",
    "mad.adapters.cupbearer",
    "mad.adapters.inspect_ai",
    "toys",
)
HEAD = """# API reference

Made from the docstrings by `make docs`; a test says when it is out of date.
"""
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Warns):$")
ITEM = re.compile(r"^(\*{0,2}[\w.]+(?:, [\w.]+)*): (.*)$")
CODE = re.compile(r"(`[^`]*`)")
WIDTH = 96

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef | ast.Assign | ast.AnnAssign


class Found(NamedTuple):
    """A definition, and the module it stands in."""

    module: str
    node: Definition


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page())


def page() -> str:
    """The whole page."""
    parts = [HEAD, *(part for module in MODULES for part in module_parts(module))]
    return "\n".join(parts)


def module_parts(module: str) -> Iterator[str]:
    """A module's docstring, then everything public in it."""
    yield f"## `{module}`\n"
    yield prose(ast.get_docstring(tree(module)) or "")
    for name in public(module):
        found = lookup(module, name)
        if found is not None:
            yield from definition_parts(f"{module}.{name}", found)


def definition_parts(title: str, found: Found) -> Iterator[str]:
    """A heading, the code that matters to a caller, the docstring; of a class, its methods too."""
    node = found.node
    yield f"### `{title}`\n"
    yield f"```text\n{code(found)}\n```\n"
    if isinstance(node, Function | ast.ClassDef):
        yield prose(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        for name, method in methods(found).items():
            text = ast.get_docstring(method)
            if text and not name.startswith("_"):
                yield f"#### `{title}.{name}`\n"
                yield f"```text\n{signature(method)}\n```\n"
                yield prose(text)


def code(found: Found) -> str:
    """A signature; a class with its fields; a table as it stands in the source."""
    node = found.node
    if isinstance(node, Function):
        return signature(node)
    if not isinstance(node, ast.ClassDef):
        return ast.get_source_segment(source(found.module), node) or ""
    bases = ", ".join(map(ast.unparse, node.bases))
    head = f"class {node.name}({bases})" if bases else f"class {node.name}"
    made = methods(found).get("__init__")
    own = [signature(made).replace("\n", "\n    ")] if made is not None else fields(found)
    return "\n    ".join([head, *own])


def fields(found: Found) -> list[str]:
    """A class's annotated fields, those of bases that are ours first."""
    node = found.node
    assert isinstance(node, ast.ClassDef)
    above = [lookup(found.module, ast.unparse(base)) for base in node.bases]
    classes = [base for base in above if base is not None and isinstance(base.node, ast.ClassDef)]
    own = [
        ast.unparse(field)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and not ast.unparse(field.target).startswith("_")
    ]
    return [*(field for base in classes for field in fields(base)), *own]


def signature(node: Function) -> str:
    """A call and what it returns, an argument per line where they do not fit into one."""
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    if decorators & {"property", "cached_property"}:
        return f"{node.name}{returns}"
    arguments = ast.unparse(node.args)
    line = f"{node.name}({arguments}){returns}"
    if len(line) <= WIDTH:
        return line
    split = ",\n    ".join(top_level(arguments))
    return f"{node.name}(\n    {split},\n){returns}"


def top_level(arguments: str) -> list[str]:
    """Arguments apart, at the commas that are inside no bracket and no string."""
    parts, depth, quote = [""], 0, ""
    for sign in arguments:
        if sign in "'\"" and quote in ("", sign):
            quote = "" if quote else sign
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def prose(docstring: str) -> str:
    """A Google-style docstring as Markdown: sections as lists, all else as it is."""
    lines: list[str] = []
    in_section = False
    for line in docstring.splitlines():
        if found := SECTION.match(line):
            in_section = True
            lines += [f"**{found[1]}**", ""]
        elif in_section and line.startswith("    "):
            item = ITEM.match(line[4:])
            lines.append(
                f"- `{item[1]}`: {escaped(item[2])}" if item else f"  {escaped(line[4:].strip())}"
            )
        else:
            in_section = in_section and not line
            lines.append(line if line.startswith("    ") else escaped(line))
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    """Text whose signs outside of code mean themselves in Markdown."""
    parts = CODE.split(text)
    return "".join(
        part if part.startswith("`") else re.sub(r"[*<]|(?<!\w)_", r"\\\g<0>", part)
        for part in parts
    )


def public(module: str) -> list[str]:
    """The names in `__all__`, or else everything defined there without an underscore."""
    names: list[str] = []
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return sorted(ast.literal_eval(node.value), key=str.casefold)
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            names.append(node.name)
    return names


def lookup(module: str, name: str) -> Found | None:
    """Where a name is defined, through imports; None where it is no definition of ours."""
    for node in tree(module).body:
        if isinstance(node, Function | ast.ClassDef) and node.name == name:
            return Found(module, node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return Found(module, node)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return Found(module, node)
        if isinstance(node, ast.ImportFrom) and node.module != module:
            for alias in node.names:
                if (alias.asname or alias.name) == name and path_of(node.module or "").exists():
                    return lookup(node.module or "", alias.name)
    return None


def methods(found: Found) -> dict[str, Function]:
    """A class's own methods, then those of bases that are ours."""
    node = found.node
    assert isinstance(node, ast.ClassDef)
    own = {part.name: part for part in node.body if isinstance(part, Function)}
    for base in node.bases:
        above = lookup(found.module, ast.unparse(base))
        if above is not None and isinstance(above.node, ast.ClassDef):
            own = {**methods(above), **own}
    return own


@cache
def tree(module: str) -> ast.Module:
    """A module's syntax."""
    return ast.parse(source(module))


@cache
def source(module: str) -> str:
    """A module's text."""
    return path_of(module).read_text()


def path_of(module: str) -> Path:
    """The file of a module, or of a package's `__init__`."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


if __name__ == "__main__":
    main()
