"""Where weights act: a site is one weight tensor, a use one place in the graph applying it."""

from apd.sites.conv import ConvUse
from apd.sites.embedding import EmbeddingUse
from apd.sites.find import find_sites, fits, matching, matrices_of, sites_named
from apd.sites.linear import LinearUse, TransposedUse
from apd.sites.site import Factors, Site, Use

__all__ = [
    "ConvUse",
    "EmbeddingUse",
    "Factors",
    "LinearUse",
    "Site",
    "TransposedUse",
    "Use",
    "find_sites",
    "fits",
    "matching",
    "matrices_of",
    "sites_named",
]
