"""What scoring returns: flags, discoveries and drift of rows whose p-values are given."""

import math
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from test_cli_main import environment

import mad
from mad.calibration import PerClass, Pooled
from mad.result import Result, concatenate

M = 99
CALIBRATION = Pooled.of(np.arange(M) + 0.5, np.arange(M) % 3)


def result_of(bits: np.ndarray, calibration=CALIBRATION) -> Result:
    """A result whose rows of NaN bits are unscorable and whose predictions go round."""
    n, finite = len(bits), np.isfinite(bits)
    prediction = np.arange(n) % 3
    return Result(
        bits=bits,
        p_value=calibration.p_values(bits, prediction),
        prediction=np.where(finite, prediction, -1),
        finite=finite,
        terms={"mask_bits": bits},
        components=np.tile(np.arange(2), (n, 1)),
        component_bits=np.stack([bits, 0 * bits], axis=1),
        rates=np.full(4, 0.25),
        calibration=calibration,
    )


@pytest.fixture
def result() -> Result:
    """p = 0.01, 0.02, 0.03, 0.12, 0.52, and one unscorable row."""
    return result_of(np.array([200.0, 97.6, np.nan, 96.9, 88.0, 48.0]))


def test_p_values_are_as_said(result):
    np.testing.assert_array_equal(result.p_value, [0.01, 0.02, np.nan, 0.03, 0.12, 0.52])


@pytest.mark.parametrize("alpha", [0.01, 0.02, 0.3, 1.0])
def test_flagged_means_a_p_value_of_at_most_alpha(result, alpha):
    assert result.flagged(alpha).tolist() == [p <= alpha for p in result.p_value]


@pytest.mark.parametrize("level", [-0.1, 2.0, math.nan])
@pytest.mark.parametrize("method", ["flagged", "discoveries"])
def test_what_is_no_share_is_refused(result, method, level):
    with pytest.raises(mad.InputError, match="not between 0 and 1"):
        getattr(result, method)(level)


def test_it_says_how_many_inputs_it_is_of_and_no_more(result):
    n, scored = len(result.bits), result.finite.sum()
    assert repr(result) == f"<mad.Result of {n} inputs, {scored} of them scored>"


def test_discoveries_by_hand(result):
    """Of five: 0.03 <= 3/5 of 0.05, and 0.12 > 4/5 of it; 0.12 <= 4/5 of 0.15."""
    assert result.discoveries(0.05).tolist() == [True, True, False, True, False, False]
    assert result.discoveries(0.15).tolist() == [True, True, False, True, True, False]
    with pytest.warns(mad.CalibrationWarning, match=r"of 5 inputs, fewer than 2 .* is 0\.01$"):
        assert not result.discoveries(0.04).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not result_of(np.array([-9.0, -9.0])).discoveries(0.05).any()
    assert result.discoveries().tolist() == result.discoveries(0.1).tolist()


def test_rows_that_were_not_scored_are_never_flagged_or_discovered(result):
    assert not result.flagged(1.0)[2]
    assert not result.discoveries(1.0)[2]
    with pytest.raises(mad.InputError, match="row 2 was not scored"):
        result.explain(2)
    nothing = result_of(np.full(3, np.nan))
    assert not nothing.flagged(0.5).any()
    assert not nothing.discoveries(0.5).any()
    with pytest.raises(mad.InputError, match="nothing to compare"):
        nothing.drift()


@pytest.mark.parametrize("method", ["flagged", "discoveries"])
def test_a_level_that_the_calibration_cannot_reach_is_warned_of(result, method):
    with pytest.warns(mad.CalibrationWarning, match=r"5 of 5 inputs .* 0\.009: .* is 0\.01$"):
        found = getattr(result, method)(0.009)
    assert not found.any()


def test_the_warning_names_the_line_that_asked(tmp_path):
    """In a process where nothing checks types: what checks them would come between."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import numpy as np\n"
        "from test_mad_result import result_of\n"
        "result = result_of(np.array([200.0, 97.6, 96.9]))\n"
        "result.flagged(0.001)\n"
        "result.discoveries(0.001)\n"
    )
    here = {**environment(), "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, str(script)], env=here, capture_output=True, text=True, check=True
    )
    said = re.findall(r"mine\.py:(\d): CalibrationWarning", done.stderr)
    assert said == ["4", "5"]


def test_classes_whose_calibration_is_too_small_are_warned_of():
    calibration = PerClass.of(CALIBRATION.bits, np.repeat([0, 1, 2], [60, 34, 5]))
    found = result_of(np.full(7, 200.0), calibration)
    with pytest.warns(mad.CalibrationWarning, match=r"2 of 7 inputs .* 0\.02: .* is 0\.0286$"):
        flagged = found.flagged(0.02)
    assert flagged.tolist() == [True, False, True, True, False, True, True]
    assert found.flagged(0.03).all()


def test_results_of_parts_together_are_those_of_the_whole(result):
    more = result_of(np.array([3.0, np.nan, 70.0]))
    whole = concatenate([result, more])
    assert whole.calibration is result.calibration
    np.testing.assert_array_equal(whole.bits, [*result.bits, *more.bits])
    assert (result.tally() + more.tally()).drift() == whole.drift()
    assert whole.drift().inputs == 7


def test_drift_is_of_the_batch():
    rng = np.random.default_rng(0)
    usual = result_of(rng.uniform(0, M, 150)).drift()
    assert not usual.drifted(0.01)
    assert not usual.shifted(0.01)
    higher = result_of(rng.uniform(0, M, 150) + 40).drift()
    assert higher.drifted(0.01)
    assert higher.direction == "more surprising"
    lower = result_of(rng.uniform(0, M, 150) / 3).drift()
    assert lower.drifted(0.01)
    assert lower.direction == "more typical"


def test_an_explanation_is_its_row(result):
    found = result.explain(3)
    assert (found.index, found.bits, found.p_value, found.prediction) == (3, 96.9, 0.03, 0)
    assert found.terms == {"mask_bits": 96.9}
    assert [(part.component, part.bits, part.rate) for part in found.components] == [
        (0, 96.9, 0.25),
        (1, 0.0, 0.25),
    ]
