"""A report as one HTML page that needs nothing else: pictures, style and script are inside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mad.reports import plots, small
from mad.reports.model import Image, Report, Series, Tokens
from mad.reports.png import png
from mad.reports.svg import written
from mad.reports.words import bits_text, largest, number, percent, row_named
from mad.scores import TOTAL

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = "report.html.j2"


def html(report: Report) -> str:
    """The page; strings of other people's making are escaped."""
    return environment().get_template(TEMPLATE).render(report=report, **PICTURES)


@cache
def environment() -> Environment:
    """Templates that escape what they are given, and put numbers in words."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        bits=bits_text, largest=largest, named=row_named, number=number, percent=percent
    )
    return made


def terms_plot(bits: Mapping[str, float | None]) -> Markup:
    """The terms that the total is the sum of."""
    return inline(small.terms({name: bits[name] for name in TOTAL if name in bits}))


def inline(tree: Element | None) -> Markup:
    """A picture's markup, which escapes its own words."""
    return Markup() if tree is None else Markup(written(tree))


def picture(drawing: Image | Series | Tokens | None, what: str) -> Markup:
    """A drawing of something, or words where there is none.

    Args:
        drawing: what to show.
        what: what it is of, for those who do not see it.
    """
    match drawing:
        case None:
            return Markup('<p class="quiet">No way to draw {}.</p>').format(what)
        case Image():
            return image(drawing, what)
        case Series():
            return inline(small.spark(drawing))
        case Tokens():
            more = drawing.length - len(drawing.ids)
            words = " ".join(map(str, drawing.ids)) + (f" and {more} more" if more else "")
            return Markup('<p class="tokens">{}</p>').format(words)


def image(drawing: Image, what: str) -> Markup:
    """A picture within the page."""
    content = b64encode(png(drawing.levels, signed=drawing.signed)).decode()
    height, width = len(drawing.levels), len(drawing.levels[0])
    said = f"{what}, from {number(drawing.low)} to {number(drawing.high)}"
    return Markup(
        '<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}" title="{}">'
    ).format(content, width, height, said, said)


# what the template draws with
PICTURES: dict[str, Callable[..., Markup]] = {
    "scores_plot": lambda found: inline(plots.scores(found)),
    "p_values_plot": lambda found, alpha: inline(plots.p_values(found, alpha)),
    "terms_plot": terms_plot,
    "outputs_plot": lambda own, without: inline(small.outputs(own, without)),
    "pair_plot": lambda rate, batch: inline(small.pair(rate, batch)),
    "picture": picture,
}
