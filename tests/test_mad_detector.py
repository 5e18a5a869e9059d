"""The detector on the digits backdoor: every input by itself, calibrated, and it finds them."""

import math
import subprocess
import sys

import numpy as np
import oracles
import pytest
import torch
from test_imports import ROOT
from test_mad_adapters_sklearn import Centred

import apd
import mad
from apd.sites import Factors
from mad.calibration import PerClass, Pooled
from mad.checks import as_type, check_output
from mad.detector import fitted
from mad.metrics import auroc
from mad.scores import SCORES, TOTAL

FIELDS = ("bits", "p_value", "prediction", "finite", "components", "component_bits")


@pytest.fixture(scope="module")
def x(digits) -> np.ndarray:
    return digits.toy.inputs.x.numpy()


@pytest.fixture(scope="module")
def kind(digits) -> np.ndarray:
    return np.array(digits.toy.inputs.kind)


@pytest.fixture(scope="module")
def result(detector, x):
    return detector.score(x)


def assert_same(part: mad.Result, whole: mad.Result, rows, own=slice(None)) -> None:
    """The rows `own` of one result are, bit for bit, the given rows of another."""
    for field in FIELDS:
        assert np.array_equal(
            getattr(part, field)[own], getattr(whole, field)[rows], equal_nan=field != "prediction"
        ), field
    for name in SCORES:
        assert np.array_equal(part.terms[name][own], whole.terms[name][rows], equal_nan=True), name


# --- every input by itself ------------------------------------------------------------------


def test_an_input_scores_the_same_alone(detector, x, result):
    for n in range(0, len(x), 61):
        assert_same(detector.score(x[n : n + 1]), result, slice(n, n + 1))


@pytest.mark.parametrize("seed", range(3))
def test_an_input_scores_the_same_in_any_order(detector, x, result, seed):
    order = np.random.default_rng(seed).permutation(len(x))
    assert_same(detector.score(x[order]), result, order)


@pytest.mark.parametrize("n", [2, 5, 127, 128, 129, 200])
def test_an_input_scores_the_same_in_any_company(detector, x, result, n):
    chosen = np.random.default_rng(n).choice(len(x), n, replace=False)
    assert_same(detector.score(x[chosen]), result, chosen)


def test_an_input_scores_the_same_among_copies_of_itself(detector, x, result):
    assert_same(detector.score(np.repeat(x[300:301], 150, axis=0)), result, np.full(150, 300))


def test_rows_that_are_not_finite_are_marked_and_touch_no_others(detector, x, result):
    broken = x[:150].copy()
    bad = [0, 17, 130]
    broken[0], broken[17, 3], broken[130, 60] = np.nan, np.inf, -np.inf
    found = detector.score(broken)
    good = np.setdiff1d(np.arange(150), bad)
    assert found.finite.tolist() == [n not in bad for n in range(150)]
    assert_same(found, result, good, good)
    for array in (found.bits, found.p_value, *found.terms.values()):
        assert np.isnan(array[bad]).all()
    assert np.isnan(found.component_bits[bad]).all()
    assert (found.prediction[bad] == -1).all()
    assert (found.components[bad] == -1).all()
    assert not found.flagged(1.0)[bad].any()


def test_a_row_that_takes_the_network_out_of_range_is_not_scored(detector, x, result):
    """Its outputs are no numbers, so nothing can be said of it, and least that it is in order."""
    large = x[:9].copy()
    large[4] = np.finfo(large.dtype).max
    found = detector.score(large)
    assert found.finite.tolist() == [n != 4 for n in range(9)]
    assert_same(found, result, np.delete(np.arange(9), 4), np.delete(np.arange(9), 4))
    assert np.isnan([found.bits[4], found.p_value[4]]).all()
    assert found.prediction[4] == -1


