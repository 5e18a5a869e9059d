"""The profile: what is remembered of the reference, and the account it gives of new evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from mad.blocks import blocks
from mad.checks import check_in_range
from mad.decomposition import Decomposition
from mad.evidence import Evidence, gather, gather_all, strength_threshold
from mad.scores import SCORES, TOTAL, Score

TOP = 5


class Account(NamedTuple):
    """The scores of n inputs.

    Attributes:
        terms: every term's bits.
        total: the sum of the terms in `TOTAL`.
        prediction: the index of the largest output.
        components: the components that answer for most bits, in falling order.
        component_bits: the bits they answer for.
    """

    terms: dict[str, Float[np.ndarray, "n"]]
    total: Float[np.ndarray, "n"]
    prediction: Int[np.ndarray, "n"]
    components: Int[np.ndarray, "n top"]
    component_bits: Float[np.ndarray, "n top"]


@dataclass(frozen=True, eq=False)
class Profile:
    """The fitted scores.

    Attributes:
        threshold: the strength from which a component counts as active.
        trusted: which components are trusted: those that some input of the reference uses.
        scores: every term, fitted.
    """

    threshold: Float[np.ndarray, ""]
    trusted: Bool[np.ndarray, "C"]
    scores: dict[str, Score]

    @classmethod
    def fit(
        cls,
        decomposition: Decomposition,
        reference: Shaped[np.ndarray, "n *shape"],
        explain: str | int,
    ) -> Profile:
        """Learn how a reference uses the components.

        All of the reference's evidence is in memory at once.

        Args:
            decomposition: the decomposed network.
            reference: trusted inputs the components were not trained on.
            explain: which output the attributions are about.

        Raises:
            ReferenceError: some inputs take the network out of the range of its numbers.
        """
        strengths = np.concatenate(
            [
                decomposition.explain(x, explain)[2][:own]
                for own, x in blocks([reference], decomposition.rows_at_once)
            ]
        )
        threshold = strength_threshold(strengths, decomposition.active)
        trusted = np.asarray((strengths >= threshold).any(0))
        evidence = gather_all(decomposition, reference, explain, threshold, trusted)
        check_in_range(evidence.finite)
        ranks = decomposition.ranks
        return cls(
            np.asarray(threshold),
            trusted,
            {name: score.fit(evidence, ranks) for name, score in SCORES.items()},
        )

    def account(
        self, decomposition: Decomposition, x: Shaped[np.ndarray, "n *shape"], explain: str | int
    ) -> Account:
        """Score a block of inputs.

        Args:
            decomposition: the decomposed network.
            x: finite inputs.
            explain: which output the attributions are about, as fitted.
        """
        threshold = float(self.threshold)
        return self.account_of(gather(decomposition, x, explain, threshold, self.trusted))

    def account_of(self, evidence: Evidence) -> Account:
        """Score the evidence of a block of inputs."""
        bits = {name: score.bits(evidence) for name, score in self.scores.items()}
        by_component = np.zeros(evidence.active.shape)
        for name in TOTAL:
            of_term = bits[name].by_component
            if of_term is not None:
                by_component += of_term
        components, component_bits = largest(by_component, TOP)
        return Account(
            terms={name: term.total for name, term in bits.items()},
            total=np.sum([bits[name].total for name in TOTAL], axis=0),
            prediction=evidence.prediction,
            components=components,
            component_bits=component_bits,
        )


def largest(
    x: Float[np.ndarray, "n C"], most: int
) -> tuple[Int[np.ndarray, "n top"], Float[np.ndarray, "n top"]]:
    """Where each row's largest values are, falling, the first of equal ones first; and the values.

    Args:
        x: finite values.
        most: how many to find, where there are as many.
    """
    left = x.copy()
    flat, starts = left.reshape(-1), x.shape[1] * np.arange(len(x))
    found = np.empty((min(most, x.shape[1]), len(x)), dtype=np.int64)
    values = np.empty(found.shape)
    for k in range(len(found)):
        found[k] = left.argmax(1)
        values[k] = flat[starts + found[k]]
        flat[starts + found[k]] = -np.inf
    return found.T.copy(), values.T.copy()
