"""Every score against loops, and the contract that all of them keep."""

import itertools
import math
from dataclasses import FrozenInstanceError, fields, is_dataclass

import numpy as np
import oracles
import pytest
from problems import random_evidence

from mad.codes import TreeCode
from mad.evidence import Evidence
from mad.predicted import Predicted
from mad.scores import (
    SCORES,
    TOTAL,
    AttributionBits,
    DescriptionLength,
    InputBits,
    MaskBits,
    OutputBits,
    ResidualBits,
)
from mad.store import pack, unpack

COUNT, OUTPUTS = 7, 4
RANKS = np.array([3.0, 0, 1, 2, 1, 5, 2])


@pytest.fixture(scope="module")
def reference() -> Evidence:
    return random_evidence(80, seed=0)


@pytest.fixture(scope="module")
def fresh() -> Evidence:
    return random_evidence(30, seed=1)


def replaced(evidence: Evidence, **changes) -> Evidence:
    return Evidence(**{**{f.name: getattr(evidence, f.name) for f in fields(Evidence)}, **changes})


# --- the contract ---------------------------------------------------------------------------


@pytest.fixture(params=SCORES)
def score(request, reference):
    return SCORES[request.param].fit(reference, RANKS)


def test_the_total_is_made_of_scores_that_there_are():
    assert set(TOTAL) == set(SCORES) - {"description_length"}


def test_a_fitted_score_is_a_frozen_dataclass(score):
    assert type(score) in SCORES.values()
    assert is_dataclass(score)
    with pytest.raises(FrozenInstanceError):
        setattr(score, fields(score)[0].name, None)


def test_bits_are_finite_and_one_per_input(score, reference, fresh):
    for evidence in (reference, fresh):
        n = len(evidence.outputs)
        total, by_component = score.bits(evidence)
        assert total.shape == (n,)
        assert np.isfinite(total).all()
        assert (total >= 0).all()
        if by_component is not None:
            assert by_component.shape == (n, COUNT)
            assert np.isfinite(by_component).all()


@pytest.mark.parametrize("chosen", [slice(4, 5), slice(None, None, -1), slice(3, 20)])
def test_an_inputs_bits_depend_on_its_own_evidence_alone(score, fresh, chosen):
    for part, whole in zip(score.bits(fresh.rows(chosen)), score.bits(fresh), strict=True):
        if whole is not None:
            np.testing.assert_allclose(part, whole[chosen], rtol=0, atol=1e-9)


def test_a_score_taken_apart_is_arrays_and_comes_back_the_same(score, fresh):
    arrays = {f"name/{key}": array for key, array in pack(score).items()}
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    again = unpack(type(score), arrays, "name/")
    assert type(again) is type(score)
    for found, expected in zip(again.bits(fresh), score.bits(fresh), strict=True):
        assert np.array_equal(found, expected)
    for key in arrays:
        with pytest.raises(KeyError, match=key):
            unpack(type(score), {k: v for k, v in arrays.items() if k != key}, "name/")


def test_fitting_leaves_the_evidence_alone(reference):
    before = {f.name: getattr(reference, f.name).copy() for f in fields(Evidence)}
    for kind in SCORES.values():
        kind.fit(reference, RANKS).bits(reference)
    for name, array in before.items():
        assert np.array_equal(getattr(reference, name), array)


# --- mask bits ------------------------------------------------------------------------------


def test_mask_bits_are_the_tree_code_of_what_is_active_given_the_prediction(reference, fresh):
    bits, by_component = MaskBits.fit(reference, RANKS).bits(fresh)
    code = TreeCode.fit(reference.active, reference.prediction, OUTPUTS)
    each = code.lengths(fresh.active, fresh.prediction)
    np.testing.assert_array_equal(by_component, each)
    np.testing.assert_allclose(bits, each.sum(1))


def test_mask_bits_are_a_code(reference):
    """The lengths of all masks satisfy Kraft's inequality with equality."""
    masks = np.array(list(itertools.product([False, True], repeat=COUNT)))
    same = np.full(len(masks), reference.prediction[0])
    every = replaced(random_evidence(len(masks), seed=2), active=masks, prediction=same)
    assert math.isclose((2 ** -MaskBits.fit(reference, RANKS).bits(every).total).sum(), 1)


def test_what_the_reference_never_used_costs_most(reference):
    score = MaskBits.fit(reference, RANKS)
    assert not reference.active[:, 0].any()
    same = np.full(COUNT, reference.prediction[0])
    alone = np.eye(COUNT, dtype=bool)
    one = replaced(random_evidence(COUNT, seed=2), active=alone, prediction=same)
    bits, by_component = score.bits(one)
    assert by_component.argmax(1)[0] == 0
    assert bits.argmax() == 0
    assert score.code.counts(80)[0] == 0


