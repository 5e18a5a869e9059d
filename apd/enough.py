"""How many components inputs need for the outputs to be explained."""

from __future__ import annotations

from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from apd.activity import strengths, strongest
from apd.batch_sizes import rows_at_once
from apd.components import Components
from apd.config import Config
from apd.masked import masked_outputs
from apd.pairs import Pairs
from apd.target import Target
from apd.training.losses import OUTPUT_LOSSES
from apd.training.scales import missing, sample

EFFECT = 0.01
FEW = 0.5
MORE = 1.5
HALVINGS = 8


def needed(
    target: Target,
    parts: Components,
    x: Shaped[Tensor, "n *shape"],
    found: Float[Tensor, "n P"],
    most: float,
    allowed: float,
    config: Config,
) -> Bool[Tensor, "n P"]:
    """Which parts of a weight inputs need to explain the outputs: the fewest, the strongest.

    Or, where those parts have an effect on few inputs, and on no more than twice as many as need
    them, all that have: that a part has none tells more than how much may be left of the outputs.
    Less than `EFFECT` times the greatest of a part is none.

    Args:
        target: the network, with this weight alone.
        parts: of it.
        x: inputs.
        found: the strengths of the parts on them.
        most: how many there may be: the answer where fewer do not explain as much.
        allowed: what may be left of the loss of the outputs.
        config: the settings.
    """
    used = strongest(found, fewest_of(target, parts, x, found, most, allowed, config))
    having = found > EFFECT * found.amax(0)
    of_use = having[:, used.any(0)]
    clear = of_use.sum() < FEW * of_use.numel() and of_use.sum() <= 2 * used.sum()
    return having if clear else used


def fewest_of(
    target: Target,
    parts: Components,
    x: Shaped[Tensor, "n *shape"],
    found: Float[Tensor, "n P"],
    most: float,
    allowed: float,
    config: Config,
) -> float:
    """How many parts an input needs on average, as `needed` has it.

    Training ends with enough for nearly every batch, and batches differ in how many they ask for.
    """
    low, high = 0.0, min(most, per_input(found > 0))
    for _ in range(HALVINGS):
        between = (low + high) / 2
        if loss_on(target, parts, x, strongest(found, between), config) <= allowed:
            high = between
        else:
            low = between
    return high


def enough_of(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    least: float,
    config: Config,
) -> float:
    """How many components an input uses: so many, or more while these leave much unexplained.

    Much is more than `Config.separation`. Weights that explain enough one by one may leave more
    together, where a threshold magnifies what each leaves.
    """
    found = strengths(target, components, x)
    allowed = config.separation * without(target, x, config)
    most = per_input(found > 0)
    active = least
    while active < most:
        if loss_on(target, components, x, strongest(found, active), config) <= allowed:
            break
        active = min(most, max(MORE * active, 1 / len(x)))
    return active


def per_input(used: Bool[Tensor, "n C"]) -> float:
    """How many an input uses on average."""
    return float(used.sum(1).float().mean())


def without(target: Target, x: Shaped[Tensor, "n *shape"], config: Config) -> float:
    """The loss of the outputs without any of the decomposed weights."""
    return float(missing(target, sample(target, x), config))


def loss_on(
    target: Target,
    components: Components,
    x: Shaped[Tensor, "n *shape"],
    active: Bool[Tensor, "n C"],
    config: Config,
) -> float:
    """The loss of the outputs on the active components."""
    at_once = rows_at_once(target, components.numbers_read)
    loss = 0.0
    for rows, on in zip(x.split(at_once), active.split(at_once), strict=True):
        outputs = masked_outputs(target, components, rows, Pairs.dense(on, target.dtype))
        loss += len(rows) * float(OUTPUT_LOSSES[config.loss](target(rows), outputs))
    return loss / len(x)
