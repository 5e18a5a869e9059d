"""What came of training, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apd
    import mad

MUCH = 0.2


def told(
    decomposition: apd.Run, detector: mad.Detector, run: Path, seconds: float
) -> dict[str, object]:
    """What came of it, for programs."""
    return {
        "run": str(run),
        "sites": list(decomposition.sites),
        "components": decomposition.components.count,
        "active": decomposition.active,
        "steps": len(decomposition.steps),
        "residual": residual_of(decomposition),
        "sparse_error": detector.usual.sparse_error,
        "calibrated": len(detector.calibrated),
        "smallest_p_value": detector.finest_alpha,
        "seconds": round(seconds, 1),
    }


def losses_of(step: apd.Step) -> str:
    """A step's losses in words."""
    return (
        f"faithfulness {step.faithfulness:.2g}, minimality {step.minimality:.2g}, "
        f"simplicity {step.simplicity:.2g}"
    )


def residual_of(decomposition: apd.Run) -> float:
    """What no component owns, as a share of the weights' norm."""
    import apd

    return float(apd.recovery.faithfulness(decomposition.target, decomposition.components).overall)


def sparse_error_of(detector: mad.Detector) -> str:
    """What the active components leave out of the profiled inputs' outputs, in words."""
    return f"{detector.usual.sparse_error:.2g} of the outputs' variance"


def summarise(decomposition: apd.Run, detector: mad.Detector, run: Path, seconds: float) -> None:
    """Prints what came of it."""
    from cli.console import duration, facts, say, screen

    console = screen()
    say(console, f"Wrote the run to {run}.")
    facts(
        console,
        {
            "sites": ", ".join(
                f"{site.name} {site.shape[0]}x{site.shape[1]}"
                for site in decomposition.target.sites.values()
            ),
            "components": f"{decomposition.components.count}, "
            f"{decomposition.active:.3g} active per input",
            "residual": f"{residual_of(decomposition):.2%} of the weights' norm",
            "sparse error": sparse_error_of(detector),
            "detector": f"calibrated on {len(detector.calibrated)} inputs, "
            f"smallest p-value {detector.finest_alpha:.3g}",
            "time": duration(seconds),
        },
    )
    if decomposition.config.loss == "mse" and detector.usual.sparse_error > MUCH:
        say(
            console,
            "The active components leave out much of what the network does, so those named may be "
            "a small part of the reason. More --steps or --components leave out less.",
            "yellow",
        )