# --- description length ---------------------------------------------------------------------


def test_description_length_is_the_loop(reference, fresh):
    bits = DescriptionLength.fit(reference, RANKS).bits(fresh).total
    for n in range(30):
        active = [c for c in range(COUNT) if fresh.active[n, c]]
        assert math.isclose(bits[n], sum(math.log2(COUNT) + RANKS[c] for c in active))


def test_only_mask_and_attribution_bits_are_about_components(reference, fresh):
    about = {
        n for n, kind in SCORES.items() if kind.fit(reference, RANKS).bits(fresh)[1] is not None
    }
    assert about == {"mask_bits", "attribution_bits"}


# --- attribution bits -----------------------------------------------------------------------


def predicted(evidence):
    return oracles.predicted(evidence.outputs, evidence.prediction)


@pytest.fixture(scope="module")
def hardly(reference):
    """One component hardly contributes, and is taken to vary by a tenth of an average one."""
    attributions = reference.attributions.copy()
    attributions[:, 2] *= 0.01
    return replaced(reference, attributions=attributions)


@pytest.fixture(scope="module")
def gaussian(hardly):
    return oracles.Gaussian(hardly.attributions, predicted(hardly), least=0.1)


def test_attribution_bits_are_a_code_of_all_contributions_given_the_prediction(
    hardly, fresh, gaussian
):
    score = AttributionBits.fit(hardly, RANKS)
    slow = gaussian.lengths(fresh.attributions, predicted(fresh))
    np.testing.assert_allclose(
        score.bits(fresh).total, np.abs(slow - score.code.typical[fresh.prediction]), rtol=1e-8
    )


def test_a_component_answers_for_contributing_more_than_usual(hardly, fresh, gaussian):
    fast = AttributionBits.fit(hardly, RANKS).bits(fresh).by_component
    sure = predicted(fresh).confidence
    for n in range(0, 30, 5):
        row, k = fresh.attributions[n], fresh.prediction[n]
        for c in range(COUNT):
            more = max(0, row[c] - gaussian.means[k][c]) / gaussian.scale[c]
            bits = sure[n] * more**2 / gaussian.covariance[k][c, c] / (2 * math.log(2))
            assert math.isclose(fast[n, c], bits, rel_tol=1e-7, abs_tol=1e-9)


def test_attributions_usual_for_one_prediction_are_odd_for_another(reference):
    score = AttributionBits.fit(reference, RANKS)
    swapped = replaced(reference, prediction=(reference.prediction + 1) % OUTPUTS)
    assert np.median(score.bits(swapped).total) > np.median(score.bits(reference).total)


def test_signs_and_conjunctions_matter(reference, fresh):
    """Each attribution stays as large, or as usual by itself; together they are odd."""
    score = AttributionBits.fit(reference, RANKS)
    usual = np.median(score.bits(fresh).total)
    flipped = replaced(fresh, attributions=-fresh.attributions)
    assert np.median(score.bits(flipped).total) > 2 * usual
    rng = np.random.default_rng(4)
    own = [np.flatnonzero(reference.prediction == k) for k in fresh.prediction]
    shuffled = np.empty_like(fresh.attributions)
    for n, c in np.ndindex(shuffled.shape):
        shuffled[n, c] = reference.attributions[rng.choice(own[n]), c]
    assert np.median(score.bits(replaced(fresh, attributions=shuffled)).total) > 2 * usual


def test_attributions_that_are_too_typical_cost_bits(reference, fresh):
    score = AttributionBits.fit(reference, RANKS)
    too_typical = score.code.means[fresh.prediction]
    bits = score.bits(replaced(fresh, attributions=too_typical)).total
    code, k = score.code, fresh.prediction
    np.testing.assert_allclose(bits, np.abs(code.typical[k] - code.volume[code.kind[k]]))
    assert (bits > np.median(score.bits(fresh).total)).all()


# --- input bits -----------------------------------------------------------------------------


def test_input_bits_are_a_code_of_the_shares_of_what_came_in_given_the_prediction(reference, fresh):
    score = InputBits.fit(reference, RANKS)
    told, new = (
        np.stack([row / sum(abs(each) for each in row) for row in e.input_effects])
        for e in (reference, fresh)
    )
    gaussian = oracles.Gaussian(told, predicted(reference), own=1.0, alike=True)
    slow = gaussian.lengths(new, predicted(fresh))
    found = score.bits(fresh)
    typical = score.code.typical[fresh.prediction]
    np.testing.assert_allclose(found.total, np.abs(slow - typical), rtol=1e-8)
    assert found.by_component is None
    swapped = replaced(reference, prediction=(reference.prediction + 1) % OUTPUTS)
    assert np.median(score.bits(swapped).total) > np.median(score.bits(reference).total)


