"""The operators that can be imported, one small function each, in a table.

A function takes ONNX's inputs by position and ONNX's attributes by name, with ONNX's defaults. What
its annotations say of an input decides how a constant reaches it: as an array, as a number where it
is a single one, else as a tensor that the module holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apd.importer.operators.activations import ACTIVATIONS
from apd.importer.operators.arithmetic import ARITHMETIC
from apd.importer.operators.known import KNOWN
from apd.importer.operators.layout import LAYOUT
from apd.importer.operators.normalisation import NORMALISATION
from apd.importer.operators.products import PRODUCTS
from apd.importer.operators.reductions import REDUCTIONS
from apd.importer.operators.windows import WINDOWS

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