def test_bits_too_large_to_be_rounded_are_not_scored():
    """Rounding multiplies by a million, beyond the largest float of 1.8e308 from 1.8e302 on."""
    rng = np.random.default_rng(0)
    detector = mad.Detector.fit(Centred(np.zeros(4)), rng.normal(size=(80, 4)))
    row = np.array([[1.0, -1.0, 1.0, 1.0]])
    found = detector.score(np.concatenate([1e140 * row, 3e151 * row]))
    account = detector.profile.account(detector.decomposition, 3e151 * row, "predicted")
    assert 1.8e302 < account.total[0] < np.inf
    assert found.finite.tolist() == [True, False]
    assert np.isnan(found.bits).tolist() == [False, True]
    assert np.isnan(found.p_value[1])


def test_tensors_may_require_gradients(detector, x, result):
    found = detector.score(torch.from_numpy(x[:9]).requires_grad_())
    assert_same(found, result, np.arange(9), np.arange(9))


def test_tensors_of_bfloat16_score_as_the_floats_they_are(detector, x):
    rough = torch.from_numpy(x[:9]).bfloat16()
    found, expected = detector.score(rough), detector.score(rough.float())
    assert np.array_equal(found.bits, expected.bits)


def test_nothing_but_broken_rows_is_marked_too(detector, x):
    found = detector.score(np.full_like(x[:3], np.nan))
    assert not found.finite.any()
    assert np.isnan(found.bits).all()


def chunked(x, sizes):
    return iter(np.split(x, np.cumsum(sizes)))


@pytest.mark.parametrize("sizes", [[], [1, 1, 0, 300], [512, 1], [0, 600, 0], [97] * 8])
def test_a_stream_in_any_chunks_is_the_score(detector, x, result, sizes):
    parts = list(detector.stream(chunked(x, sizes)))
    rows, n = detector.decomposition.rows_at_once, 0
    for part in parts:
        assert len(part.bits) == min(rows, len(x) - n)
        assert_same(part, result, slice(n, n + len(part.bits)))
        n += len(part.bits)
    assert n == len(x)
    assert_same(detector.score(chunked(x, sizes)), result, slice(None))


def test_a_mapped_file_streams_as_the_array_it_holds(detector, x, result, tmp_path):
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    first, *_ = detector.stream(mapped)
    assert_same(first, result, slice(0, len(first.bits)))


def test_a_stream_asks_for_no_more_than_it_yields(detector, x):
    asked = []

    def chunks():
        for n in range(0, len(x), 100):
            asked.append(n)
            yield x[n : n + 100]

    first = next(detector.stream(chunks()))
    assert asked[-1] < len(first.bits) <= asked[-1] + 100


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([], "no inputs"),
        ([np.zeros((0, 64), np.float32)], "no inputs"),
        ([np.zeros((3, 64), np.float32), np.zeros((3, 63), np.float32)], r"shape \(63,\)"),
        ([np.zeros((3, 64), np.float32), np.zeros((3, 64))], "float32 at first, and then float64"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(detector, chunks, said):
    with pytest.raises(mad.InputError, match=said):
        detector.score(iter(chunks))


def test_tensors_and_arrays_of_any_precision_score_the_same(detector, x, result):
    for same in (torch.from_numpy(x), x.astype(np.float64), np.asfortranarray(x), x.tolist()):
        part = same[:140]
        assert_same(detector.score(part), result, slice(0, 140))


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.longdouble])
def test_numbers_that_torch_has_not_score_as_those_it_has(detector, x, result, dtype):
    assert np.array_equal(detector.score(x[:9].astype(dtype)).bits, result.bits[:9])


def test_scoring_twice_is_scoring_once(detector, x, result):
    before = x.copy()
    assert_same(detector.score(x), result, slice(None))
    assert np.array_equal(x, before)


def test_progress_counts_the_rows(detector, x):
    seen = []
    rows = detector.decomposition.rows_at_once
    x = np.concatenate([x, x])
    assert 1 < rows < len(x)
    detector.score(x, progress=seen.append)
    assert seen == [*range(rows, len(x), rows), len(x)]


# --- what a result holds --------------------------------------------------------------------


