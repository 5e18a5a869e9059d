"""The tree code of sets: which of C things are on, given a group, and given one another.

Chow and Liu 1968 (IEEE Transactions on Information Theory 14): of all distributions in which every
thing depends on one other, the most likely one is the tree that carries the most information; with
a group that everything depends on too, Friedman, Geiger and Goldszmidt 1997 (Machine Learning 29).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from mad.codes.spread import folds

PRIOR_ROWS = (0.5, 2.0, 8.0, 32.0)
LEAST = 2.0**-52


@dataclass(frozen=True, eq=False)
class TreeCode:
    """How often each thing is on, given the group and one other thing, its parent.

    A rate of n rows borrows from the rate in the whole group as from further rows, that one from
    the overall rate, (n_c + 1/2) / (N + 1) (Krichevsky and Trofimov 1981). Of `PRIOR_ROWS` it is
    the number of further rows under which sets that the code was not fitted on are the shortest.
    No rate is nearer to 0 or 1 than `LEAST`, as borrowing thrice of 10^5 rows and more would be.

    Attributes:
        parent: what each thing depends on; the root on itself.
        kind: which of the rates every group has; 0 is for groups that no row was of.
        given_on: rates where the parent is on.
        given_off: rates where it is off; the root's are both its own.
    """

    parent: Int[np.ndarray, "C"]
    kind: Int[np.ndarray, "K"]
    given_on: Float[np.ndarray, "G C"]
    given_off: Float[np.ndarray, "G C"]

    @classmethod
    def fit(cls, on: Bool[np.ndarray, "n C"], group: Int[np.ndarray, "n"], groups: int) -> TreeCode:
        """Fit the code to reference sets, what rates borrow to held-out ones.

        Args:
            on: the sets, a row each.
            group: the group of each.
            groups: how many there are.
        """

        def held_out(prior: float) -> float:
            total = 0.0
            for rows, others in folds(len(on)):
                code = cls._of(on[rows], group[rows], groups, prior)
                total += code.lengths(on[others], group[others]).sum()
            return total

        return cls._of(on, group, groups, min(PRIOR_ROWS, key=held_out))

    @classmethod
    def _of(
        cls, on: Bool[np.ndarray, "n C"], group: Int[np.ndarray, "n"], groups: int, prior: float
    ) -> TreeCode:
        """The code whose rates borrow from that many rows."""
        seen = np.unique(group)
        kind = np.zeros(groups, dtype=np.int64)
        kind[seen] = 1 + np.arange(len(seen))
        sets = on.astype(np.float64)
        member = np.eye(1 + len(seen))[kind[group]]
        overall = (sets.sum(0) + 0.5) / (len(sets) + 1)
        rate = borrowing(member.T @ sets, member.sum(0)[:, None], prior, overall)
        parent = widest_tree(information([sets[group == k] for k in seen], rate[1:], prior))
        above, below = sets[:, parent], 1 - sets[:, parent]
        given_on, given_off = (
            borrowing(member.T @ (sets * there), member.T @ there, prior, rate)
            for there in (above, below)
        )
        root = parent == np.arange(len(parent))
        told = (
            np.where(root, rate, given).clip(LEAST, 1 - LEAST) for given in (given_on, given_off)
        )
        return cls(parent, kind, *told)

    def counts(self, n: int) -> Int[np.ndarray, "C"]:
        """In how many of the n sets it was fitted on each thing is on.

        Of a group that no row was of, every rate is the overall one.
        """
        return np.rint((n + 1) * self.given_on[0] - 0.5).astype(np.int64)

    def lengths(
        self, on: Bool[np.ndarray, "n C"], group: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n C"]:
        """What it takes to say of each thing whether it is on, in bits: -log2 of its probability.

        Args:
            on: sets, a row each.
            group: the group of each.
        """
        kind = self.kind[group]
        rate = np.where(on[:, self.parent], self.given_on[kind], self.given_off[kind])
        return -np.log2(np.where(on, rate, 1 - rate))


def borrowing(
    count: Float[np.ndarray, "..."],
    rows: Float[np.ndarray, "..."] | int,
    prior: float,
    rate: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "..."]:
    """The rate of what was counted in some rows, and in `prior` further ones of another rate."""
    return (count + prior * rate) / (rows + prior)


def information(
    sets: Sequence[Float[np.ndarray, "_ C"]], rates: Float[np.ndarray, "G C"], prior: float
) -> Float[np.ndarray, "C C"]:
    """What any two things say of one another beyond what the group says, in bits over all rows.

    Args:
        sets: the sets of every group, as ones and zeros.
        rates: how often each thing is on there.
        prior: from how many rows a rate of both borrows, in which they are independent.
    """
    total = np.zeros((rates.shape[1], rates.shape[1]))
    for own, rate in zip(sets, rates, strict=True):
        n, sides = len(own), ((own, rate), (1 - own, 1 - rate))
        for (one, p), (other, q) in product(sides, sides):
            joint = borrowing(one.T @ other, n, prior, np.outer(p, q))
            apart = borrowing(one.sum(0), n, prior, p), borrowing(other.sum(0), n, prior, q)
            total += n * joint * np.log2(joint / np.outer(*apart))
    return total


def widest_tree(weights: Float[np.ndarray, "C C"]) -> Int[np.ndarray, "C"]:
    """The parents in the spanning tree of the largest total weight; the root is its own.

    Args:
        weights: at least zero, but for rounding, and symmetric; the diagonal plays no part.
    """
    lengths = np.maximum(weights.max() - weights, 0) + 1
    order, before = breadth_first_order(minimum_spanning_tree(lengths), 0, directed=False)
    parent = np.zeros(len(weights), dtype=np.int64)
    parent[order[1:]] = before[order[1:]]
    return parent
