"""How strongly inputs use components, and how few of these explain the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
ROUNDING = 1e-4
FEW = 0.5
MORE = 1.5
HALVINGS = 8


@dataclass(frozen=True, eq=False)
class Usage:
    """What some inputs use of a network's components.

    Attributes:
        target: the network.
        components: of it.
        x: the inputs [n, ...].
        config: the settings.
    """

    target: Target
    components: Components
    x: Shaped[Tensor, "n *shape"]
    config: Config

    @cached_property
    def strengths(self) -> Float[Tensor, "n C"]:
        """A_c(x) of the components on the inputs."""
        return strengths(self.target, self.components, self.x)

    @cached_property
    def without(self) -> float:
        """The loss of the outputs without any of the decomposed weights."""
        return float(missing(self.target, sample(self.target, self.x), self.config))

    def strongest(self, active: float) -> Bool[Tensor, "n C"]:
        """The strongest, so many per input on average."""
        return strongest(self.strengths, active)

    def loss(self, active: float) -> float:
        """The loss of the outputs on the strongest, so many per input on average."""
        at_once = rows_at_once(self.target, self.components.numbers_read)
        loss = 0.0
        used = self.strongest(active)
        for rows, on in zip(self.x.split(at_once), used.split(at_once), strict=True):
            pairs = Pairs.dense(on, self.target.dtype)
            outputs = masked_outputs(self.target, self.components, rows, pairs)
            loss += len(rows) * float(OUTPUT_LOSSES[self.config.loss](self.target(rows), outputs))
        return loss / len(self.x)

    def needed(self, most: float, allowed: float) -> Bool[Tensor, "n C"]:
        """Which components inputs need to explain the outputs: the fewest, the strongest.

        Or, where those components have an effect on few inputs, and on no more than twice as many
        as need them, all that have: that a component has none tells more than how much may be left
        of the outputs. Less than `EFFECT` times the greatest of a component is none, nor is less
        than `ROUNDING` times the greatest of all.

        Args:
            most: how many there may be: the answer where fewer do not explain as much.
            allowed: what may be left of the loss of the outputs.
        """
        used = self.strongest(self.fewest(most, allowed))
        greatest = self.strengths.amax(0)
        rounding = ROUNDING * max(greatest.tolist(), default=0.0)
        having = self.strengths > (EFFECT * greatest).clamp_min(rounding)
        of_use = having[:, used.any(0)]
        clear = of_use.sum() < FEW * of_use.numel() and of_use.sum() <= 2 * used.sum()
        return having if clear else used

    def fewest(self, most: float, allowed: float) -> float:
        """How many components an input needs on average, as `needed` has it.

        Training ends with enough for nearly every batch, and batches differ in how many they ask
        for.
        """
        low, high = 0.0, min(most, self.affecting)
        for _ in range(HALVINGS):
            between = (low + high) / 2
            if self.loss(between) <= allowed:
                high = between
            else:
                low = between
        return high

    def enough(self, least: float) -> float:
        """How many components an input uses: so many, or more while these leave much unexplained.

        Much is more than `Config.separation`. Weights that explain enough one by one may leave more
        together, where a threshold magnifies what each leaves.
        """
        allowed = self.config.separation * self.without
        active = least
        while active < self.affecting:
            if self.loss(active) <= allowed:
                break
            active = min(self.affecting, max(MORE * active, 1 / len(self.x)))
        return active

    @cached_property
    def affecting(self) -> float:
        """How many components have an effect on an input, on average."""
        return per_input(self.strengths > 0)


def per_input(used: Bool[Tensor, "n C"]) -> float:
    """How many an input uses on average."""
    return float(used.sum(1).float().mean())