def test_terms_add_up_to_the_bits(result):
    assert set(result.terms) == set(SCORES)
    total = sum(result.terms[name] for name in TOTAL)
    np.testing.assert_allclose(result.bits, total, rtol=0, atol=1e-5)
    assert (result.bits >= 0).all()


def test_the_prediction_is_the_networks(digits, result):
    with torch.no_grad():
        expected = digits.toy.model(digits.toy.inputs.x).argmax(1)
    assert result.prediction.tolist() == expected.tolist()


def test_it_says_what_it_rests_on(detector):
    profiled, calibrated = len(detector.profiled), len(detector.calibrated)
    assert repr(detector.explaining(3)) == (
        f"<mad.Detector of {profiled} profiled and {calibrated} calibrated inputs, explaining 3>"
    )


def test_terms_are_those_of_the_fitted_scores(detector, digits, x, result):
    """One plain pass over the same inputs, without blocks."""
    run, profile = digits.run, detector.profile
    strengths = run.explain(x, "predicted")[2]
    active = strengths >= profile.threshold
    tree = profile.scores["mask_bits"].code.lengths(active, result.prediction)
    np.testing.assert_allclose(result.terms["mask_bits"], tree.sum(1), atol=1e-5)
    prices = np.log2(len(run.ranks)) + run.ranks
    np.testing.assert_allclose(result.terms["description_length"], active @ prices, atol=1e-5)
    left = run.explain(x, 0)[0] - run.masked_outputs(x, active)
    code = profile.scores["output_bits"].code.bits(left.astype(np.float64))
    np.testing.assert_allclose(result.terms["output_bits"], code, rtol=1e-3, atol=1e-3)
    trusted = run.only(np.flatnonzero(detector.rates > 0).tolist())
    left = run.explain(x, 0)[0] - trusted(torch.from_numpy(x)).detach().numpy()
    code = profile.scores["residual_bits"].code.bits(left.astype(np.float64))
    np.testing.assert_allclose(result.terms["residual_bits"], code, rtol=1e-3, atol=1e-2)


def test_the_profile_learned_how_often_components_are_used(detector, digits):
    strengths = digits.run.explain(detector.profiled, "predicted")[2]
    active = strengths >= detector.profile.threshold
    n = len(active)
    assert abs(active.sum() - digits.run.active * n) <= 1
    np.testing.assert_allclose(detector.rates, active.mean(0), atol=1.5 / n)
    assert (detector.rates == 0).any()
    assert np.array_equal(detector.profile.trusted, detector.rates > 0)


def test_p_values_are_those_of_the_calibration(detector, result):
    calibration = detector.calibration.bits
    m = len(calibration)
    assert (np.diff(calibration) >= 0).all()
    for n in range(0, len(result.bits), 29):
        at_least = sum(1 for score in calibration if score >= result.bits[n])
        assert result.p_value[n] == (1 + at_least) / (m + 1)
    assert result.p_value.min() > 0
    assert result.p_value.max() <= 1
    assert detector.finest_alpha == 1 / (m + 1) <= result.p_value.min()


def test_the_calibration_is_what_the_calibrated_inputs_score(detector):
    found = detector.score(detector.calibrated)
    assert np.array_equal(np.sort(found.bits), detector.calibration.bits)
    pairs = zip(detector.calibration.bits, detector.calibration.prediction, strict=True)
    assert sorted(pairs) == sorted(zip(found.bits, found.prediction, strict=True))


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5, 1.0])
def test_flagged_means_a_p_value_of_at_most_alpha(result, alpha):
    assert result.flagged(alpha).tolist() == [p <= alpha for p in result.p_value]


def test_per_class_p_values_are_counts_within_the_class(detector, x, result):
    other = detector.calibrating("per-class")
    found = other.score(x)
    assert np.array_equal(found.bits, result.bits)
    calibrated = detector.score(detector.calibrated)
    classes, counts = np.unique(calibrated.prediction, return_counts=True)
    large = set(classes[counts >= 19])
    assert set() < large < set(classes)
    for n in range(0, len(x), 23):
        k = result.prediction[n]
        own = calibrated.bits[(calibrated.prediction == k) | (k not in large)]
        assert found.p_value[n] == (1 + sum(own >= result.bits[n])) / (len(own) + 1)
    assert np.array_equal(other.calibrating("pooled").score(x).p_value, result.p_value)


