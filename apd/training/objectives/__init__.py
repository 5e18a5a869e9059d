"""How training asks for few components: the setting `Config.objective`, a class each.

All but `Lp` choose components by their strengths, and run every input on the chosen ones alone.
"""

from apd.training.objectives.batch_topk import BatchTopK
from apd.training.objectives.exact_k import ExactK
from apd.training.objectives.lp import Lp
from apd.training.objectives.objective import Objective, Selection
from apd.training.objectives.sample_topk import SampleTopK

OBJECTIVES: dict[str, type[Objective]] = {
    "batch-topk": BatchTopK,
    "sample-topk": SampleTopK,
    "exact-k": ExactK,
    "lp": Lp,
}

__all__ = ["OBJECTIVES", "BatchTopK", "ExactK", "Lp", "Objective", "SampleTopK", "Selection"]
