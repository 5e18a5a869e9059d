"""The terms of the account, one file each; a new score is one file and one row here."""

from mad.scores.attribution_bits import AttributionBits
from mad.scores.description_length import DescriptionLength
from mad.scores.input_bits import InputBits
from mad.scores.mask_bits import MaskBits
from mad.scores.output_bits import OutputBits
from mad.scores.residual_bits import ResidualBits
from mad.scores.score import Bits, Score

SCORES: dict[str, type[Score]] = {
    "mask_bits": MaskBits,
    "attribution_bits": AttributionBits,
    "input_bits": InputBits,
    "output_bits": OutputBits,
    "residual_bits": ResidualBits,
    "description_length": DescriptionLength,
}

TOTAL = ("mask_bits", "attribution_bits", "input_bits", "output_bits", "residual_bits")

__all__ = [
    "SCORES",
    "TOTAL",
    "AttributionBits",
    "Bits",
    "DescriptionLength",
    "InputBits",
    "MaskBits",
    "OutputBits",
    "ResidualBits",
    "Score",
]