def test_a_detector_fitted_per_class_stays_so(few_rows, digits, x):
    fitted = mad.Detector.fit(digits.run, digits.toy.reference[::4], calibration="per-class")
    expected = few_rows.calibrating("per-class").score(x[:40]).p_value
    assert np.array_equal(fitted.score(x[:40]).p_value, expected)
    for changed in (fitted.explaining(3), fitted.accept(x[:30])):
        assert type(changed.calibration) is type(fitted.calibration) is PerClass


def test_the_explanation_of_an_input_is_its_row(detector, result):
    for index in (0, 300, len(result.bits) - 1):
        found = result.explain(index)
        assert found.index == index
        assert found.bits == result.bits[index]
        assert found.p_value == result.p_value[index]
        assert found.prediction == result.prediction[index]
        assert found.terms == {name: bits[index] for name, bits in result.terms.items()}
        bits = [part.bits for part in found.components]
        assert bits == sorted(bits, reverse=True) == result.component_bits[index].tolist()
        assert len({part.component for part in found.components}) == len(bits) == 5
        for part in found.components:
            assert part.rate == detector.rates[part.component]
    with pytest.raises(IndexError):
        result.explain(len(result.bits))


def test_components_are_named_for_their_mask_and_attribution_bits(detector, digits, x, result):
    outputs, attributions, strengths, _ = digits.run.explain(x[:40], "predicted")
    active = strengths >= detector.profile.threshold
    mask = detector.profile.scores["mask_bits"].code.lengths(active, result.prediction[:40])
    code = detector.profile.scores["attribution_bits"].code
    predicted = oracles.predicted(outputs, result.prediction[:40])
    bits = mask + code.bits(attributions, predicted)[1]
    for n in range(40):
        top = np.sort(bits[n])[::-1][:5]
        np.testing.assert_allclose(result.component_bits[n], top, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(bits[n][result.components[n]], top, rtol=1e-3, atol=1e-3)


def test_a_component_that_no_trusted_input_uses_is_no_reason_to_trust():
    """Six numbers are read off six coordinates, the last of which no trusted input has."""
    rng = np.random.default_rng(0)
    x = (rng.random((900, 6)) < 0.5) * rng.uniform(0.5, 1.5, (900, 6))
    x[:, -1] = 0
    target = apd.Target.of(torch.nn.Linear(6, 6, bias=False).double(), torch.from_numpy(x))
    columns = torch.eye(6, dtype=torch.float64)[:, None]
    parts = Factors(target.weight("weight").T[:, None], columns)
    components = apd.Components.of({"weight": parts})
    nothing = torch.zeros(0, dtype=torch.int64)
    run = apd.Run(target, components, 3.0, apd.Config(), nothing, nothing, "", [], {})
    detector = mad.Detector.fit(run, x, explain="all")
    assert detector.profile.trusted.tolist() == [True] * 5 + [False]
    usual = detector.score(x).terms["residual_bits"].max()
    x[:, -1] = 1.5
    odd = detector.score(x).terms["residual_bits"]
    assert odd.min() > 100 > 10 * usual


# --- detection ------------------------------------------------------------------------------


def test_the_backdoor_is_found_and_told_from_its_look_alike(digits, kind, result):
    """The goal at full length is 0.99 and 0.98; this is a short training."""
    anomaly = digits.toy.inputs.is_anomaly.numpy()
    bits = result.bits
    assert anomaly.sum() > 200
    assert auroc(bits[kind == "clean"], bits[anomaly]) > 0.98
    assert auroc(bits[kind == "look-alike"], bits[anomaly]) > 0.95
    assert result.flagged(0.01)[anomaly].mean() > 0.8


def test_clean_inputs_are_flagged_about_as_often_as_alpha(detector, kind, result):
    """Within four standard deviations of the inputs' and the calibration's chance together."""
    flagged = result.p_value[kind == "clean"]
    for alpha in (0.05, 0.1, 0.3):
        spread = alpha * (1 - alpha) * (1 / len(flagged) + 1 / len(detector.calibrated))
        assert abs((flagged <= alpha).mean() - alpha) <= 4 * math.sqrt(spread)


def test_the_components_named_for_a_trigger_are_not_those_of_clean_inputs(
    detector, digits, kind, result
):
    """Two of fifty and more stand out among the triggered, and clean inputs are not put to them."""
    anomaly = digits.toy.inputs.is_anomaly.numpy()
    named = np.bincount(result.components[anomaly, 0])
    culprits = named.argsort()[-2:]
    assert named[culprits].sum() / anomaly.sum() > 0.6
    assert np.isin(result.components[kind == "clean", 0], culprits).mean() < 0.2


# --- the reference --------------------------------------------------------------------------


def rows_in(reference: np.ndarray, part: np.ndarray) -> list[int]:
    where = {row.tobytes(): n for n, row in enumerate(reference)}
    assert len(where) == len(reference)
    return [where[row.tobytes()] for row in part]


def test_decomposed_profiled_and_calibrated_rows_are_three_parts(detector, digits):
    reference = digits.toy.reference.numpy()
    decomposed = digits.run.rows.tolist()
    profiled = rows_in(reference, detector.profiled)
    calibrated = rows_in(reference, detector.calibrated)
    assert sorted(decomposed + profiled + calibrated) == list(range(800))
    assert (len(decomposed), len(profiled), len(calibrated)) == (320, 288, 192)
    assert profiled != sorted(profiled)


def test_the_seed_picks_the_parts(detector, digits):
    reference = digits.toy.reference
    again = mad.Detector.fit(digits.run, reference.numpy())
    assert np.array_equal(again.calibration.bits, detector.calibration.bits)
    other = mad.Detector.fit(digits.run, reference, seed=1)
    assert not np.array_equal(other.profiled, detector.profiled)
    assert len(other.profiled) == len(detector.profiled)


def test_all_of_another_reference_is_used(digits, x, kind):
    clean = x[kind == "clean"]
    fitted = mad.Detector.fit(digits.run, clean)
    assert sorted(rows_in(clean, fitted.profiled) + rows_in(clean, fitted.calibrated)) == list(
        range(len(clean))
    )


def test_fitting_and_scoring_leave_random_states_alone(digits, x):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    mad.Detector.fit(digits.run, x[:100]).score(x[:5])
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


@pytest.mark.parametrize("n", [1, 20, 46, 47])
def test_a_reference_is_used_or_refused_as_too_small(digits, x, n):
    """60 % of the rows profile, 20 at least; 19 at least calibrate."""
    if n < 47:
        with pytest.raises(mad.ReferenceError, match=r"too small.* 20 and 19 are needed"):
            mad.Detector.fit(digits.run, x[:n])
    else:
        assert len(mad.Detector.fit(digits.run, x[:n]).calibration.bits) == 19


def test_a_reference_that_repeats_rows_is_warned_of(small_run):
    """Where more than one in twenty calibrated inputs is profiled too."""
    run, _ = small_run
    x = np.random.default_rng(0).normal(size=(200, 5))
    with pytest.warns(mad.CalibrationWarning) as found:
        detector = mad.Detector.fit(run, np.repeat(x, 2, axis=0))
    profiled = {row.tobytes() for row in detector.profiled}
    count = sum(row.tobytes() in profiled for row in detector.calibrated)
    assert str(found[0].message).startswith(f"{count} of 160 calibrated inputs are profiled too")
    mad.Detector.fit(run, np.concatenate([x, x[:2]]))


def test_a_reference_of_nothing_is_refused(digits, x):
    with pytest.raises(mad.MadError):
        mad.Detector.fit(digits.run, x[:0])


@pytest.mark.parametrize("row", [5, 99])
def test_a_reference_that_is_not_finite_is_refused(digits, x, row):
    broken = x[:100].copy()
    broken[row, 3] = np.nan
    with pytest.raises(mad.ReferenceError, match=str(row)):
        mad.Detector.fit(digits.run, broken)


@pytest.mark.parametrize("part", ["profiled", "calibrated"])
def test_a_reference_that_takes_the_network_out_of_range_is_refused(detector, part):
    """Its bits would be no numbers, which sort as the most surprising of all."""
    held = {"profiled": detector.profiled, "calibrated": detector.calibrated}
    huge = held[part].copy()
    huge[[2, 5]] = np.finfo(huge.dtype).max
    with pytest.raises(mad.ReferenceError, match="2 of the trusted inputs take the network out"):
        fitted(detector.decomposition, "predicted", **{**held, part: huge}, kind=Pooled)
    with pytest.raises(mad.ReferenceError, match="of the trusted inputs take the network out"):
        detector.accept(huge)


# --- inputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 63), (4, 8, 8), (64,), (4, 64, 1), (4,)])
def test_inputs_of_another_shape_are_refused(detector, shape):
    with pytest.raises(mad.InputError, match=r"an input has shape .*; the target takes \(64,\)"):
        detector.score(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("nothing", [np.zeros((0, 64), dtype=np.float32), np.float32(3.0)])
def test_no_inputs_are_refused(detector, nothing):
    with pytest.raises(mad.InputError, match="no inputs"):
        detector.score(nothing)


def test_integers_are_refused_by_a_model_of_floats(detector):
    with pytest.raises(mad.InputError, match=r"the inputs are int64; the reference was float32"):
        detector.score(np.zeros((4, 64), dtype=np.int64))


@pytest.mark.parametrize(
    "odd", [np.full((4, 64), None), np.full((4, 64), "7"), np.zeros((4, 64), dtype=complex)]
)
def test_what_is_no_number_is_refused(detector, odd):
    with pytest.raises((mad.MadError, apd.ApdError)):
        detector.score(odd)


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        ([0, 1, 255], "uint8"),
        (np.array([0, 1, 255], dtype=">i2"), "uint8"),
        ([0.0, 255.0], "uint8"),
        ([True, False], "int64"),
        ([0, 1], "bool"),
        (np.array([2**63 - 1], dtype=np.uint64), "int64"),
        ([-(2**24), 3], "float32"),
        ([0.1, 1e300, np.nan], "float32"),
    ],
)
def test_numbers_are_taken_where_the_type_has_them(x, dtype):
    """By their values; floats to the nearest, and to infinity."""
    given = np.asarray(x)
    found = as_type(given, np.dtype(dtype))
    assert found.dtype == dtype
    with np.errstate(over="ignore"):
        expected = np.array([np.dtype(dtype).type(value) for value in given.tolist()])
    assert np.array_equal(found, expected, equal_nan=dtype == "float32")


