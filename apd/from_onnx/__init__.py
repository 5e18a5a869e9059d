"""ONNX files as ordinary networks, out of a stated list of operators.

    module = load_onnx(Path("model.onnx"))       # a torch.nn.Module that can be decomposed
    verify(module, Path("model.onnx"), rows)     # computes what onnxruntime computes

Read on in `load` (the whole way round), `module` (how a file is run), `operators` (the list).
"""

from apd.from_onnx.load import load_onnx
from apd.from_onnx.module import Imported
from apd.from_onnx.operators import OPERATORS
from apd.from_onnx.verification import verify

__all__ = ["OPERATORS", "Imported", "load_onnx", "verify"]
