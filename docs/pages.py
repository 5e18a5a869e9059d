"""Renders the project's Markdown as plain pages: python docs/pages.py [DIRECTORY]."""

from __future__ import annotations

import re
import shutil
import sys
from html import escape
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
)
FOLDERS = (Path("docs/pictures"), Path("docs/measured"))
ELSEWHERE = re.compile(r"^[a-z]+:|^//")

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; border-bottom: 1px solid #8886; }
pre, code { font: .9em/1.45 ui-monospace, monospace; background: #8882; border-radius: 3px; }
pre { padding: .7rem; overflow-x: auto; } pre code { background: none; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid #8886; padding: .2rem .6rem; vertical-align: top; }
img { max-width: 100%; }
"""


def main() -> None:
    """Writes every page, and what they link to, into a directory, ./site where none is named."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
    for name in PAGES:
        path = (out / name).with_suffix(".html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html(name, (ROOT / name).read_text()))
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, out / folder, dirs_exist_ok=True)
    print(f"{len(PAGES)} pages; begin with {out / 'README.html'}")


def html(name: str, text: str) -> str:
    """A page, with the way to all others at its top."""
    tokens = parsed(text)
    up = "../" * name.count("/")
    links = "".join(
        f'<a href="{up}{page.removesuffix(".md")}.html">{Path(page).stem}</a>' for page in PAGES
    )
    heading = next(iter(headings(tokens)), name)
    body = renderer().renderer.render(with_anchors(tokens), renderer().options, {})
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(heading)}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style><nav>{links}</nav><main>{body}</main></html>\n"
    )


def renderer() -> MarkdownIt:
    """CommonMark and tables."""
    return MarkdownIt("commonmark").enable("table")


def parsed(text: str) -> list[Token]:
    """The tokens of a page."""
    return renderer().parse(text)


def headings(tokens: list[Token]) -> list[str]:
    """The words of every heading, in order."""
    return [
        "".join(child.content for child in after.children or ())
        for token, after in pairwise(tokens)
        if token.type == "heading_open"
    ]


def slug(words: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def anchors(tokens: list[Token]) -> list[str]:
    """The anchor of every heading, in order; a second of the same words is numbered."""
    seen: dict[str, int] = {}
    found: list[str] = []
    for words in map(slug, headings(tokens)):
        count = seen.setdefault(words, 0)
        seen[words] += 1
        found.append(f"{words}-{count}" if count else words)
    return found


def links(tokens: list[Token]) -> list[str]:
    """Where links and pictures of a page lead, where that is not to another site."""
    children = [child for token in tokens for child in token.children or ()]
    found = [str(child.attrGet("href") or child.attrGet("src") or "") for child in children]
    return [link for link in found if link and not ELSEWHERE.match(link)]


def with_anchors(tokens: list[Token]) -> list[Token]:
    """The same tokens with anchors on headings, and links to pages as rendered."""
    opening = [token for token in tokens if token.type == "heading_open"]
    for token, anchor in zip(opening, anchors(tokens), strict=True):
        token.attrSet("id", anchor)
    for child in (child for token in tokens for child in token.children or ()):
        href = str(child.attrGet("href") or "")
        if href and not ELSEWHERE.match(href):
            child.attrSet("href", re.sub(r"\.md(?=#|$)", ".html", href))
    return tokens


if __name__ == "__main__":
    main()
