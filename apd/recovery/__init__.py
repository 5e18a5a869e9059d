"""How well components recover mechanisms that are known, and how well they stand for the target.

matches      what a matching is, and its figures: MMCS, ML2R, how many are distinct and recovered
columns      one site's columns: the weights leaving one input feature (APD paper, section 3.1)
mechanisms   whole mechanisms, in the parameter space of all sites
activity     which components inputs use
accuracy     what the components together, and the active ones alone, leave out
scrubbing    what becomes of the outputs when inactive components are removed

`mmcs`, `ml2r` and `distinct` are figures of columns, as published; the same figures of whole
mechanisms are properties of what `best` and `one_to_one` return.
"""

from apd.recovery.accuracy import Faithfulness, faithfulness, output_variance, sparse_error
from apd.recovery.activity import (
    active_components,
    components_per_mechanism,
    dead,
    participation,
    shares,
)
from apd.recovery.columns import distinct, match_columns, ml2r, mmcs
from apd.recovery.matches import Matches
from apd.recovery.mechanisms import best, one_to_one
from apd.recovery.scrubbing import (
    Losses,
    hardest,
    losses_without,
    random_half,
    scrub,
    sparse_losses,
)

__all__ = [
    "Faithfulness",
    "Losses",
    "Matches",
    "active_components",
    "best",
    "components_per_mechanism",
    "dead",
    "distinct",
    "faithfulness",
    "hardest",
    "losses_without",
    "match_columns",
    "ml2r",
    "mmcs",
    "one_to_one",
    "output_variance",
    "participation",
    "random_half",
    "scrub",
    "shares",
    "sparse_error",
    "sparse_losses",
]
