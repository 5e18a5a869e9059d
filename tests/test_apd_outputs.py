"""One vector per input out of whatever a module returns."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import oracles
import pytest
import torch
from problems import Formula, Problem, numbers, random_components
from torch import nn
from torch.nn.functional import linear

from apd import Components, Target, TargetError
from apd.attribution import rms_attributions
from apd.from_torch.outputs import Output
from apd.hooks import capture

N, P, D = 5, 6, 3


@dataclass
class Returned:
    """As libraries of models return them."""

    logits: torch.Tensor
    cache: object = None


Pair = namedtuple("Pair", ["first", "second"])

VECTOR, SEQUENCE, SCALAR = numbers(171)(N, D), numbers(172)(N, P, D), numbers(173)(N)
GRID = numbers(174)(N, 2, P, D)

# what a module returns, the output that is asked for, what it is
CASES = [
    (VECTOR, "", VECTOR),
    (SEQUENCE, "", SEQUENCE[:, -1]),
    (SEQUENCE, "[-1]", SEQUENCE[:, -1]),
    (SEQUENCE, "[2]", SEQUENCE[:, 2]),
    (SEQUENCE, "[-6]", SEQUENCE[:, 0]),
    (SCALAR, "", SCALAR[:, None]),
    (GRID, "[1][4]", GRID[:, 1, 4]),
    ({"logits": VECTOR}, "", VECTOR),
    ({"logits": VECTOR, "hidden": SEQUENCE}, "logits", VECTOR),
    ({"logits": VECTOR, "hidden": SEQUENCE}, "hidden", SEQUENCE[:, -1]),
    ({"logits": VECTOR, "hidden": SEQUENCE}, "hidden[1]", SEQUENCE[:, 1]),
    ({"logits": VECTOR, "log": SEQUENCE}, "log", SEQUENCE[:, -1]),
    ({"logits": VECTOR, "states": (SCALAR, SEQUENCE)}, "states.1[0]", SEQUENCE[:, 0]),
    ({"loss": None, "states": (SEQUENCE,)}, "states", SEQUENCE[:, -1]),
    ((SEQUENCE, VECTOR), "1", VECTOR),
    ([SEQUENCE, VECTOR], "0[3]", SEQUENCE[:, 3]),
    ((SEQUENCE, (VECTOR, SCALAR)), "1.1", SCALAR[:, None]),
    (OrderedDict(logits=VECTOR, past=object()), "", VECTOR),
    (Returned(VECTOR), "", VECTOR),
    (Returned(VECTOR, (SEQUENCE, SEQUENCE)), "logits", VECTOR),
    (Pair(VECTOR, SEQUENCE), "second[-2]", SEQUENCE[:, -2]),
]


@pytest.mark.parametrize(("returned", "text", "expected"), CASES, ids=range(len(CASES)))
def test_an_output_is_where_its_name_says(returned, text, expected):
    assert torch.equal(Output.of(text)(returned), expected)


# what a module returns, the output that is asked for, what is said
REFUSED = [
    ((VECTOR, SCALAR), "", r"the target returns 0 \(5, 3\), 1 \(5,\); choose one"),
    ({"a": VECTOR, "b": SCALAR}, "c", r"a \(5, 3\), b \(5,\); choose one.*'c' is none or several"),
    ({"a": (VECTOR, SCALAR)}, "a", r"a\.0 \(5, 3\), a\.1 \(5,\); choose one.*'a' is none or"),
    (VECTOR, "logits", r"a tensor \(5, 3\); choose one.*'logits' is none"),
    (None, "", r"the target returns NoneType; choose one"),
    ({}, "", r"the target returns dict; choose one"),
    (SEQUENCE, "[6]", r"shape \(5, 6, 3\), and '\[6\]' is no vector"),
    (SEQUENCE, "[-7]", r"shape \(5, 6, 3\), and '\[-7\]' is no vector"),
    (SEQUENCE, "[1][2]", r"shape \(5, 6, 3\), and '\[1\]\[2\]' is no vector"),
    (GRID, "", r"shape \(5, 2, 6, 3\), and '' is no vector.*a position of every axis between"),
    (VECTOR, "[0]", r"shape \(5, 3\), and '\[0\]' is no vector"),
    (SCALAR, "[0]", r"shape \(5,\), and '\[0\]' is no vector"),
    (torch.tensor(1.0), "", r"shape \(\), and '' is no vector"),
]


@pytest.mark.parametrize(("returned", "text", "said"), REFUSED, ids=range(len(REFUSED)))
def test_an_output_that_is_not_there_is_refused_with_what_is(returned, text, said):
    with pytest.raises(TargetError, match=said) as caught:
        Output.of(text)(returned)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[", "logits[", "logits[x]", "[1]logits", "a[1.5]", "a]"])
def test_an_output_that_is_not_understood_is_refused(text):
    with pytest.raises(TargetError, match="is not understood; write for example 'logits'"):
        Output.of(text)


# --- targets ----------------------------------------------------------------------------------


class Heads(nn.Module):
    """Several outputs of one trunk, some of them a sequence."""

    def __init__(self):
        super().__init__()
        self.trunk, self.head = nn.Linear(4, 7), nn.Linear(7, D)
        self.value = nn.Linear(7, 1)
        draw = numbers(175)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(draw(*parameter.shape))

    def forward(self, x):
        h = self.trunk(x).tanh()
        return {"logits": self.head(h), "value": self.value(h.mean(1)).squeeze(-1), "trunk": (h,)}


class Chosen(nn.Module):
    """What is left of them by hand."""

    def __init__(self, choose):
        super().__init__()
        self.heads, self.choose = Heads(), choose

    def forward(self, x):
        return self.choose(self.heads(x))


CHOICES = {
    "logits": (lambda returned: returned["logits"][:, -1], ["trunk.weight", "head.weight"]),
    "logits[2]": (lambda returned: returned["logits"][:, 2], ["trunk.weight", "head.weight"]),
    "value": (lambda returned: returned["value"][:, None], ["trunk.weight", "value.weight"]),
    "trunk": (lambda returned: returned["trunk"][0][:, -1], ["trunk.weight"]),
}


@pytest.mark.parametrize("output", CHOICES)
def test_a_target_of_a_chosen_output_is_that_of_a_module_with_no_other(output):
    choose, sites = CHOICES[output]
    x = numbers(176)(N, P, 4)
    target = Target.of(Heads().double(), x, sites, output)
    by_hand = Chosen(choose).double()
    assert list(target.sites) == sites
    torch.testing.assert_close(target(x), oracles.forward(by_hand, x))
    components = random_components(target, 8, 2, numbers(177))
    fast = rms_attributions(*capture(target, x), components)
    other = Target.of(by_hand, x, [f"heads.{site}" for site in sites])
    renamed = Components.of({f"heads.{s}": f for s, f in components.factors.items()})
    problem = Problem(by_hand, other, renamed, x, torch.zeros(N, dtype=torch.int64))
    slow = oracles.rms_over_outputs(oracles.effects(problem).sum(1))
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-12)


def test_names_are_the_modules_own():
    module = Heads().double()
    target = Target.of(module, numbers(178)(N, P, 4), ("trunk.*",), "trunk")
    assert set(target.state) == set(module.state_dict())


def test_weights_of_other_outputs_are_named():
    with pytest.raises(TargetError, match=r"the weight value\.weight is never used"):
        Target.of(Heads().double(), numbers(178)(N, P, 4), output="logits")


def test_a_choice_of_outputs_is_part_of_the_fingerprint():
    x = numbers(179)(N, P, 4)
    fingerprints = {
        Target.of(Heads().double(), x, ("trunk.*",), output).fingerprint for output in CHOICES
    }
    assert len(fingerprints) == len(CHOICES)


def test_a_plain_vector_is_traced_as_it_is():
    """So that the graphs of targets that need nothing chosen stay what they were."""
    module, x = Formula(lambda net, x: linear(x, net.W), W=numbers(180)(D, 4)), numbers(181)(N, 4)
    assert Target.of(module, x).graph.nodes == Target.of(module, x, output="").graph.nodes
    assert [node.op for node in Target.of(module, x).graph.nodes] == ["aten.linear.default"]


def test_whole_numbers_are_no_outputs():
    module = Formula(lambda net, x: linear(x, net.W).argmax(-1), W=numbers(182)(D, 4))
    with pytest.raises(TargetError, match=r"torch\.int64 of shape \(3, 1\); one vector of floats"):
        Target.of(module, numbers(183)(N, 4))
