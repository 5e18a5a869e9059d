"""Small networks whose mechanisms are known, with trusted inputs and planted anomalies.

`make(name)` trains one, `save` and `load` keep it in a directory, `TOYS` is the table of them all.
"""

from toys.catalogue import TOYS, Recipe, make
from toys.errors import ToyError
from toys.store import load, save
from toys.toy import Labelled, Toy

__all__ = ["TOYS", "Labelled", "Recipe", "Toy", "ToyError", "load", "make", "save"]
