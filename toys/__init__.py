"""Small networks whose mechanisms are known, with trusted inputs and planted anomalies.

`make(name)` makes one, `save` and `load` keep it in a directory, `TOYS` is the table of them all,
and `active` tells which mechanisms an input exercises.
"""

from toys.catalogue import TOYS, Recipe, active, make
from toys.errors import ToyError
from toys.store import load, save
from toys.toy import Labelled, Toy

__all__ = ["TOYS", "Labelled", "Recipe", "Toy", "ToyError", "active", "load", "make", "save"]
