"""Evidence: what is gathered from a decomposition, block by block."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from problems import random_evidence
from test_mad_adapters_sklearn import Centred

import apd
from mad.evidence import Evidence, concatenate, gather, strength_threshold, together


@pytest.mark.parametrize("active", [0.01, 0.3, 1.0, 2.5, 6.9, 7.0, 50.0])
def test_the_threshold_lets_that_many_through_on_average(active):
    strengths = np.random.default_rng(0).random((40, 7))
    threshold = strength_threshold(strengths, active)
    expected = min(280, max(1, round(active * 40)))
    assert (strengths >= threshold).sum() == expected
    assert threshold == sorted(strengths.flatten(), reverse=True)[expected - 1]


@pytest.mark.parametrize("active", [1.0, 3.0])
def test_what_does_nothing_is_not_active_however_few_do_anything(active):
    strengths = np.zeros((5, 3), np.float32)
    strengths[[0, 3], [1, 2]] = 0.2, 1e-30
    assert np.array_equal(strengths >= strength_threshold(strengths, active), strengths > 0)


def test_rows_and_concatenation_undo_each_other():
    evidence = random_evidence(30, seed=0)
    parts = [evidence.rows(slice(0, 7)), evidence.rows(slice(7, 8)), evidence.rows(slice(8, 30))]
    again = concatenate(parts)
    for f in fields(Evidence):
        assert np.array_equal(getattr(again, f.name), getattr(evidence, f.name))
    mask = np.arange(30) % 3 == 0
    assert np.array_equal(evidence.rows(mask).outputs, evidence.outputs[::3])


@pytest.mark.parametrize("explain", ["predicted", "all", 1])
def test_gathering_asks_the_decomposition(small_run, explain):
    run, x = small_run[0], small_run[1][:9].numpy()
    outputs, attributions, strengths, effects = run.explain(x, explain)
    threshold = float(np.median(strengths))
    trusted = np.arange(run.components.count) % 3 > 0
    evidence = gather(run, x, explain, threshold, trusted)
    active = np.array([[s >= threshold for s in row] for row in strengths])
    assert active.any()
    assert not active.all()
    assert np.array_equal(evidence.active, active)
    assert np.array_equal(evidence.strengths, strengths)
    assert np.array_equal(evidence.outputs, outputs)
    assert evidence.prediction.tolist() == [row.tolist().index(max(row)) for row in outputs]
    assert np.array_equal(evidence.attributions, attributions)
    assert np.array_equal(evidence.masked, run.masked_outputs(x, active))
    assert np.array_equal(evidence.on_trusted, run.outputs_on(x, np.flatnonzero(trusted).tolist()))
    assert np.array_equal(evidence.input_effects, effects)


def test_the_sparse_error_is_that_of_recovery(small_run):
    run, x = small_run[0], small_run[1][:40]
    strengths = run.explain(x.numpy(), "predicted").strengths
    every = np.ones(run.components.count, dtype=np.bool_)
    evidence = gather(run, x.numpy(), "predicted", float(np.quantile(strengths, 0.7)), every)
    active = torch.from_numpy(evidence.active)
    expected = apd.recovery.sparse_error(run.target, run.components, x, active)
    assert evidence.sparse_error == pytest.approx(expected, rel=1e-5)
    assert expected > 0.01


@pytest.mark.parametrize(("most", "length"), [(11, 1), (6, 2), (4, 3), (3, 4), (1, 11)])
def test_many_effects_are_told_in_runs(most, length):
    effects = np.random.default_rng(0).normal(size=(5, 11))
    found = together(effects, most)
    assert found.shape[1] <= most
    for n in range(5):
        runs = [effects[n, j : j + length].sum() for j in range(0, 11, length)]
        np.testing.assert_allclose(found[n], runs)


def test_inputs_of_many_coordinates_are_gathered_in_runs():
    """Of 1,300, three at a time are 434."""
    x = np.random.default_rng(0).normal(size=(3, 1300))
    trusted = np.ones(1300, dtype=bool)
    found = gather(Centred(np.zeros(1300)), x, "all", 0.1, trusted).input_effects
    assert found.shape == (3, 434)
    np.testing.assert_allclose(found[:, 0], x[:, :3].sum(1))