def test_input_bits_tell_fewer_coordinates_apart_where_classes_are_many(fresh, monkeypatch):
    """Three of five, so that every large class has room for a covariance of its own."""
    reference = random_evidence(200, seed=5)
    large = sum(count >= 25 for count in np.bincount(reference.prediction))
    assert large > 1
    monkeypatch.setattr("mad.codes.gaussian.MOST_NUMBERS", 16 * (1 + large) - 1)
    score = InputBits.fit(reference, RANKS)
    assert score.coordinates == 3
    assert len(score.code.precision) == 1 + large
    runs = [[row[0] + row[1], row[2] + row[3], row[4]] for row in fresh.input_effects]
    told = replaced(fresh, input_effects=np.array(runs))
    np.testing.assert_allclose(score.bits(fresh).total, score.bits(told).total)
    assert (score.bits(fresh).total > 0).all()


def test_where_nothing_comes_in_input_bits_are_finite(reference, fresh):
    nothing = np.zeros_like(fresh.input_effects)
    score = InputBits.fit(reference, RANKS)
    assert np.isfinite(score.bits(replaced(fresh, input_effects=nothing)).total).all()
    never = replaced(reference, input_effects=np.zeros_like(reference.input_effects[:, :1]))
    assert np.isfinite(InputBits.fit(never, RANKS).bits(never).total).all()


# --- output and residual bits ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "part", "other"),
    [(OutputBits, "masked", "on_trusted"), (ResidualBits, "on_trusted", "masked")],
)
def test_output_and_residual_bits_code_what_is_left_unexplained(
    reference, fresh, kind, part, other
):
    score = kind.fit(reference, RANKS)
    left = [e.outputs - getattr(e, part) for e in (reference, fresh)]
    gaussian = oracles.Gaussian(left[0], Predicted.alike(80))
    slow = [gaussian.length(row, 0, 1) for row in left[1]]
    usual = score.bits(fresh).total
    np.testing.assert_allclose(usual, np.abs(slow - score.code.typical), rtol=1e-8)

    shift = np.full(OUTPUTS, 3.0)
    both = replaced(fresh, outputs=fresh.outputs + shift, **{part: getattr(fresh, part) + shift})
    np.testing.assert_allclose(score.bits(both).total, usual, rtol=1e-6)
    elsewhere = replaced(fresh, **{other: getattr(fresh, other) + shift})
    assert np.array_equal(score.bits(elsewhere).total, usual)
    odd = replaced(fresh, **{part: getattr(fresh, part) + shift})
    assert (score.bits(odd).total > 10 * usual.max()).all()


@pytest.mark.parametrize(
    ("kind", "part", "much"), [(OutputBits, "masked", 0.01), (ResidualBits, "on_trusted", 1.0)]
)
def test_where_nothing_is_left_rounding_is_no_surprise_and_much_is(
    reference, fresh, kind, part, much
):
    rng = np.random.default_rng(6)

    def exact(e, lost=0.0):
        rounding = 1e-7 * rng.normal(size=e.outputs.shape) * np.abs(e.outputs).max()
        return replaced(e, **{part: e.outputs * (1 - lost) + rounding})

    score = kind.fit(exact(reference), RANKS)
    assert score.bits(exact(fresh)).total.max() < 0.01
    assert score.bits(exact(fresh, lost=much)).total.min() > 100


def test_what_is_not_trusted_counts_for_as_much_as_it_is_whatever_is_added_to_all(reference, fresh):
    """Were it a hundredth of the outputs, less than a bit; and biases are nobody's."""

    def odd(e, added, lost):
        outputs = e.outputs + added
        return replaced(e, outputs=outputs, on_trusted=outputs - lost * e.outputs)

    for lost, most in ((0.01, 1), (0.1, 100)):
        plain, high = (
            ResidualBits.fit(odd(reference, added, 0), RANKS).bits(odd(fresh, added, lost)).total
            for added in (0.0, 9.0)
        )
        np.testing.assert_allclose(plain, high, rtol=1e-6, atol=1e-9)
        assert most / 100 < np.median(plain) < most


def test_rounding_of_large_outputs_is_nothing_that_is_not_trusted(reference, fresh):
    """Outputs of a million that trusted components explain, but for one in a million."""
    outputs, later = (e.outputs + 1e6 for e in (reference, fresh))
    exact = replaced(reference, outputs=outputs, on_trusted=outputs)
    off = later + np.random.default_rng(0).normal(size=later.shape)
    rounded = replaced(fresh, outputs=later, on_trusted=off)
    assert ResidualBits.fit(exact, RANKS).bits(rounded).total.max() < 0.01
