"""`apd toy`: a small network whose mechanisms are known, as a directory to train on."""

from pathlib import Path
from typing import Annotated

import typer

# the keys of toys.TOYS, without importing it
NAMES = (
    *("tms-5-2", "tms-40-10", "tms-5-2-identity", "tms-40-10-identity"),
    *("compressed-computation", "cross-layer-2", "cross-layer-3"),
    *("gated", "gated-2", "boolean", "boolean-trained", "digits"),
)


def toy(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(NAMES)}.")],
    out: Annotated[Path, typer.Option(help="The directory to write; a toy there is replaced.")],
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same toy.")
    ] = 0,
    planted: Annotated[
        bool, typer.Option("--planted", help="Keep one mechanism out of the trusted inputs.")
    ] = False,
) -> None:
    """Make a small network whose mechanisms are known.

    Example: apd toy tms-5-2 --out tms && apd train tms
    """
    import toys
    from cli import files
    from cli.console import facts, say, screen
    from cli.runs import command

    if name not in toys.TOYS:
        raise typer.BadParameter(
            f"there is no toy named {name!r}; there are {', '.join(toys.TOYS)}", param_hint="NAME"
        )
    files.check_name(out)
    made = toys.make(name, seed, planted=True) if planted else toys.make(name, seed)
    toys.save(made, out)
    anomalies = int(made.inputs.is_anomaly.sum())
    console = screen()
    say(console, f"Wrote the toy {name} (seed {seed}) to {out}.")
    rows = {
        "reference": f"{len(made.reference)} trusted inputs",
        "inputs": f"{len(made.inputs)} to score, {anomalies} of them anomalies",
        "mechanisms": str(len(made.mechanisms)) if made.mechanisms else "not known as weights",
    }
    if made.planted is not None:
        rows["planted"] = f"mechanism {made.planted}, which no trusted input exercises"
    facts(console, rows)
    say(console, f"Next: {command('train', str(out))}", "bold")