@pytest.mark.parametrize(
    ("x", "dtype", "said"),
    [
        ([300], "uint8", "it holds whole numbers that uint8 does not have"),
        ([-1], "uint8", "whole numbers that uint8"),
        ([-1], "uint64", "whole numbers that uint64"),
        ([1e30], "uint8", "whole numbers that uint8"),
        ([2], "bool", "whole numbers that bool"),
        ([2**24 + 1], "float32", "whole numbers that float32"),
        ([1.5], "int64", "it holds fractions, where int64 is needed"),
        ([np.nan], "int64", "it holds NaN or infinity, where int64 is needed"),
        ([-np.inf], "bool", "NaN or infinity"),
        (["7"], "int64", "it holds <U1, which is no type of number"),
        ([1, None], "float32", "it holds object, which is no type of number"),
    ],
)
def test_numbers_that_a_type_does_not_have_are_refused(x, dtype, said):
    with pytest.raises(mad.InputError, match=said):
        as_type(np.asarray(x), np.dtype(dtype), "it")


# --- explaining another output --------------------------------------------------------------


def test_explaining_all_outputs_ranks_by_the_paper_s_strength(few_rows, digits, x):
    other = few_rows.explaining("all")
    assert other.explains == "all"
    found = other.score(x[:50])
    strengths = digits.run.explain(x[:50], "all")[2]
    active = strengths >= other.profile.threshold
    prices = np.log2(len(digits.run.ranks)) + digits.run.ranks
    np.testing.assert_allclose(found.terms["description_length"], active @ prices, atol=1e-5)


