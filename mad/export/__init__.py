"""A fitted detector as calls of ONNX, written into a graph that has its network in it.

    x, finite = cleaned(graph, "x", dtype, axes)             # what is not finite is not scored
    outputs = scorer(graph, network, detector, finite)       # bits, p_value, every term, ...

mad makes no files and needs no onnx: `graph` and `network` are whatever fits the protocols in
`mad.export.graph`. Read on in `scorer`, `terms`, `p_values`.
"""

from mad.export.graph import Graph, Network, Output
from mad.export.scorer import cleaned, scorer

__all__ = ["Graph", "Network", "Output", "cleaned", "scorer"]
