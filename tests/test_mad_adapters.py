"""The detector in PyTorch harnesses, which are duck-typed, and what importing adapters costs."""

import numpy as np
import pytest
import torch
from problems import numbers
from test_imports import loaded
from torch.utils.data import DataLoader, TensorDataset

import mad
from mad.adapters import cupbearer, pytorch_ood
from mad.scores import TOTAL

BOTH = [pytorch_ood.MechanisticDetector, cupbearer.MechanisticDetector]


@pytest.fixture(scope="module")
def new() -> torch.Tensor:
    return torch.cat([numbers(21)(9, 5), 3 * numbers(22)(7, 5)])


@pytest.fixture(scope="module")
def detector(small_run):
    run, reference = small_run
    return mad.Detector.fit(run, reference, explain="all", seed=2)


@pytest.fixture(scope="module")
def expected(detector, new):
    return detector.score(new)


def test_no_adapter_is_imported_before_it_is_asked_for():
    assert not loaded("import mad, mad.adapters") & {"torch", "pyod", "inspect_ai", "cupbearer"}


def test_pytorch_ood_fits_on_loaders_without_what_is_labelled_unknown(small_run, new, expected):
    run, reference = small_run
    x = torch.cat([reference, 9 * new])
    y = torch.cat([torch.arange(len(reference)) % 4, torch.full((len(new),), -1)])
    loader = DataLoader(TensorDataset(x, y), batch_size=40)
    ours = pytorch_ood.MechanisticDetector(run, explain="all", seed=2)
    scores = ours.fit(loader).predict(new)
    assert isinstance(scores, torch.Tensor)
    assert scores.numpy().tolist() == expected.bits.tolist()
    assert torch.equal(ours(new), scores)
    assert torch.equal(ours.predict_features(new), scores)
    again = pytorch_ood.MechanisticDetector(run, explain="all", seed=2)
    assert torch.equal(again.fit_features(reference, y[: len(reference)])(new), scores)


def test_cupbearer_trains_on_tasks_and_datasets(small_run, new, expected):
    run, reference = small_run

    class Task:
        trusted_data = TensorDataset(reference, torch.zeros(len(reference)))

    for trusted in (Task, Task.trusted_data, list(reference)):
        ours = cupbearer.MechanisticDetector(run, explain="all", seed=2)
        ours.train(trusted)
        assert ours.compute_scores(new).tolist() == expected.bits.tolist()


def test_cupbearer_trains_by_its_own_calls(small_run, new, expected):
    """Those of its `scripts.train_detector`, and of its `AnomalyDetector.train`."""
    run, reference = small_run

    class Task:
        trusted_data = TensorDataset(reference, torch.zeros(len(reference)))
        untrusted_train_data = TensorDataset(9 * new, torch.zeros(len(new)))

    data = {"trusted_data": Task.trusted_data, "untrusted_data": Task.untrusted_train_data}
    for given in ({**data, "save_path": None}, {"task": Task, "batch_size": 32}):
        ours = cupbearer.MechanisticDetector(run, explain="all", seed=2)
        ours.set_model(None)
        ours.train(**given)
        assert ours.compute_scores(new).tolist() == expected.bits.tolist()
    for nothing in ({}, {"trusted_data": None, "untrusted_data": Task.untrusted_train_data}):
        with pytest.raises(mad.ReferenceError, match="no trusted inputs"):
            cupbearer.MechanisticDetector(run).train(**nothing)


def test_cupbearers_layers_are_terms_that_add_up(detector, new, expected):
    ours = cupbearer.MechanisticDetector.of(detector)
    layers = ours.compute_layerwise_scores(new)
    assert set(layers) == set(TOTAL)
    for name, bits in layers.items():
        assert bits.tolist() == expected.terms[name].tolist()
    torch.testing.assert_close(sum(layers.values()), ours.compute_scores(new), atol=1e-5, rtol=0)


@pytest.mark.parametrize("adapter", BOTH)
def test_a_fitted_detector_needs_no_fit_and_one_that_is_not_says_so(adapter, detector, new):
    per_class = detector.calibrating("per-class")
    ours = adapter.of(per_class)
    assert (ours.explain, ours.calibration) == ("all", "per-class")
    assert ours.scored(new).p_value.tolist() == per_class.score(new).p_value.tolist()
    with pytest.raises(mad.ReferenceError, match="fit it"):
        adapter(detector.decomposition).scored(new)


@pytest.mark.parametrize("fit", ["fit", "train"])
def test_nothing_to_fit_to_is_refused(fit, small_run):
    made = {"fit": BOTH[0], "train": BOTH[1]}[fit](small_run[0])
    with pytest.raises(mad.ReferenceError, match="no trusted inputs"):
        getattr(made, fit)([])


def test_nothing_that_is_labelled_known_is_nothing_to_fit_to(small_run):
    run, reference = small_run
    with pytest.raises(mad.ReferenceError, match="no trusted inputs"):
        BOTH[0](run).fit([(reference, -torch.ones(len(reference)))])


def test_rows_that_are_not_finite_have_no_score(detector, new):
    x = new.clone()
    x[3, 1] = torch.nan
    scores = pytorch_ood.MechanisticDetector.of(detector)(x)
    assert scores.isnan().nonzero().tolist() == [[3]]


def test_scores_for_ood_metrics_keep_their_order():
    """Those of scores that a logistic function makes equal, too."""
    bits = torch.tensor([-1e5, -80.0, 0.0, 36.0, 40.0, 1000.0, 1000.1, 1e5], dtype=torch.float64)
    assert not (bits.sigmoid().diff() > 0).all()
    inside = pytorch_ood.between_0_and_1(bits)
    assert ((inside > 0) & (inside < 1)).all()
    assert (inside.diff() > 0).all()
    np.testing.assert_allclose(inside[2], 0.5)
