"""What a detector found in a batch, as a report that people want to read.

gathered    counts and the most surprising rows, while scores pass
content     from these, the detector and some inputs to a `Report`: all that a report says, as data
model       that data
cards, curves, usage, drawings, words
            its parts
html, markdown, json
            one renderer each, in `RENDERERS` by suffix; a new format is one file and one row
plots, small, svg, png
            pictures

A renderer is imported when it is asked for: the page needs jinja2, which is optional.
"""

from __future__ import annotations

from importlib import import_module

from mad.reports.cards import Directed
from mad.reports.content import TITLE, report_of, wanted
from mad.reports.gathered import Gathered
from mad.reports.model import Flagging, Report

# suffix -> the module, and the function of the same name in it
RENDERERS = {".html": "html", ".md": "markdown", ".json": "json"}


def rendered(report: Report, suffix: str) -> str:
    """The report in the format of a suffix out of `RENDERERS`.

    Raises:
        ModuleNotFoundError: the format needs a package that is not installed.
    """
    name = RENDERERS[suffix]
    render = getattr(import_module(f"mad.reports.{name}"), name)
    return render(report)


__all__ = [
    "RENDERERS",
    "TITLE",
    "Directed",
    "Flagging",
    "Gathered",
    "Report",
    "rendered",
    "report_of",
    "wanted",
]
