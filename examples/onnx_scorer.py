"""Scores inputs with a file written by `apd export`, with numpy and onnxruntime and nothing else.

apd train && apd export --out scorer.onnx
python examples/onnx_scorer.py scorer.onnx inputs.npz
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime

ROWS_AT_ONCE = 1024
SHOWN = 10
NAMED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scorer", type=Path, help="a file written by `apd export`")
    parser.add_argument("inputs", type=Path, help="an .npz file with an array x, one row per input")
    parser.add_argument("--alpha", type=float, help="share of false alarms [default: the file's]")
    arguments = parser.parse_args()

    session = onnxruntime.InferenceSession(arguments.scorer)
    says = session.get_modelmeta().custom_metadata_map
    alpha = json.loads(says["alpha"]) if arguments.alpha is None else arguments.alpha
    takes = json.loads(says["input"])
    with np.load(arguments.inputs) as file:
        x = file["x"].astype(takes["type"])
    given, taken = x.shape[1:], tuple(takes["shape"][1:])
    if given != taken:
        raise SystemExit(f"{arguments.inputs} has inputs of shape {given}; {taken} is needed.")
    scores = score(session, x)

    flagged = np.flatnonzero(scores["p_value"] <= alpha)
    print(f"{len(flagged)} of {len(x)} inputs are flagged at alpha {alpha:g}")
    lost = int(np.isnan(scores["p_value"]).sum())
    if lost:
        print(f"{lost} could not be scored: NaN, infinity, or the network out of range")
    print(f"the smallest p-value there can be is {json.loads(says['finest_alpha']):.2g}\n")
    print("input    bits  p_value  predicts  components (bits)")
    for row in np.argsort(-np.nan_to_num(scores["bits"]))[:SHOWN]:
        bits, p, predicted = (scores[name][row] for name in ("bits", "p_value", "prediction"))
        print(f"{row:5}  {bits:6.1f}  {p:7.4f}  {predicted:8}  {components(scores, row)}")


def score(session: onnxruntime.InferenceSession, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every output of the file, by name, for any number of inputs."""
    names = [output.name for output in session.get_outputs()]
    parts = [
        session.run(names, {"x": x[start : start + ROWS_AT_ONCE]})
        for start in range(0, len(x), ROWS_AT_ONCE)
    ]
    return {name: np.concatenate([part[k] for part in parts]) for k, name in enumerate(names)}


def components(scores: dict[str, np.ndarray], row: int) -> str:
    """The components that answer for most of an input's bits."""
    bits = scores["component_bits"][row]
    return ", ".join(f"{c} ({bits[c]:.1f})" for c in np.argsort(-bits)[:NAMED])


if __name__ == "__main__":
    main()
