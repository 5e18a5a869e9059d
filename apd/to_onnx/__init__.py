"""A decomposed network as an ONNX graph: outputs, attributions, and outputs of some components.

    w = Writer(np.dtype("float32"))
    network = Network(w, run, "x")               # .outputs, .attributions(seed), ...: names in w
    w.model(inputs, outputs, metadata)

Read on in `network` (the passes), `parts` (components), `rules` (what can be exported), `steps`.
"""

from apd.to_onnx.network import Network
from apd.to_onnx.rules import RULES
from apd.to_onnx.writer import Writer

__all__ = ["RULES", "Network", "Writer"]
