"""The figures behind docs/detection.md, kept beside it, and the page's tables out of them.

    python benchmarks/published.py [--add ROWS.json]

`docs/measured/detection.csv` has a line for every victim and score. What `detection.py --json`
wrote is added to it, in place of what was there of the same victims, if it is of the same pictures
and settings, and every table is put into the page in place of the one that begins alike. Tables
that the page has no place for are printed.

A cell is AUROC against clean inputs / found at 1 % false alarms / AUROC against look-alikes, the
mean over victims; the worst victim is that of the least AUROC. Where a column has several scores,
a victim's best counts, chosen after the fact.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
from scores import OURS, family
from tables import NEAR, VICTIM, Rows, grouped, successful, within

from apd.files import write_whole
from mad.baselines import BASELINES

DOCS = Path(__file__).resolve().parent.parent / "docs"
KEPT, PAGE = DOCS / "measured" / "detection.csv", DOCS / "detection.md"
NAMES = (*VICTIM, "score")
DECOMPOSED = ("active", "minimality", "faithfulness")
FIGURES = ("auroc", "tpr_at_1fpr", "tpr_at_01fpr", "auroc_vs_lookalike")
ALIKE = ("side", "steps")
WHOLE = ("seed", *ALIKE)
NUMBERS = ("poison", *WHOLE, "success", *DECOMPOSED, *FIGURES)
CELL = ("auroc", "tpr_at_1fpr", "auroc_vs_lookalike")
DIGITS = 4
GROUP = ("architecture", "training", "poison")
ARCHITECTURES = {"mlp": "MLPs", "cnn": "Convolutional networks"}
TRAININGS = {
    "obfuscated": "hidden from activations",
    "plain": "in plain sight",
    "adaptive": "hidden from this detector",
}

MONITORS = tuple(name for name in BASELINES if family(name) == "activations" and name != "ted")

# heading -> scores, of which a victim's best counts
COLUMNS = {
    "account": (OURS,),
    "`attribution_bits`": (f"{OURS}/attribution_bits",),
    "`input_bits`": (f"{OURS}/input_bits",),
    "class Mahalanobis, gradient x input": ("class_mahalanobis_input_effects",),
    "TED": ("ted",),
    "best other monitor of activations": MONITORS,
    "account on singular vectors": ("singular_vectors",),
    "account on singular vectors set apart": ("singular_vectors_apart",),
    "account on random components": ("random_components",),
}
SUMMARY = ("mean AUROC", "worst", "found at 1 %", "at 0.1 %", "against look-alikes")
ENDED = ("active", "unexplained", "owned by none")
FORMS = ("{:.0f}", "{:.1%}", "{:.1%}")


def read(path: Path) -> Rows:
    """The lines that are kept, as rows."""
    with path.open(newline="") as lines:
        return [
            {
                **line,
                **{name: float(line[name]) for name in NUMBERS if line[name]},
                **{name: int(line[name]) for name in WHOLE},
                "family": family(line["score"]),
            }
            for line in csv.DictReader(lines)
        ]


def write(path: Path, rows: Rows) -> None:
    """The rows of backdoors in a fixed order, numbers to four digits."""
    names = (*NAMES, *ALIKE, "success", *DECOMPOSED, *FIGURES)
    lines = StringIO()
    sheet = csv.writer(lines, lineterminator="\n")
    sheet.writerow(names)
    for row in sorted(rows, key=key):
        sheet.writerow([rounded(row.get(name, "")) for name in names])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda scratch: scratch.write_text(lines.getvalue()))


def rounded(value: object) -> object:
    return round(value, DIGITS) if isinstance(value, float) else value


def added(kept: Rows, new: Rows) -> Rows:
    """The rows of all victims, those of the new ones in place of what was kept of them.

    Of a victim whose attack has failed there are none any more.

    Raises:
        ValueError: they are of other pictures, or of other settings.
    """
    fresh = grouped([row for row in new if row["table"] == "backdoors"], *VICTIM)
    found = {tuple(row[name] for name in ALIKE) for row in [*kept, *new]}
    if len(found) > 1:
        raise ValueError(f"rows of {len(found)} kinds of pictures or of settings: {sorted(found)}")
    return [row for row in kept if key(row) not in fresh] + worth_keeping(new)


def key(row: dict) -> tuple:
    """Which victim a row is of."""
    return tuple(row[name] for name in VICTIM)


def worth_keeping(rows: Rows) -> Rows:
    """Of the rows of backdoors, the scores that are told of: of controls' terms only one."""
    own = successful([row for row in rows if row["table"] == "backdoors"])
    return [
        row
        for row in own
        if family(row["score"]) != "term"
        or row["score"].startswith(OURS)
        or row["score"].endswith("/attribution_bits")
    ]


