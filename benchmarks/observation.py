"""What the baselines see of a classifier: activations, gradients, effects."""

from __future__ import annotations

import torch
from attacks import Pictures
from torch import nn
from victims import Victim

from mad.baselines import Observed


def observed(victim: Victim, images: Pictures) -> Observed:
    """How the victim treats pictures, the effects being on the logit it predicts."""
    x = victim.inputs(images).clone().requires_grad_()
    layers, y = [], x
    with torch.enable_grad():
        for layer in victim.model:
            y = layer(y)
            if isinstance(layer, nn.ReLU):
                layers.append(y)
        prediction = y.argmax(1)
        chosen = y.gather(1, prediction[:, None]).sum()
    gradient, *by_layer = torch.autograd.grad(chosen, [x, *layers])
    effects = [h.detach() * g for h, g in zip(layers, by_layer, strict=True)]
    return Observed(
        inputs=flat(x),
        outputs=y.detach().numpy(),
        prediction=prediction.numpy(),
        activations=tuple(map(flat, layers)),
        input_gradient=flat(gradient),
        neuron_effects=tuple(map(flat, effects)),
    )


def flat(values: torch.Tensor):
    return values.detach().flatten(1).numpy()
