"""Tables of scores, and reports of them with nothing else at hand."""

import numpy as np

import mad
from mad.reports import Flagging, Gathered, Report, report_of

ALPHA = 0.1


def table_of(result: mad.Result) -> dict[str, np.ndarray]:
    """The columns of a scores file, spelled out."""
    columns = {
        "index": np.arange(len(result.bits)),
        "score_bits": result.bits,
        "p_value": result.p_value,
        "flagged": result.p_value <= ALPHA,
        "prediction": result.prediction,
        **result.terms,
        "status": np.where(result.finite, "ok", "non-finite"),
    }
    for k in range(result.components.shape[1]):
        columns[f"component_{k + 1}"] = result.components[:, k]
        columns[f"component_{k + 1}_bits"] = result.component_bits[:, k]
    return columns


def report(gathered: Gathered, alpha: float | None = ALPHA, fdr: float | None = None) -> Report:
    return report_of(
        gathered,
        Flagging(alpha=alpha, fdr=fdr),
        detector=None,
        x={},
        directing=lambda _: None,
        provenance={"scores": "s.csv"},
        left_out=["Much."],
    )