def test_explaining_one_output_is_about_that_output(few_rows, digits, x):
    other = few_rows.explaining(3)
    assert other.explains == 3
    assert np.array_equal(other.profiled, few_rows.profiled)
    assert np.array_equal(other.calibrated, few_rows.calibrated)
    assert np.array_equal(other.calibration.bits, np.sort(other.score(other.calibrated).bits))
    strengths = digits.run.explain(x[:50], 3)[2]
    active = strengths >= other.profile.threshold
    found = other.score(x[:50])
    prices = np.log2(len(digits.run.ranks)) + digits.run.ranks
    np.testing.assert_allclose(found.terms["description_length"], active @ prices, atol=1e-5)
    assert found.prediction.tolist() == few_rows.score(x[:50]).prediction.tolist()


def test_explaining_is_fitting_with_that_output(few_rows, digits, x):
    fitted = mad.Detector.fit(digits.run, digits.toy.reference[::4], explain=3)
    changed = few_rows.explaining(3)
    assert np.array_equal(fitted.score(x[:20]).bits, changed.score(x[:20]).bits)
    assert few_rows.explaining("predicted") is few_rows
    assert np.array_equal(
        changed.explaining("predicted").score(x[:20]).bits, few_rows.score(x[:20]).bits
    )


@pytest.mark.parametrize("output", [10, -1, "largest", "3"])
def test_an_output_that_is_not_there_is_refused(detector, output):
    with pytest.raises(mad.InputError, match=r"there is no output .* 0 to 9"):
        detector.explaining(output)


