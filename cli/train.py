"""`apd train`: decompose a network and fit the detector, into a run directory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import runs, settings
from cli.errors import INTERRUPTED, InputError, Interrupted
from cli.plan import FILE as RECORD
from cli.plan import Plan, absolute, from_file, recorded
from cli.speech import Json, Quiet, put

if TYPE_CHECKING:
    import apd
    import mad
    from cli.targets import Material


def train(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET", help="A toy's directory, an .onnx file, or package.module:factory."
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Inputs you trust, an .npz file; a toy brings its own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory.  [default: runs/NAME-TIME]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings.  [default: TARGET/apd.toml, else ./apd.toml]")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A safetensors file for what the factory makes.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Which array of the reference file.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    components: Annotated[
        int | None, typer.Option(min=1, help="How many parts to look for in every weight.")
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="The most a part's rank may be.")] = None,
    sites: Annotated[
        list[str] | None,
        typer.Option(
            help="Which weights, as 'layers.*'; again for more; '!NAME' leaves one whole."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help="Which output where there are several: logits, 1, logits[-1]."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed, the same run, on the same machine.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ...  [default: auto, a GPU where there is one]")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with --out, the settings' own, or the newest unfinished."
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Read a .pt2 file, which can execute code.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Take a few steps, say what all will take, and stop.")
    ] = False,
) -> None:
    """Decompose a network and learn how trusted inputs use it.

    With nothing given and no apd.toml here, an embedded example is used: a digit classifier with a
    planted backdoor, which leaves inputs.npz here to score.

    Example: apd train models:classifier --weights w.safetensors --reference x.npz
    """
    began = time.monotonic()
    given = {
        "target": absolute(target) if target is not None else None,
        "reference": str(reference.absolute()) if reference is not None else None,
        "weights": str(weights.absolute()) if weights is not None else None,
        "key": key,
        "device": device,
    }
    settled = {
        "steps": steps,
        "components": components,
        "rank": rank,
        "sites": sites or None,
        "output": output,
        "seed": seed,
    }
    if resume:
        run, plan = to_resume(out, config, target)
    else:
        plan, configured_out = configured(config, target)
        run = out or configured_out
    plan = plan.over(given, settled)
    if plan.target is None and (plan.reference or plan.weights or plan.key):
        raise InputError("a reference, weights or a key need a target: apd train TARGET ...")
    if dry_run:
        from cli.dry_run import say, told, tried

        found = tried(plan, trust=trust)
        if json:
            put(told(found))
        say(found)
        return
    run = run or runs.fresh(plan.name)
    if not resume:
        runs.refuse_taken(run)
    decomposition, detector = work(plan, run, began, resume=resume, trust=trust)
    if json:
        from cli.outcome import told

        put(told(decomposition, detector, run, time.monotonic() - began))


def configured(config: Path | None, target: str | None) -> tuple[Plan, Path | None]:
    """The plan of the `apd.toml` that applies, and where it wants the run; empty without one.

    Raises:
        InputError: the file cannot be used, or there is one and nothing names a target.
    """
    path = settings.find(config, target)
    if path is None:
        return Plan(), None
    plan, out = from_file(settings.read(path))
    if plan != Plan():
        from cli.console import say, screen

        say(screen(), f"Settings are those of {path} where none are given.")
    if target is None and plan.target is None:
        raise InputError(f"{path} names no target; give one: apd train TARGET")
    return plan, out


def to_resume(out: Path | None, config: Path | None, target: str | None) -> tuple[Path, Plan]:
    """The unfinished run to go on with, and the plan it was begun with.

    Raises:
        InputError: there is none, or it is finished.
    """
    path = settings.find(config, target)
    run = runs.unfinished(out or begun_by(path))
    plan = recorded(run)
    if plan is not None and config is not None:
        return run, plan.over({}, settings.read(config).decomposition)
    if plan is not None:
        return run, plan
    if target is None and path is None:
        raise InputError(f"{run} has no {RECORD}; give the target it was begun with again")
    return run, configured(config, target)[0]


def begun_by(path: Path | None) -> Path | None:
    """The run that an `apd.toml` asks for, where it is unfinished."""
    out = from_file(settings.read(path))[1] if path is not None else None
    return out if out is not None and runs.is_unfinished(out) else None


def work(
    plan: Plan, run: Path, began: float, *, resume: bool, trust: bool
) -> tuple[apd.Run, mad.Detector]:
    """Trains, fits the detector, and says how it went.

    Raises:
        typer.Exit: with status 130, where a person interrupted it.
        apd.ApdError, mad.MadError, toys.ToyError, CliError: see `gather`, `decompose` and `fit`.
    """
    from cli.console import alerts, say, screen
    from cli.outcome import summarise
    from cli.targets import gather
    from cli.training import decomposed, fitted

    console = screen()
    try:
        if plan.target is None and not resume:
            say(
                console,
                "No target given: using the embedded example, a digit classifier "
                "with a planted backdoor.",
            )
        material = gather(plan, trust=trust)
        if plan.target is None and not resume and material.toy is not None:
            from cli.example import leave_inputs

            leave_inputs(material.toy)
        decomposition = decomposed(plan, material, run)
        detector = fitted(decomposition, material, run)
    except Interrupted:
        say(alerts(), f"apd: interrupted; {how_to_go_on(run, trust=trust)}.")
        raise typer.Exit(INTERRUPTED) from None
    summarise(decomposition, detector, run, time.monotonic() - began)
    score = runs.command("score", to_score(plan, material), *runs.named(run))
    say(console, f"Next: {score}", "bold")
    return decomposition, detector


def to_score(plan: Plan, material: Material) -> str:
    """What a person may score next."""
    if plan.target is None:
        return "inputs.npz"
    return os.path.relpath(Path(plan.target) / "inputs.npz") if material.toy else "INPUTS.npz"


def how_to_go_on(run: Path, *, trust: bool) -> str:
    """What a person can do about an interrupted run."""
    if (run / RECORD).is_file():
        return f"go on with `{runs.to_resume(run)}{' --trust' if trust else ''}`"
    return "nothing was begun, so there is nothing to resume"