def tables(rows: Rows) -> Iterator[str]:
    """The Markdown of all tables, a group of victims after the other, and one of all groups."""
    groups = grouped(sorted(rows, key=order), *GROUP)
    for name, own in groups.items():
        yield "\n".join([f"{title(name)}:", "", *attack_table(own)])
    yield "\n".join(summary_table(groups))


def placed(page: str, table: str) -> str:
    """A page with a table in place of the one that begins with the same line.

    Raises:
        ValueError: there is not one such place.
    """
    first = re.escape(table.split("\n", 1)[0])
    own = re.compile(rf"^{first}\n(\n(?=\|))?(\|.*\n)*", re.MULTILINE)
    page, places = own.subn(lambda _: f"{table}\n", page)
    if places != 1:
        raise ValueError(f"there are {places} places for it")
    return page


def order(row: dict) -> tuple:
    """Where the group of a row's victim stands among others."""
    architecture, training, poison = (row[name] for name in GROUP)
    return [*ARCHITECTURES].index(architecture), [*TRAININGS].index(training), poison


def title(group: tuple) -> str:
    """A group of victims in words."""
    architecture, training, poison = group
    share = f"{100 * poison:g} % of pictures poisoned"
    return f"{ARCHITECTURES[architecture]} {TRAININGS[training]}, {share}"


def attack_table(rows: Rows) -> Iterator[str]:
    """A line for every attack, and one of the means of all victims."""
    yield from heading("attack", "success", "worst account", *COLUMNS)
    for attack, own in grouped(rows, "attack").items():
        ours = [row for row in own if row["score"] == OURS]
        worst = min(ours, key=auroc)
        success = f"{np.mean([row['success'] for row in ours]):.2f}"
        yield line(attack, success, cell([worst]), *cells(own))
    yield line("**mean**", "", "", *cells(rows))


def cells(rows: Rows) -> Iterator[str]:
    """The means over victims of what has a column."""
    victims = grouped(rows, *VICTIM).values()
    for scores in COLUMNS.values():
        yield cell([best(victim, scores) for victim in victims])


def best(victim: Rows, scores: tuple[str, ...]) -> dict:
    """Of some scores of a victim, that of the greatest AUROC."""
    return max((row for row in victim if row["score"] in scores), key=auroc)


def auroc(row: dict) -> float:
    """Of triggered inputs against clean ones."""
    return row["auroc"]


def cell(rows: Rows) -> str:
    """The means of a row of every victim."""
    told, found, alike = (np.mean([row[name] for row in rows]) for name in CELL)
    return f"{told:.3f} / {found:.2f} / {alike:.2f}"


def summary_table(groups: dict[tuple, Rows]) -> Iterator[str]:
    """A line for every group of victims: our account, and how the decompositions ended."""
    yield from heading("victims", *SUMMARY, f"within {NEAR} of the best baseline", *ENDED)
    for name, rows in groups.items():
        ours = [row for row in rows if row["score"] == OURS]
        near = [within(victim) for victim in grouped(rows, *VICTIM).values()]
        aurocs, *others = (np.array([row[name] for row in ours]) for name in FIGURES)
        ended = ([row[name] for row in ours] for name in DECOMPOSED)
        yield line(
            f"{title(name)}: {len(ours)}",
            f"{aurocs.mean():.3f}",
            f"{aurocs.min():.3f}",
            *(f"{values.mean():.2f}" for values in others),
            f"{sum(near)} of {len(near)}",
            *(span(*each) for each in zip(ended, FORMS, strict=True)),
        )


def span(values: list[float], form: str) -> str:
    """The least and the most."""
    return f"{form.format(min(values))} to {form.format(max(values))}"


def heading(*names: str) -> Iterator[str]:
    yield line(*names)
    yield "|" + "---|" * len(names)


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Add what is asked for, and write the tables into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--add", type=Path, help="rows of detection.py --json")
    options = parser.parse_args()
    rows = read(KEPT) if KEPT.exists() else []
    if options.add:
        write(KEPT, added(rows, json.loads(options.add.read_text())))
        rows = read(KEPT)
    page = PAGE.read_text()
    for table in tables(rows):
        try:
            page = placed(page, table)
        except ValueError as error:
            print(f"In {PAGE.name} {error}:\n\n{table}\n")
    write_whole(PAGE, lambda scratch: scratch.write_text(page))


if __name__ == "__main__":
    main()
