"""Reviewed inputs become usual: what joins the profile and the calibration, and what does not."""

import numpy as np
import pytest
import torch
from test_mad_detector import rows_in

import mad


def of_kind(digits, name: str) -> np.ndarray:
    return digits.toy.inputs.x.numpy()[np.array(digits.toy.inputs.kind) == name]


@pytest.fixture(scope="module")
def halves(digits) -> tuple[np.ndarray, np.ndarray]:
    """Look-alikes to accept, and others."""
    alike = of_kind(digits, "look-alike")
    return alike[::2], alike[1::2]


@pytest.fixture(scope="module")
def extended(detector, halves):
    return detector.accept(halves[0])


def test_what_was_accepted_is_usual_and_what_was_not_is_found(detector, extended, digits, halves):
    """Look-alikes are off the reference, and flagged until some of them are accepted."""
    before, after = detector.score(halves[1]), extended.score(halves[1])
    assert before.flagged(0.01).mean() > 0.5
    assert after.flagged(0.01).mean() < 0.15
    assert (after.bits < before.bits).mean() > 0.9
    anomalies = digits.toy.inputs.x[digits.toy.inputs.is_anomaly].numpy()
    assert extended.score(anomalies).flagged(0.01).mean() > 0.8
    assert extended.score(of_kind(digits, "clean")).flagged(0.01).mean() < 0.05


def test_accepted_rows_join_profile_and_calibration(detector, extended, halves):
    accepted = halves[0]
    n, p, m = len(accepted), len(detector.profiled), len(detector.calibrated)
    assert (len(extended.profiled), len(extended.calibrated)) == (
        p + round(0.6 * n),
        m + n - round(0.6 * n),
    )
    assert np.array_equal(extended.profiled[:p], detector.profiled)
    assert np.array_equal(extended.calibrated[:m], detector.calibrated)
    joined = np.concatenate([extended.profiled[p:], extended.calibrated[m:]])
    assert sorted(rows_in(accepted, joined)) == list(range(n))
    assert extended.decomposition is detector.decomposition
    assert (detector.accepted, extended.accepted) == (0, n)


def test_what_is_usual_already_is_not_counted_twice(few_rows, halves):
    accepted, others = halves[0][:20], halves[1]
    once = few_rows.accept(accepted)
    again = once.accept(np.concatenate([accepted, others[:7], few_rows.profiled[:3]]))
    assert again.accepted == once.accepted + 7
    assert len(again.calibrated) == len(once.calibrated) + 3
    with pytest.raises(mad.InputError, match="usual to the detector already"):
        once.accept(accepted)


def test_what_components_were_trained_on_is_not_accepted(digits, detector, halves):
    """Nor is anything of the reference: the rest of it is profiled and calibrated."""
    reference = digits.toy.reference.numpy()
    with pytest.raises(mad.InputError, match="usual to the detector already"):
        detector.accept(np.concatenate([reference, reference]))
    extended = detector.accept(np.concatenate([reference, halves[0], reference]))
    assert extended.accepted == len(np.unique(halves[0], axis=0))
    held = np.concatenate([extended.profiled, extended.calibrated])
    trained = {row.tobytes() for row in reference[digits.run.rows]}
    assert trained.isdisjoint(row.tobytes() for row in held)


def test_inputs_given_several_times_are_accepted_once(few_rows, halves):
    once = few_rows.accept(halves[0])
    again = few_rows.accept(np.concatenate([halves[0], halves[0][::-1], halves[0]]))
    assert again.accepted == once.accepted
    assert np.array_equal(again.profiled, once.profiled)
    assert np.array_equal(again.calibrated, once.calibrated)


def test_accepting_is_fitting_on_both(extended, digits):
    """The profile anew on all profiled rows, the calibration on all calibrated ones."""
    again = mad.detector.Profile.fit(extended.decomposition, extended.profiled, "predicted")
    found = extended.score(digits.toy.inputs.x[:30])
    account = again.account(extended.decomposition, extended.calibrated[:1], "predicted")
    assert np.array_equal(again.threshold, extended.profile.threshold)
    first = extended.score(extended.calibrated[:1]).bits
    np.testing.assert_allclose(first, account.total, rtol=1e-4)
    bits = np.sort(extended.score(extended.calibrated).bits)
    assert found.p_value.tolist() == [
        (1 + sum(bits >= score)) / (len(bits) + 1) for score in found.bits
    ]