@pytest.mark.parametrize("output", [10, -1, "largest", True])
def test_an_output_that_is_not_there_is_refused_from_the_start(digits, output):
    with pytest.raises(mad.InputError, match=r"there is no output .* 0 to 9"):
        mad.Detector.fit(digits.run, digits.toy.reference, explain=output)


def test_what_compares_equal_to_the_output_explained_is_no_output(few_rows):
    changed = few_rows.explaining(1)
    with pytest.raises(mad.InputError, match="there is no output True"):
        changed.explaining(True)
    for output in (1.0, np.True_):
        with pytest.raises(mad.InputError, match="there is no output"):
            check_output(few_rows.decomposition, output, few_rows.profiled)
    check_output(few_rows.decomposition, np.int64(1), few_rows.profiled)


def test_a_detector_is_equal_to_itself_alone_and_can_be_a_key(detector):
    per_class = detector.calibrating("per-class")
    assert {detector: 1, per_class: 2}[detector] == 1
    assert detector != per_class
    assert detector in [per_class, detector]


# --- other networks -------------------------------------------------------------------------


def test_a_network_of_exact_mechanisms_and_sparse_inputs_can_be_profiled(tms):
    """Most inputs are zero, most components are dead, the residual is next to nothing."""
    detector = mad.Detector.fit(tms.run, tms.toy.reference[:3000], explain="all")
    found = detector.score(tms.toy.inputs.x[:500])
    assert np.isfinite(found.bits).all()
    assert found.flagged(0.01).mean() < 0.05
    dense = torch.rand(200, 5, generator=torch.Generator().manual_seed(0))
    assert np.median(detector.score(dense).bits) > np.quantile(found.bits, 0.9)


def test_a_network_that_is_not_decomposed_is_refused():
    """In a process whose types nothing checks."""
    code = "import mad, torch; mad.Detector.fit(torch.nn.Linear(4, 3), torch.zeros(90, 4))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mad.errors.InputError: a decomposed network is needed")
    assert last.endswith("this is a Linear")
