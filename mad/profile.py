"""The profile: what is remembered of the reference, and the account it gives of new evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from mad.blocks import blocks
from mad.decomposition import Decomposition
from mad.evidence import Evidence, concatenate, gather, strength_threshold
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


@dataclass(frozen=True)
class Profile:
    """The fitted scores.

    Attributes:
        threshold: the strength from which a component counts as active.
        scores: every term, fitted.
    """

    threshold: Float[np.ndarray, ""]
    scores: dict[str, Score]

    @classmethod
    def fit(
        cls,
        decomposition: Decomposition,
        reference: Shaped[np.ndarray, "n *shape"],
        explain: str | int,
    ) -> Profile:
        """Learn how a reference uses the components.

        Args:
            decomposition: the decomposed network.
            reference: trusted inputs the components were not trained on.
            explain: which output the attributions are about.
        """
        strengths = [
            decomposition.explain(block, explain)[2][: part.stop - part.start]
            for part, block in blocks(reference)
        ]
        threshold = strength_threshold(np.concatenate(strengths), decomposition.active)
        evidence = concatenate(
            [
                gather(decomposition, block, explain, threshold).rows(slice(part.stop - part.start))
                for part, block in blocks(reference)
            ]
        )
        ranks = decomposition.ranks
        return cls(
            np.asarray(threshold),
            {name: score.fit(evidence, ranks) for name, score in SCORES.items()},
        )

    def account(
        self,
        decomposition: Decomposition,
        x: Shaped[np.ndarray, "n *shape"],
        explain: str | int,
        progress: Callable[[int], object] | None = None,
    ) -> Account:
        """Score inputs, block by block.

        Args:
            decomposition: the decomposed network.
            x: inputs; what is not finite in them counts as zero.
            explain: which output the attributions are about, as fitted.
            progress: called with the number of rows done so far.
        """
        accounts: list[Account] = []
        for part, block in blocks(x):
            sound = np.where(np.isfinite(block), block, np.zeros((), block.dtype))
            evidence = gather(decomposition, sound, explain, float(self.threshold))
            accounts.append(self.account_of(evidence.rows(slice(part.stop - part.start))))
            if progress is not None:
                progress(part.stop)
        return Account(
            terms={n: np.concatenate([a.terms[n] for a in accounts]) for n in self.scores},
            total=np.concatenate([a.total for a in accounts]),
            prediction=np.concatenate([a.prediction for a in accounts]),
            components=np.concatenate([a.components for a in accounts]),
            component_bits=np.concatenate([a.component_bits for a in accounts]),
        )

    def account_of(self, evidence: Evidence) -> Account:
        """Score the evidence of a block of inputs."""
        terms = {name: score.bits(evidence) for name, score in self.scores.items()}
        by_component = sum(
            (self.scores[name].component_bits(evidence) for name in TOTAL),
            start=np.zeros(evidence.active.shape),
        )
        order = np.argsort(-by_component, axis=1, kind="stable")[:, :TOP].copy()
        return Account(
            terms=terms,
            total=np.sum([terms[name] for name in TOTAL], axis=0),
            prediction=evidence.prediction,
            components=order,
            component_bits=np.take_along_axis(by_component, order, axis=1),
        )
