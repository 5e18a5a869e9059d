"""The operators that can be exported, in tables; a new one is two functions and a row."""

from collections.abc import Mapping

from apd.exporter.rules.affine import AFFINE
from apd.exporter.rules.convolution import CONVOLUTION
from apd.exporter.rules.elementwise import ELEMENTWISE
from apd.exporter.rules.pooling import POOLING
from apd.exporter.rules.rule import LAYOUT, Rule
from apd.exporter.rules.softmax import SOFTMAX

RULES: Mapping[str, Rule] = {**AFFINE, **CONVOLUTION, **ELEMENTWISE, **POOLING, **SOFTMAX, **LAYOUT}

__all__ = ["RULES", "Rule"]
