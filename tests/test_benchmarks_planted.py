"""The planted-anomaly benchmark: who holds a mechanism, where it acts, and who gets the blame."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import oracles
import pytest
import torch
from problems import make_problem, numbers
from torch.func import functional_call

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

from planted import ACTS, acts, blames, held

NAMED = np.array([[4, 1], [4, 2], [2, 4], [0, 4]])
RESIDUAL_BITS = np.array([1.0, 9.0, 9.0, 1.0])


@pytest.fixture(scope="module")
def network():
    return make_problem("mlp-2")


@pytest.fixture(scope="module")
def run(network, small_run):
    """A run of components at random, which leave much to the residual."""
    return dataclasses.replace(small_run[0], target=network.target, components=network.components)


@pytest.fixture(scope="module")
def mechanism(network):
    """Weights of two sites of the three."""
    normal = numbers(17)
    first, _, last = network.target.sites
    return {name: normal(*network.target.weight(name).shape) for name in (first, last)}


def test_residual_and_components_hold_a_mechanism_between_them(network, run, mechanism):
    shares = held(run, mechanism)
    components, whole = oracles.all_weights(network), oracles.inner_product(mechanism, mechanism)
    expected = [oracles.inner_product(mechanism, weights) / whole for weights in components]
    np.testing.assert_allclose(shares[1:], expected, rtol=1e-9)
    weights = {name: network.target.weight(name) for name in network.target.sites}
    all_of_it = oracles.inner_product(mechanism, weights) / whole
    assert shares.sum() == pytest.approx(all_of_it, rel=1e-9)


def test_it_acts_where_the_outputs_without_it_are_others(network, run, mechanism):
    """By a tenth of what outputs are, their root mean square; by less, it does not."""
    x = network.x
    outputs = network.module(x)
    least = ACTS * outputs.square().sum(1).mean().sqrt()

    def moved(scale):
        left = {name: network.target.weight(name) - scale * mechanism[name] for name in mechanism}
        return (functional_call(network.module, left, x) - outputs).norm(dim=1)

    scale = next(s for s in 0.5 ** np.arange(20) if 2 <= (moved(s) > least).sum() <= 7)
    small = {name: scale * weight for name, weight in mechanism.items()}
    assert acts(run, small, x).tolist() == (moved(scale) > least).tolist()


@pytest.mark.parametrize(
    ("carriers", "expected"),
    [
        ([4], [True, True, False, False]),
        ([1], [False] * 4),
        ([2, 0], [False, False, True, True]),
        ([-1], [False, True, True, False]),
        ([-1, 0], [False, True, True, True]),
    ],
)
def test_the_first_named_gets_the_blame_and_the_residual_where_it_has_more(carriers, expected):
    bits = np.array([[5.0, 3.0]] * 4)
    terms = {"residual_bits": RESIDUAL_BITS}
    result = SimpleNamespace(components=NAMED, component_bits=bits, terms=terms)
    assert blames(result, carriers).tolist() == expected


def test_an_input_that_uses_nothing_of_it_is_no_anomaly(network, run):
    nothing = {name: torch.zeros_like(network.target.weight(name)) for name in run.target.sites}
    assert not acts(run, nothing, network.x).any()
