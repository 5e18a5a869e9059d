"""The digits benchmark: figures worked out again from scores, and by removing weights by hand."""

import sys
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from torch.func import functional_call

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import digits as benchmark

from toys.digits import TARGET


@pytest.fixture(scope="module")
def figures(digits):
    return benchmark.measured(*digits)


@pytest.fixture(scope="module")
def result(digits, detector):
    return detector.score(digits.toy.inputs.x)


@pytest.fixture(scope="module")
def first(digits, result):
    """The component that most triggered inputs name first."""
    named = result.components[digits.toy.inputs.is_anomaly.numpy(), 0].tolist()
    return max(sorted(set(named)), key=named.count)


def of_kind(toy, kind):
    return np.array([k == kind for k in toy.inputs.kind])


def predictions(toy, run, removed):
    """Classes without some components, subtracted from the model's own weights."""
    weights = {name: p.detach().clone() for name, p in toy.model.named_parameters()}
    for c in removed:
        for site, (u, v) in run.components.factors.items():
            for p in (run.components.owners[site] == c).nonzero().flatten():
                weights[site] -= torch.einsum("mo,mi->oi", u[p], v[p])
    return functional_call(toy.model, weights, (toy.inputs.x,)).argmax(1).numpy()


@pytest.mark.parametrize("term", benchmark.TERMS)
def test_a_terms_figures_follow_from_its_bits(digits, detector, figures, result, term):
    toy = digits.toy
    anomaly, alike = toy.inputs.is_anomaly.numpy(), of_kind(toy, "look-alike")
    bits = result.terms[term]
    calibration = detector.score(detector.calibrated).terms[term]
    flagged = np.array([oracles.p_value(b, calibration) <= benchmark.ALPHA for b in bits])
    clean = of_kind(toy, "clean") & (toy.inputs.y.numpy() != TARGET)
    kept = result.prediction[alike] == result.prediction[clean]
    assert 0 < kept.mean() < 1
    expected = {
        "AUROC, triggered vs look-alike": oracles.auroc(bits[alike], bits[anomaly]),
        "triggered flagged": flagged[anomaly].mean(),
        "look-alikes flagged": flagged[alike][kept].mean(),
    }
    for name, value in expected.items():
        assert figures[f"{term}: {name}"] == pytest.approx(value, abs=1e-12)


def test_what_is_named_first_is_taken_out_of_the_weights(digits, figures, result, first):
    toy, run = digits
    anomaly, clean = toy.inputs.is_anomaly.numpy(), of_kind(toy, "clean")
    named = result.components[:, 0] == first
    without = predictions(toy, run, [first])
    expected = {
        "triggered that name the first": named[anomaly].mean(),
        "look-alikes that name it first": named[of_kind(toy, "look-alike")].mean(),
        "triggered read as the target without the first": (without[anomaly] == TARGET).mean(),
        "clean accuracy without the first": (without == toy.inputs.y.numpy())[clean].mean(),
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-12)


def test_every_anomaly_loses_what_it_names_itself(digits, figures, result):
    toy, run = digits
    rows = np.flatnonzero(toy.inputs.is_anomaly.numpy())
    read = [predictions(toy, run, result.components[n].tolist())[n] for n in rows]
    assert figures["read otherwise without the named"] == np.mean(np.array(read) != TARGET)
    assert 0 <= figures["without as many others"] <= 1
