"""Codes: how many bits it takes to say something, one that the reference makes short.

A Gaussian code's length is (1/2) log2(e) (z - mean)^T precision (z - mean) + (1/2) log2 det
covariance, up to a constant. Its distance from the typical length, in either direction, is the
score: for a Gaussian in many dimensions the most likely vector is as untypical as an unlikely one
(Nalisnick et al. 2019, arXiv 1906.02994). A tree code's length is the score itself.
"""

from mad.codes.gaussian import GaussianCode
from mad.codes.tree import TreeCode
from mad.codes.wide import WideCode

__all__ = ["GaussianCode", "TreeCode", "WideCode"]
