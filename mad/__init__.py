"""Mechanistic anomaly detection: did the network produce this output for the usual reasons?

    detector = mad.Detector.fit(run, reference)    # any `mad.Decomposition`, and trusted inputs
    result = detector.score(x)                     # .bits, .p_value, .flagged(alpha), .explain(i)
    for part in detector.stream(chunks): ...       # the same for any number of inputs
    detector.save("runs/mine"); mad.load("runs/mine")

Read on in `detector` (the whole way round), `evidence`, `scores`, `calibration`.
"""

from mad.decomposition import Decomposition
from mad.detector import Detector, load
from mad.errors import InputError, MadError, ReferenceError, StoreError
from mad.result import ComponentBits, Explanation, Result

__all__ = [
    "ComponentBits",
    "Decomposition",
    "Detector",
    "Explanation",
    "InputError",
    "MadError",
    "ReferenceError",
    "Result",
    "StoreError",
    "load",
]
