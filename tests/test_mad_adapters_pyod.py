"""The PyOD detector; skipped where PyOD is not installed, but for what it says then."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from problems import numbers

import mad

ROOT = Path(__file__).resolve().parent.parent
needs_pyod = pytest.mark.skipif(
    importlib.util.find_spec("pyod") is None, reason="pyod is not installed"
)


@pytest.fixture(scope="module")
def new() -> np.ndarray:
    return np.concatenate([numbers(21)(12, 5), 3 * numbers(22)(8, 5)])


@pytest.fixture(scope="module")
def ours(small_run):
    from mad.adapters.pyod import MechanisticDetector

    run, reference = small_run
    return MechanisticDetector(run, contamination=0.2, seed=5).fit(reference.numpy())


@needs_pyod
def test_scores_are_the_detectors_bits(small_run, ours, new):
    run, reference = small_run
    detector = mad.Detector.fit(run, reference, seed=5)
    assert np.array_equal(ours.decision_function(new), detector.score(new).bits)
    assert np.array_equal(ours.decision_scores_, detector.score(reference).bits)


@needs_pyod
def test_thresholds_and_probabilities_are_pyods(ours, new):
    from pyod.models.base import BaseDetector

    assert isinstance(ours, BaseDetector)
    bits, usual = ours.decision_function(new), ours.decision_scores_
    assert ours.threshold_ == np.percentile(usual, 80)
    assert np.array_equal(ours.labels_, (usual > ours.threshold_).astype(int))
    assert ours.labels_.any()
    assert np.array_equal(ours.predict(new), (bits > ours.threshold_).astype(int))
    assert 0 < ours.predict(new).sum() < len(new)
    linear = (bits - usual.min()) / (usual.max() - usual.min())
    np.testing.assert_allclose(ours.predict_proba(new)[:, 1], linear.clip(0, 1))
    assert ours.predict_confidence(new).shape == (len(new),)


@needs_pyod
def test_it_is_kept_by_joblib(ours, new, tmp_path):
    import joblib

    joblib.dump(ours, tmp_path / "ours.joblib")
    again = joblib.load(tmp_path / "ours.joblib")
    assert np.array_equal(again.decision_function(new), ours.decision_function(new))
    assert np.array_equal(again.predict(new), ours.predict(new))
    assert again.get_params()["contamination"] == 0.2


@needs_pyod
def test_flattened_inputs_are_given_their_shape():
    from test_mad_adapters_sklearn import Centred

    from mad.adapters.pyod import MechanisticDetector

    x = np.random.default_rng(3).normal(size=(80, 2, 3))
    expected = mad.Detector.fit(Centred(np.zeros((2, 3))), x).score(x).bits
    flat = MechanisticDetector(Centred(np.zeros((2, 3)))).fit(x.reshape(80, 6))
    assert np.array_equal(flat.decision_function(x.reshape(80, 6)), expected)


@needs_pyod
def test_whole_numbers_are_taken_as_floats(small_run):
    from mad.adapters.pyod import MechanisticDetector

    x = np.random.default_rng(3).integers(-9, 9, (150, 5))
    ours = MechanisticDetector(small_run[0]).fit(x)
    expected = ours.detector_.score(x.astype(np.float64)).bits
    assert np.array_equal(ours.decision_function(x), expected)
    assert np.array_equal(ours.decision_scores_, expected)


@needs_pyod
def test_what_is_not_fitted_says_so_as_scikit_learn_does(small_run, new):
    from sklearn.exceptions import NotFittedError

    from mad.adapters.pyod import MechanisticDetector

    for method in ("decision_function", "predict"):
        with pytest.raises(NotFittedError):
            getattr(MechanisticDetector(small_run[0]), method)(new)


@needs_pyod
def test_rows_out_of_the_networks_range_are_refused():
    from test_mad_adapters_sklearn import Centred

    from mad.adapters.pyod import MechanisticDetector

    x = np.random.default_rng(3).normal(size=(80, 4))
    ours = MechanisticDetector(Centred(np.zeros(4), largest=100.0)).fit(x)
    x[5, 1] = 1000.0
    with pytest.raises(mad.InputError, match="row 5 takes the network out of the range"):
        ours.predict(x)


@pytest.mark.parametrize(
    ("library", "extra"), [("pyod", "pip install pyod"), ("inspect_ai", "pip install inspect-ai")]
)
def test_what_is_not_installed_is_named(library, extra):
    code = f"import sys; sys.modules[{library!r}] = None; import mad.adapters.{library}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: mad.adapters.")
    assert extra in last
