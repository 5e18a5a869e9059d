"""What `apd score` says of all inputs in the end, gathered while their scores pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import mad
    from mad.drift import Tally

SHOWN = 5


def too_fine(alpha: float, finest: float) -> str | None:
    """That nothing can be flagged at an alpha, in words, where that is so."""
    if alpha >= finest:
        return None
    return (
        f"nothing can be flagged at alpha {alpha:g}, because the smallest p-value "
        f"this calibration allows is {finest:.3g}; "
        f"it takes {ceil(1 / alpha) - 1:,} calibration inputs"
    )


def say_too_fine(alpha: float, finest: float) -> None:
    """Warns of an alpha that flags nothing."""
    from cli.console import alerts, say

    said = too_fine(alpha, finest)
    if said is not None:
        say(alerts(), f"apd: warning: {said}.", "yellow")


@dataclass
class Summary:
    """What is said of all inputs in the end, kept while they pass.

    Attributes:
        alpha: the p-value up to which a row is flagged: the false-alarm budget.
        seen: how many rows have passed.
        flagged: how many of them are flagged.
        unscored: how many could not be scored.
        first_unscored: the first of those.
        unreachable: how many could not be flagged, whatever they are.
        worst: the most surprising of the flagged ones, in falling order.
        trusted_share: the share of trusted inputs that is flagged at most.
        tally: what drift needs to know of them; None before the first.
    """

    alpha: float
    seen: int = 0
    flagged: int = 0
    unscored: int = 0
    first_unscored: list[int] = field(default_factory=list[int])
    unreachable: int = 0
    worst: list[mad.Explanation] = field(default_factory=list["mad.Explanation"])
    trusted_share: float = 0.0
    tally: Tally | None = None

    @property
    def scored(self) -> int:
        """How many rows were scored."""
        return self.seen - self.unscored

    @property
    def within_reach(self) -> float:
        """The largest p-value that is ever flagged."""
        return self.alpha

    def settled(self, parts: Iterable[mad.Result]) -> Iterable[mad.Result]:
        """The results, from when it is settled which are flagged: as they come."""
        return parts

    def note(self, part: mad.Result) -> None:
        """Take in the results of the next rows."""
        from mad.reports.gathered import NAMED_ROWS

        flagged = (part.p_value <= self.alpha).nonzero()[0]
        unscored = (~part.finite).nonzero()[0]
        room = NAMED_ROWS - len(self.first_unscored)
        self.first_unscored += [self.seen + int(row) for row in unscored[:room]]
        top = flagged[(-part.bits[flagged]).argsort(kind="stable")[:SHOWN]]
        self.worst += [self.explanation(part, int(row)) for row in top]
        self.worst = sorted(self.worst, key=lambda found: -found.bits)[:SHOWN]
        finest = part.calibration.finest(part.prediction[part.finite])
        self.unreachable += int((finest > self.within_reach).sum())
        self.trusted_share = part.calibration.flagged_at_most(self.alpha)
        self.tally = part.tally() if self.tally is None else self.tally + part.tally()
        self.seen += len(part.bits)
        self.flagged += len(flagged)
        self.unscored += len(unscored)

    def budget(self) -> str:
        """What the flags promise, in words."""
        return (
            f"at alpha {self.alpha:g}; "
            f"of as many trusted inputs, at most {self.trusted_share * self.scored:.2g} on average"
        )

    def limit(self, finest: float) -> str | None:
        """What could not be flagged for want of calibration inputs, in words.

        Args:
            finest: the smallest p-value there can be.
        """
        if not self.unreachable:
            return None
        return too_fine(self.alpha, finest) or (
            f"{self.unreachable} of {self.scored} inputs cannot be flagged at alpha "
            f"{self.alpha:g}, because their classes have too few calibration inputs"
        )

    def told(self) -> dict[str, Any]:
        """All of it, for programs."""
        found = self.tally.drift() if self.tally is not None and self.scored else None
        return {
            "alpha": self.alpha,
            "scored": self.scored,
            "not_scored": self.unscored,
            "flagged": self.flagged,
            "unreachable": self.unreachable,
            "drift_p_value": None if found is None else found.p_value,
            "drift_direction": None if found is None else found.direction,
            "prediction_drift_p_value": None if found is None else found.share_p_value,
            "most_surprising": [
                {"index": one.index, "bits": one.bits, "p_value": one.p_value} for one in self.worst
            ],
        }

    def explanation(self, part: mad.Result, row: int) -> mad.Explanation:
        """The account of a row of the next rows, with its number among all."""
        return replace(part.explain(row), index=self.seen + row)


@dataclass
class Discoveries(Summary):
    """The same of a batch whose flags are Benjamini and Hochberg's discoveries.

    Attributes:
        fdr: the share of false ones among them that is allowed.
    """

    fdr: float = 0.1

    @property
    def within_reach(self) -> float:
        """The rate, which alpha comes to where all of a batch are discovered."""
        return self.fdr

    def settled(self, parts: Iterable[mad.Result]) -> Iterable[mad.Result]:
        """The results, once all are there: their p-values together settle alpha."""
        import numpy as np

        from mad.calibration import discovery_alpha

        held = list(parts)
        self.alpha = discovery_alpha(np.concatenate([part.p_value for part in held]), self.fdr)
        return held

    def budget(self) -> str:
        """What the flags promise, in words."""
        return f"at a false discovery rate of {self.fdr:g}, by their p-values together"

    def limit(self, finest: float) -> str | None:
        """How many have to be flagged together or not at all, where none is and that is many.

        Args:
            finest: the smallest p-value there can be.
        """
        from mad.calibration import fewest_discoveries

        fewest = fewest_discoveries(self.scored, finest, self.fdr)
        if self.flagged or fewest <= 1:
            return None
        return (
            f"of {self.scored} inputs, fewer than {fewest} cannot be flagged at a false discovery "
            f"rate of {self.fdr:g}, because the smallest p-value this calibration allows is "
            f"{finest:.3g}"
        )
