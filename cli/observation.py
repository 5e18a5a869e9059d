"""What baselines see of a target: its outputs, what its weights are applied to, and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    import apd
    from apd.sites import Use
    from mad.baselines import Observed


def observed(run: apd.Run, x: NDArray[np.generic]) -> Observed:
    """How a run's target treats inputs, the effects being on the output it predicts.

    The hidden layers are what decomposed weights are applied to, but for the inputs themselves,
    which stand in where there are no others. Integers have no gradient, so theirs is zero.

    Args:
        run: the run.
        x: finite inputs [n, ...], as the target takes them.
    """
    import numpy as np

    from mad.baselines import Observed

    parts = [
        of_block(run, x[start : start + run.rows_at_once])
        for start in range(0, len(x), run.rows_at_once)
    ]

    def together(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], tuple):
            return tuple(map(np.concatenate, zip(*values, strict=True)))
        return np.concatenate(values)

    return Observed(**{field.name: together(field.name) for field in fields(Observed)})


def of_block(run: apd.Run, block: NDArray[np.generic]) -> Observed:
    """The same of as many inputs as go through the target at a time."""
    import torch

    from apd.explanation import as_array
    from mad.baselines import Observed

    x = run.target.prepare(block).clone()
    x.requires_grad_(x.is_floating_point())
    with torch.enable_grad():
        outputs, layers = forward(run, x)
        prediction = outputs.argmax(1)
        chosen = outputs.gather(1, prediction[:, None]).sum()
    at = layers or [x]
    gradients = torch.autograd.grad(
        chosen, [t for t in (x, *layers) if t.requires_grad], materialize_grads=True
    )
    into = gradients[0] if x.requires_grad else torch.zeros_like(x, dtype=run.target.dtype)
    slopes = gradients[x.requires_grad :] or [into]
    return Observed(
        inputs=as_array(x.flatten(1)),
        outputs=as_array(outputs),
        prediction=as_array(prediction).astype(int),
        activations=tuple(as_array(h.flatten(1)) for h in at),
        input_gradient=as_array(into.flatten(1)),
        neuron_effects=tuple(as_array((h * g).flatten(1)) for h, g in zip(at, slopes, strict=True)),
    )


def forward(run: apd.Run, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The outputs, and every hidden tensor that a decomposed weight is applied to, once each.

    What the first of them is applied to is the input, whatever else reads it.
    """
    from torch import Tensor

    made: list[Tensor] = []
    inputs: set[int] = set()
    seen: dict[int, Tensor] = {}

    def watch(use: Use) -> Callable[..., Tensor]:
        def call(operator: Callable[..., Tensor], *args: Any) -> Tensor:
            seen.update({id(a): a for a in args if isinstance(a, Tensor) and a.requires_grad})
            if not made:
                inputs.update(seen)
            y = operator(*args)
            made.append(y if y.requires_grad else y.requires_grad_())
            return made[-1]

        return call

    outputs = run.target.run(x, {use.node: watch(use) for use in run.target.uses})
    return outputs, [tensor for place, tensor in seen.items() if place not in inputs]
