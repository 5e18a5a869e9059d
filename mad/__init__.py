"""Mechanistic anomaly detection: did the network produce this output for the usual reasons?

    detector = mad.Detector.fit(run, reference)    # any `mad.Decomposition`, and trusted inputs
    result = detector.score(x)                     # .bits, .p_value, .flagged(alpha), .explain(i)
    for part in detector.stream(chunks): ...       # the same for any number of inputs
    result.discoveries(fdr=0.1); result.drift()    # of the batch as a whole
    detector.explain(x, i)                         # .explain(i) and what takes further passes
    detector.accept(reviewed)                      # a detector to which these are usual too
    detector.save("runs/mine"); mad.load("runs/mine")

Read on in `detector` (the whole way round), `scorer`, `evidence`, `scores`, `calibration`, `drift`,
`explain`; `testing` is for a test suite of your own.
"""

from mad import testing
from mad.calibration import CalibrationWarning
from mad.decomposition import Decomposition
from mad.detector import Detector, load
from mad.drift import Drift
from mad.errors import InputError, MadError, ReferenceError, StoreError
from mad.explain import ComponentReason, Neighbour, Reasons
from mad.result import ComponentBits, Explanation, Result

__all__ = [
    "CalibrationWarning",
    "ComponentBits",
    "ComponentReason",
    "Decomposition",
    "Detector",
    "Drift",
    "Explanation",
    "InputError",
    "MadError",
    "Neighbour",
    "Reasons",
    "ReferenceError",
    "Result",
    "StoreError",
    "load",
    "testing",
]