def test_inputs_like_the_reference_are_flagged_within_the_stated_bound(detector, extended, halves):
    """p <= alpha among m inputs, a of them accepted, is p <= alpha (m + 1) / (m - a + 1) without.

    With the new scores of the same inputs, which is what the bound is about.
    """
    m, a = len(extended.calibrated), len(extended.calibrated) - len(detector.calibrated)
    bits = extended.score(halves[1]).bits
    own = extended.score(detector.calibrated).bits
    for alpha in (0.01, 0.1, 0.5):
        flagged = extended.score(halves[1]).flagged(alpha)
        p = np.array([(1 + sum(own >= score)) / (m - a + 1) for score in bits])
        assert (p[flagged] <= alpha * (m + 1) / (m - a + 1) + 1e-12).all()


def test_the_seed_picks_which_accepted_rows_profile(few_rows, halves):
    accepted = halves[0][:20]
    first, again, other = (few_rows.accept(accepted, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.profiled, again.profiled)
    assert not np.array_equal(first.profiled, other.profiled)


def test_what_is_accepted_comes_in_any_precision(few_rows, halves):
    accepted = few_rows.accept(torch.from_numpy(halves[0][:10]).double())
    assert accepted.profiled.dtype == few_rows.profiled.dtype
    assert np.array_equal(
        accepted.calibration.bits, few_rows.accept(halves[0][:10]).calibration.bits
    )


@pytest.mark.parametrize("held", [np.float64, np.float32])
def test_what_is_held_is_known_in_any_precision(small_run, held):
    """Numbers that no coarser float has; what comes with them is accepted, and is so once."""
    run, _ = small_run
    x = np.random.default_rng(0).normal(size=(70, 5)).astype(held)
    new = np.random.default_rng(1).normal(size=(10, 5))
    detector = mad.Detector.fit(run, x[:60])
    for given in (np.float16, np.float32, np.float64):
        with pytest.raises(mad.InputError, match="usual to the detector already"):
            detector.accept(x[:60].astype(given))
        more = np.concatenate([x, new]).astype(given)
        once = detector.accept(more)
        assert once.accepted == 20
        assert once.profiled.dtype == held
        with pytest.raises(mad.InputError, match="usual to the detector already"):
            once.accept(more)


def test_whole_numbers_are_held_in_any_type(small_run):
    """Those of a byte are told apart by all their values, whatever holds the fractions beside."""
    run, _ = small_run
    x = np.random.default_rng(0).normal(size=(60, 5))
    x[:3] = [[1.0, 2.0, 3.0, 4.0, 5.0], [1.25, 2.0, 3.0, 4.0, 5.0], [300.0, 2.0, 3.0, 4.0, 5.0]]
    detector = mad.Detector.fit(run, x)
    held = np.array([[1, 2, 3, 4, 5]], dtype=np.uint8)
    others = np.array([[44, 2, 3, 4, 5], [9, 2, 3, 4, 5]], dtype=np.uint8)
    assert detector.accept(np.concatenate([held, others])).accepted == 2


@pytest.mark.parametrize(
    ("odd", "error", "said"),
    [
        (np.zeros((3, 63), np.float32), mad.InputError, r"shape \(63,\)"),
        (np.zeros((0, 64), np.float32), mad.InputError, "no inputs"),
        (np.zeros((3, 64), complex), mad.InputError, "complex128"),
        (np.diag(np.full(64, np.nan)), mad.ReferenceError, "accepted holds NaN .* row 0"),
        (np.full((3, 64), 1e300), mad.ReferenceError, "infinity"),
    ],
)
def test_what_cannot_be_accepted_is_refused(few_rows, odd, error, said):
    with pytest.raises(error, match=said):
        few_rows.accept(odd)


def test_zeros_of_either_sign_are_usual_already(small_run):
    run, _ = small_run
    x = np.random.default_rng(0).normal(size=(60, 5))
    x[:, 2] = 0
    detector = mad.Detector.fit(run, x)
    x[:, 2] = -0.0
    with pytest.raises(mad.InputError, match="usual to the detector already"):
        detector.accept(x)
