"""The operators that can be exported, in tables; a new one is two functions and a row."""

from collections.abc import Mapping

from apd.to_onnx.rules.affine import AFFINE
from apd.to_onnx.rules.convolution import CONVOLUTION
from apd.to_onnx.rules.elementwise import ELEMENTWISE
from apd.to_onnx.rules.pooling import POOLING
from apd.to_onnx.rules.rule import LAYOUT, Rule
from apd.to_onnx.rules.softmax import SOFTMAX

RULES: Mapping[str, Rule] = {**AFFINE, **CONVOLUTION, **ELEMENTWISE, **POOLING, **SOFTMAX, **LAYOUT}

__all__ = ["RULES", "Rule"]
