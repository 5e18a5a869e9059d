"""How strongly every component acts on every input: A_c(x), worked out the cheapest way.

`Backward` is exact for any network, at a cost that grows with the outputs; `Forward` is exact for
networks of vectors with elementwise nonlinearities, at a cost that does not grow with the outputs
where they lie behind a narrow layer; `Projected` estimates, at a cost that is flat in the outputs.
Those are for training; `row_strengths` are the same for an input whatever it comes with.
"""

from apd.strength.backward import Backward, Projected, row_strengths
from apd.strength.choice import strength_of
from apd.strength.forward import Forward
from apd.strength.strength import Strength

__all__ = ["Backward", "Forward", "Projected", "Strength", "row_strengths", "strength_of"]
