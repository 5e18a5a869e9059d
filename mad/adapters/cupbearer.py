"""The detector as cupbearer has them: `train`, then scores of a batch, all in one or by layer.

It is no subclass, so cupbearer need not be installed; nor does it have cupbearer's `eval` and
`save_weights`, for which there are `mad.metrics` and the fitted detector's `save`. What cupbearer
calls layers are the terms of the score here (`mad.scores`); they add up to it, where cupbearer
would take their mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mad.adapters.fitted import Fitted, as_tensor
from mad.checks import as_array
from mad.scores import TOTAL


class MechanisticDetector(Fitted):
    """Anomalies by how untypical the way is in which a network treats them.

    `Fitted` says what it holds.
    """

    def set_model(self, model: object) -> None:
        """Nothing: the network is the decomposed one."""

    def train(self, task: Any = None, *, trusted_data: Any = None, **others: object) -> None:
        """Profile and calibrate on trusted inputs, all in memory.

        Args:
            task: a task, whose `trusted_data` is meant, or such a dataset itself: inputs, or tuples
                that begin with one.
            trusted_data: the dataset, where there is no task.
            others: what else cupbearer gives, such as untrusted data and where to save; it plays no
                part.

        Raises:
            ReferenceError: too few rows are left, or some are not finite.
            InputError: they do not have the decomposition's shape, or a setting is none.
        """
        given = trusted_data if task is None else getattr(task, "trusted_data", task)
        rows: Iterable[Any] = () if given is None else given
        self.fit_parts(as_array(torch.as_tensor(input_of(row)))[None] for row in rows)

    def compute_scores(self, inputs: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n"]:
        """The bits of every input: high = anomalous; NaN where the input is not finite.

        Raises:
            ReferenceError: nothing has been fitted yet.
            InputError: the inputs do not have the shape of the reference's.
        """
        return as_tensor(self.scored(inputs).bits, beside=inputs)

    def compute_layerwise_scores(
        self, inputs: Shaped[Tensor, "n ..."]
    ) -> dict[str, Float[Tensor, "n"]]:
        """The bits of every term that counts, which add up to `compute_scores`.

        Raises:
            ReferenceError: nothing has been fitted yet.
            InputError: the inputs do not have the shape of the reference's.
        """
        terms = self.scored(inputs).terms
        return {name: as_tensor(terms[name], beside=inputs) for name in TOTAL}


def input_of(row: Any) -> Any:
    """An input of a dataset whose rows may be tuples with a label."""
    return row[0] if isinstance(row, tuple | list) else row
