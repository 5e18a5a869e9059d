"""`apd inspect`: what a run found, and how well."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.packages import refuse_missing
from cli.speech import Json, Quiet, put

if TYPE_CHECKING:
    from torch import Tensor

    import apd
    import mad

SITES_SHOWN = 4
OTHER_COLUMNS = 42
BETWEEN_COLUMNS = 2
STRONGEST = 3
QUARTERS = (0, 0.25, 0.5, 0.75, 1)


def inspect(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="The directory.  [default: the newest under ./runs]"),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the papers' figures there, as SVG files."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a run found and how well, its components, losses and settings.

    Parts of a site are as they were trained, or the weight's own rows or columns, or independent
    sources of what it reads, where these are shorter; or singular directions, of a weight without
    an effect. Activity is that of the trusted inputs the run has profiled. The strongest inputs of
    a component are those whose outputs it affects most, by their row among these:
    `mad.load(RUN).profiled`.

    Example: apd inspect runs/mine --figures figures
    """
    if figures is not None:
        refuse_figures(figures)
    from cli import runs
    from cli.console import facts, head, say, screen, table
    from cli.recovered import recovery_of, toy_in

    run = run or runs.newest_ready()
    detector = runs.detector_in(run)
    found = runs.decomposition_of(detector)
    toy = toy_in(run, found)
    shares = found.components.norm_shares(found.target)
    if json:
        put(told(found, detector))
    console = screen()
    say(console, str(run), "bold")
    facts(console, use(found, detector))
    head(console, "Sites")
    console.print(table(("shape", "residual", "parts", "site"), site_rows(found), words=-1))
    head(console, "Components")
    sites = fitting(list(shares), console.width)
    console.print(
        table(
            ("component", "ranks", "rate", *sites, "strongest inputs"),
            component_rows(found, detector, {site: shares[site] for site in sites}),
            words=-1,
        )
    )
    if len(shares) > len(sites):
        say(console, f"Sites not shown: {len(shares) - len(sites)}.")
    head(console, "Losses")
    console.print(
        table(
            ("faithfulness", "minimality", "simplicity", "active", "site"),
            loss_rows(found.steps),
            words=-1,
        )
    )
    head(console, "Settings")
    facts(console, settings_of(found))
    truth = recovery_of(found, toy)
    if truth is not None:
        head(console, "Against the known mechanisms")
        facts(console, truth)
    if figures is not None:
        from cli.figures.subject import Subject
        from cli.figures.written import write_figures

        written = write_figures(Subject(found, detector, toy), figures)
        head(console, "Figures")
        facts(console, written)


def refuse_figures(directory: Path) -> None:
    """Refuses a directory that figures could not be written to, before any work.

    Raises:
        InputError: so it is, or matplotlib is not installed.
    """
    refuse_missing("drawing figures", "matplotlib")
    from cli.figures import folder
    from cli.figures.table import FIGURES

    folder.check(directory, [f"{name}.svg" for name in FIGURES])


def settings_of(run: apd.Run) -> dict[str, str]:
    """The settings by name, but for those that are not given: training finds what these say."""
    settings = run.config.model_dump(mode="json").items()
    given = {name: value for name, value in settings if value not in (None, [], "")}
    return {
        name: ", ".join(value) if isinstance(value, list) else str(value)
        for name, value in given.items()
    }


def site_rows(run: apd.Run) -> list[tuple[str, ...]]:
    """Shape, the residual's share of the weight's norm, kind of parts, and name of every site."""
    import apd

    left = apd.recovery.faithfulness(run.target, run.components).sites
    return [
        (f"{site.shape[0]}x{site.shape[1]}", f"{left[name]:.2%}", run.kinds[name], name)
        for name, site in run.target.sites.items()
    ]


def loss_rows(steps: list[apd.Step]) -> list[tuple[str, ...]]:
    """The losses of every weight at the end of its training, and its parts active per input."""
    last = {step.site: step for step in steps}
    return [
        (
            f"{step.faithfulness:.3g}",
            f"{step.minimality:.3g}",
            f"{step.simplicity:.3g}",
            f"{step.active:.3g}",
            site,
        )
        for site, step in last.items()
    ]


def fitting(sites: list[str], width: int) -> list[str]:
    """The first few sites whose columns leave room for the others."""
    ends = accumulate(len(site) + BETWEEN_COLUMNS for site in sites[:SITES_SHOWN])
    return [site for site, end in zip(sites, ends, strict=False) if end <= width - OTHER_COLUMNS]


def component_rows(
    run: apd.Run, detector: mad.Detector, shares: dict[str, Tensor]
) -> list[tuple[str, ...]]:
    """The components, the most used first.

    Their ranks at all sites together, the share of profiled inputs that use them, their shares of
    sites, and the inputs they affect most.
    """
    ranks = run.components.ranks()
    return [
        (
            str(c),
            f"{int(ranks[c])}",
            f"{float(detector.rates[c]):.1%}",
            *(f"{float(share[c]):.0%}" for share in shares.values()),
            ", ".join(map(str, strongest(detector, c))),
        )
        for c in sorted(range(run.components.count), key=lambda c: -float(detector.rates[c]))
    ]


def strongest(detector: mad.Detector, component: int) -> list[int]:
    """The profiled inputs whose outputs a component affects most, in falling order."""
    import numpy as np

    strength = detector.usual.strengths[:, component]
    return np.argsort(-strength, kind="stable")[:STRONGEST].tolist()


def use(run: apd.Run, detector: mad.Detector) -> dict[str, str]:
    """How well components stand for the weights, and how many of them inputs use."""
    import numpy as np

    from cli.outcome import residual_of, sparse_error_of

    counts = detector.usual.active.sum(1)
    low, *quarters, high = np.quantile(counts, QUARTERS)
    return {
        "residual": f"{residual_of(run):.2%} of the weights' norm",
        "sparse error": sparse_error_of(detector),
        "active per input": f"{counts.mean():.3g} on average; "
        f"{' / '.join(f'{q:.3g}' for q in quarters)} quartiles, {low:.0f} to {high:.0f}",
        "components": str(run.components.count),
    }


def told(run: apd.Run, detector: mad.Detector) -> dict[str, object]:
    """What is shown of a run but for known mechanisms, for programs."""
    from cli.outcome import residual_of

    ranks = run.ranks.tolist()
    return {
        "settings": run.config.model_dump(mode="json"),
        "sites": {name: list(site.shape) for name, site in run.target.sites.items()},
        "parts": dict(run.kinds),
        "losses": [
            {
                "site": step.site,
                "step": step.step + 1,
                "faithfulness": step.faithfulness,
                "minimality": step.minimality,
                "simplicity": step.simplicity,
            }
            for step in run.steps
        ],
        "residual": residual_of(run),
        "sparse_error": detector.usual.sparse_error,
        "active_per_input": float(detector.usual.active.sum(1).mean()),
        "components": [
            {
                "component": c,
                "rank": ranks[c],
                "rate": float(detector.rates[c]),
                "strongest_inputs": strongest(detector, c),
            }
            for c in range(run.components.count)
        ],
    }
