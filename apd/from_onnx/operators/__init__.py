"""The operators that can be imported, one small function each, in a table.

A function takes ONNX's inputs by position and ONNX's attributes by name, with ONNX's defaults. What
its annotations say of an input decides how a constant reaches it: as an array, as a number where it
is a single one, else as a tensor that the module holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apd.from_onnx.operators.activations import ACTIVATIONS
from apd.from_onnx.operators.arithmetic import ARITHMETIC
from apd.from_onnx.operators.known import KNOWN
from apd.from_onnx.operators.layout import LAYOUT
from apd.from_onnx.operators.normalisation import NORMALISATION
from apd.from_onnx.operators.products import PRODUCTS
from apd.from_onnx.operators.reductions import REDUCTIONS
from apd.from_onnx.operators.windows import WINDOWS

OPERATORS: dict[str, Callable[..., Any]] = {
    **PRODUCTS,
    **WINDOWS,
    **NORMALISATION,
    **ACTIVATIONS,
    **ARITHMETIC,
    **REDUCTIONS,
    **LAYOUT,
}

# which inputs are parameters, where they are constants
PARAMETERS = {"Gemm": (1, 2), "Conv": (1, 2), "Gather": (0,)}

__all__ = ["KNOWN", "OPERATORS", "PARAMETERS"]
