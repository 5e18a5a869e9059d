"""The scikit-learn estimator: its checks, its harnesses, and the detector's own numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from problems import numbers
from sklearn.base import clone, is_outlier_detector
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import apd
import mad
from mad.adapters.sklearn import MechanisticOutlierDetector

ENOUGH_ROWS = 60


@dataclass(frozen=True)
class Centred:
    """A linear network whose components are the directions of its inputs, of any shape."""

    centre: np.ndarray
    largest: float = np.inf

    active = 2.0
    rows_at_once = 64
    fingerprint = "centred"

    @property
    def ranks(self) -> np.ndarray:
        return np.ones(self.centre.size)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.centre.shape

    def unseen_rows(self, reference: np.ndarray) -> np.ndarray:
        """All rows, again and again where they are few: scikit-learn's checks fit on ten."""
        n = len(reference)
        return np.resize(np.arange(n), max(n, ENOUGH_ROWS))

    def explain(self, x: np.ndarray, output: str | int) -> tuple[np.ndarray, ...]:
        parts = (x.astype(np.float64) - self.centre).reshape(len(x), -1)
        parts = np.where(np.abs(parts) > self.largest, np.inf, parts)
        return np.stack([parts.sum(1), -parts.sum(1)], 1), parts, np.abs(parts), parts

    def masked_outputs(self, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        total = np.where(mask, self.explain(x, "all")[1], 0).sum(1)
        return np.stack([total, -total], 1)

    def outputs_on(self, x: np.ndarray, components: Iterable[int]) -> np.ndarray:
        mask = np.isin(np.arange(self.centre.size), list(components))
        return self.masked_outputs(x, np.broadcast_to(mask, (len(x), len(mask))))

    def outputs_without(self, x: np.ndarray, components: object) -> np.ndarray:
        raise NotImplementedError

    def save(self, directory: object) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Centring:
    """What decomposes, of a name that is the same in every process, as tests' names have to be."""

    def __call__(self, X: np.ndarray) -> Centred:
        return Centred(X.mean(0, dtype=np.float64))


centred = Centring()


@pytest.mark.filterwarnings("ignore::mad.CalibrationWarning")
@parametrize_with_checks([MechanisticOutlierDetector(centred, alpha=0.1)])
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


# --- the detector's own numbers -------------------------------------------------------------


@pytest.fixture(scope="module")
def new() -> np.ndarray:
    """Inputs like the reference, and others beside them."""
    return np.concatenate([numbers(21)(40, 5), 3 * numbers(22)(30, 5)]).astype(np.float64)


@pytest.mark.filterwarnings("ignore::mad.CalibrationWarning")
@pytest.mark.parametrize("calibration", ["pooled", "per-class"])
@pytest.mark.parametrize("alpha", [2 / 37, 0.3])
def test_flags_and_scores_are_the_detectors(small_run, new, calibration, alpha):
    run, reference = small_run
    ours = MechanisticOutlierDetector(run, alpha=alpha, calibration=calibration, seed=4)
    ours.fit(reference.numpy())
    detector = mad.Detector.fit(run, reference, calibration=calibration, seed=4)
    result = detector.score(new)
    assert np.array_equal(ours.score_samples(new), -result.bits)
    flagged = result.p_value <= alpha
    assert np.array_equal(ours.predict(new), np.where(flagged, -1, 1))
    assert np.array_equal(ours.decision_function(new) < 0, flagged)
    if calibration == "pooled":
        assert np.array_equal(ours.decision_function(new), -result.bits - ours.offset_)
    assert 0 < flagged.sum() < len(new)


def test_an_alpha_that_nothing_reaches_is_warned_of(small_run, new):
    run, reference = small_run
    ours = MechanisticOutlierDetector(run, alpha=1e-4).fit(reference.numpy())
    with pytest.warns(mad.CalibrationWarning):
        assert (ours.predict(new) == 1).all()
    assert ours.offset_ == -np.inf
    assert (ours.decision_function(new) > 0).all()


def test_flattened_inputs_are_given_their_shape():
    """And what comes in shape stays so."""
    x = np.random.default_rng(3).normal(size=(80, 2, 3))
    flat, shaped = (MechanisticOutlierDetector(Centred(np.zeros((2, 3)))) for _ in range(2))
    expected = mad.Detector.fit(Centred(np.zeros((2, 3))), x).score(x).bits
    assert np.array_equal(flat.fit(x.reshape(80, 6)).score_samples(x.reshape(80, 6)), -expected)
    assert np.array_equal(shaped.fit(x).score_samples(x), -expected)
    assert (flat.n_features_in_, shaped.n_features_in_) == (6, 2)
    with pytest.raises(ValueError, match="3 features"):
        shaped.score_samples(x.transpose(0, 2, 1))
    with pytest.raises(mad.InputError, match="shape"):
        MechanisticOutlierDetector(Centred(np.zeros((2, 3)))).fit(np.ones((80, 5)))


def test_whole_numbers_are_taken_as_floats(small_run):
    """As scikit-learn has it, though the network itself refuses them."""
    run, _ = small_run
    x = np.random.default_rng(3).integers(-9, 9, (150, 5))
    whole = MechanisticOutlierDetector(run).fit(x)
    floats = MechanisticOutlierDetector(run).fit(x.astype(np.float32))
    for fitted in (whole, floats):
        for given in (x, x.astype(np.int8), x.astype(np.float64)):
            expected = fitted.detector_.score(x.astype(np.float64)).bits
            assert np.array_equal(fitted.score_samples(given), -expected)
    assert np.array_equal(whole.score_samples(x), floats.score_samples(x))


def test_tokens_stay_the_whole_numbers_they_are():
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.read = torch.nn.Embedding(99, 4), torch.nn.Linear(12, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.read(self.table(x).flatten(1))

    x = np.random.default_rng(3).integers(99, size=(200, 3))
    run = apd.decompose(Model(), x, apd.Config(steps=10, batch_size=16, components=4))
    fitted = MechanisticOutlierDetector(run).fit(x)
    assert fitted.detector_.profiled.dtype == np.int64
    expected = fitted.detector_.score(x).bits
    assert np.array_equal(fitted.score_samples(x.astype(np.int32)), -expected)


def test_what_decomposes_gets_the_inputs_as_they_are_given():
    x, seen = np.random.default_rng(3).normal(size=(80, 2, 3)), []
    MechanisticOutlierDetector(lambda given: seen.append(given) or Centred(np.zeros((2, 3)))).fit(x)
    assert np.array_equal(seen[0], x)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_an_alpha_that_is_no_share_is_refused(alpha):
    with pytest.raises(mad.InputError, match="between 0 and 1"):
        MechanisticOutlierDetector(centred, alpha=alpha).fit(np.ones((80, 5)))


def test_rows_that_are_not_finite_are_refused(small_run):
    run, reference = small_run
    ours = MechanisticOutlierDetector(run).fit(reference.numpy())
    with pytest.raises(ValueError, match="NaN"):
        ours.predict(np.full((2, 5), np.nan))


# --- its harnesses --------------------------------------------------------------------------


def test_rows_out_of_the_networks_range_are_refused():
    x = np.random.default_rng(3).normal(size=(80, 4))
    ours = MechanisticOutlierDetector(Centred(np.zeros(4), largest=100.0)).fit(x)
    x[[5, 9], 1] = 1000.0
    for method in (ours.predict, ours.score_samples, ours.decision_function):
        with pytest.raises(mad.InputError, match="row 5 takes the network out of the range"):
            method(x)


def test_it_goes_through_pipelines(small_run, new):
    run, reference = small_run
    ours = MechanisticOutlierDetector(run, alpha=0.2)
    bounded = make_pipeline(FunctionTransformer(np.tanh), clone(ours)).fit(reference.numpy())
    expected = mad.Detector.fit(run, np.tanh(reference.numpy())).score(np.tanh(new)).bits
    assert np.array_equal(bounded.score_samples(new), -expected)


def test_it_goes_through_folds_and_grids():
    """Inliers are 1 and outliers -1, as scikit-learn has it."""
    ours = MechanisticOutlierDetector(centred, alpha=0.2)
    assert is_outlier_detector(ours)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(220, 4)), rng.permutation(np.repeat([1, -1], [190, 30]))
    x[y == -1] *= 2
    first, second = np.arange(110), np.arange(110, 220)
    folds = [(first, second), (second, first)]
    by_hand = []
    for there, here in folds:
        bits = mad.Detector.fit(centred(x[there]), x[there]).score(x[here]).bits
        by_hand.append(roc_auc_score(y[here] == -1, bits))
    found = cross_val_score(ours, x, y, cv=folds, scoring="roc_auc", error_score="raise")
    np.testing.assert_allclose(found, by_hand)
    grid = GridSearchCV(ours, {"seed": [0, 1, 2]}, scoring="roc_auc", cv=folds).fit(x, y)
    assert np.isclose(grid.cv_results_["mean_test_score"][0], np.mean(by_hand))
    assert len(set(grid.cv_results_["mean_test_score"])) > 1
