"""What a report says, against counts and sorts by other means."""

import dataclasses
import warnings

import numpy as np
import pytest
from problems import numbers
from reported import ALPHA, report, table_of

import mad
from mad.drift import Tally
from mad.reports import Directed, Flagging, Gathered, report_of, wanted
from mad.reports.content import CARDS, FEWEST_ROWS, drawn_rows
from mad.reports.curves import threshold
from mad.reports.drawings import POINTS, direction, drawn
from mad.reports.gathered import KEPT
from mad.reports.words import largest, named


@pytest.fixture(scope="module")
def detector(small_run):
    run, x = small_run
    return mad.Detector.fit(run, x.numpy())


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Usual inputs, odd ones, and one of infinity."""
    made = numbers(31)(90, 5).numpy()
    made[60:] *= 3
    made[7, 2] = np.inf
    return made


@pytest.fixture(scope="module")
def result(detector, x):
    return detector.score(x)


@pytest.fixture(scope="module")
def gathered(detector, result):
    found = Gathered(detector.calibration)
    found.note(table_of(result))
    return found


@pytest.fixture(scope="module")
def made(gathered, detector, x):
    """The whole report, with every input at hand."""
    return report_of(
        gathered,
        Flagging(alpha=ALPHA, fdr=None),
        detector=detector,
        x=dict(enumerate(x)),
        directing=lambda c: Directed("0.weight", np.arange(5.0) - c, np.arange(7.0)),
        provenance={"inputs": "x.npz"},
        left_out=[],
    )


def test_the_verdict_counts(made, result):
    flagged = int((result.p_value <= ALPHA).sum())
    assert 0 < flagged < 89
    verdict = made.verdict
    assert (verdict.scored, verdict.flagged) == (89, flagged)
    assert (verdict.not_finite, verdict.first_not_finite) == (1, (7,))
    assert verdict.expected_false_alarms == pytest.approx(8.9)
    drift = result.drift()
    assert verdict.drift.p_value == drift.p_value
    assert verdict.drift.scores_differ == (drift.p_value <= 0.01)
    assert verdict.sentence.startswith(
        f"{flagged} of 89 scored inputs are flagged at alpha 0.1, where at most 8.9 false alarms"
    )
    assert "1 row held NaN or infinity" in verdict.sentence
    assert f"(p = {drift.p_value:.2g})" in verdict.sentence


def test_rows_are_the_most_surprising_flagged_then_others(made, result):
    flagged = np.flatnonzero(result.p_value <= ALPHA)
    others = np.setdiff1d(np.flatnonzero(result.finite), flagged)
    expected = [
        *sorted(flagged, key=lambda row: -result.bits[row]),
        *sorted(others, key=lambda row: -result.bits[row]),
    ][: max(len(flagged), FEWEST_ROWS)]
    assert [row.index for row in made.rows] == expected
    for row in made.rows:
        assert row.bits == result.bits[row.index]
        assert row.terms == {name: bits[row.index] for name, bits in result.terms.items()}
        named = result.components[row.index].tolist()
        assert [part.component for part in row.named] == named


@pytest.mark.parametrize(
    ("components", "unused", "expected"),
    [
        ([(7, 31.2), (2, 4.0)], 12.0, ["7 (31.2)", "2 (4.0)"]),
        ([(7, 31.2), (2, 4.0)], 1234.5, ["unused (1,234.5)", "7 (31.2)", "2 (4.0)"]),
        ([(7, 0.01), (2, 0.0)], 8.0, ["unused (8.0)"]),
        ([(7, 0.01), (2, 0.0)], 0.04, []),
        ([(7, 3.0)], None, ["7 (3.0)"]),
        ([(7, None)], None, ["7 (not finite)"]),
    ],
)
def test_named_are_those_with_bits_and_what_is_not_used_where_it_has_as_many(
    components, unused, expected
):
    assert named(components, unused) == expected


@pytest.mark.parametrize("size", [1, 7, 40])
def test_it_is_the_same_however_the_rows_come(size, gathered, result, detector):
    table = table_of(result)
    found = Gathered(detector.calibration)
    for first in range(0, 90, size):
        found.note({name: column[first : first + size] for name, column in table.items()})
    for field in dataclasses.fields(Gathered):
        if field.name not in ("calibration", "tally", "top"):
            assert getattr(found, field.name) == getattr(gathered, field.name), field.name
    assert found.tally.drift() == gathered.tally.drift()
    for name, column in gathered.top.items():
        np.testing.assert_array_equal(found.top[name], column)


def test_histograms_count_every_score_once(made, result, detector):
    edges = np.array(made.scores.edges)
    assert len(edges) <= 62
    bits = result.bits[result.finite]
    assert made.scores.batch == tuple(np.histogram(bits, edges)[0])
    assert sum(made.scores.batch) == 89
    usual = detector.calibration.bits
    assert made.scores.calibration == tuple(np.histogram(usual, edges)[0])
    assert sum(made.scores.calibration) == len(usual)


@pytest.mark.parametrize("alpha", [0.011, 0.05, 0.1, 0.5, 0.95])
def test_above_the_threshold_and_nowhere_else_inputs_are_flagged(alpha, detector):
    calibration = detector.calibration
    bits = np.concatenate([calibration.bits, numbers(32)(200).numpy() * 20])
    p = calibration.p_values(bits, np.zeros(len(bits), dtype=int))
    found = threshold(calibration, alpha)
    expected = np.zeros(len(bits), dtype=bool) if found is None else bits > found
    np.testing.assert_array_equal(p <= alpha, expected)
    assert threshold(detector.calibrating("per-class").calibration, alpha) is None


def test_p_values_are_shares_of_inputs(made, result):
    p = result.p_value[result.finite]
    assert made.p_values.p == tuple(np.unique(p))
    for value, share in zip(made.p_values.p, made.p_values.share, strict=True):
        assert share == pytest.approx(float((p <= value).mean()), rel=1e-12)


def test_cards_say_what_the_detector_explains(made, detector, x):
    assert [card.row for card in made.cards] == list(made.rows[:CARDS])
    for card in made.cards[:4]:
        found = detector.explain(x, card.row.index)
        assert card.prediction_without == found.prediction_without
        assert card.residual_share == found.residual_share
        assert card.outputs == tuple(found.outputs)
        assert card.compared == found.compared
        assert [near.row for near in card.neighbours] == [near.row for near in found.neighbours]
        for part, expected in zip(card.reasons, found.components, strict=True):
            assert part.component == expected.component
            assert (part.quantile, part.rate) == (expected.quantile, expected.rate)
            assert part.directions.read.values == tuple(np.arange(5.0) - part.component)
        assert card.drawing.values == tuple(x[card.row.index])


def test_use_is_counted_of_the_inputs_looked_at(made, detector, small_run, x, result):
    sound = np.delete(np.arange(90), 7)
    strengths = small_run[0].explain(x[sound], "predicted")[2]
    active = strengths >= detector.profile.threshold
    flagged = result.p_value[sound] <= ALPHA
    assert made.usage.sampled == 89
    assert made.usage.sampled_flagged == flagged.sum()
    for use in made.usage.components:
        assert use.batch == pytest.approx(active[:, use.component].mean())
        assert use.flagged == pytest.approx(active[flagged, use.component].mean())
        assert use.rate == detector.rates[use.component]
        assert use.named == (result.components[sound] == use.component).sum()
    differs = [max(abs(u.batch - u.rate), abs(u.flagged - u.rate)) for u in made.usage.components]
    assert differs == sorted(differs, reverse=True)


def test_without_a_detector_nothing_is_made_up(result):
    found = Gathered()
    found.note(table_of(result))
    told = report(found, alpha=None)
    assert told.verdict.drift is None
    assert told.verdict.expected_false_alarms is None
    assert told.scores.calibration is None
    assert told.scores.threshold is None
    assert told.cards == ()
    assert told.usage.sampled == 0
    assert {use.rate for use in told.usage.components} == {None}
    assert "not known" in told.verdict.sentence
    assert "alpha" not in told.verdict.sentence


def test_nothing_scored_is_a_report_too(detector, x):
    result = detector.score(np.full_like(x[:3], np.nan))
    found = Gathered(detector.calibration)
    found.note(table_of(result))
    told = report(found)
    assert (told.verdict.scored, told.verdict.not_finite) == (0, 3)
    assert told.rows == ()
    assert sum(told.scores.batch) == 0
    assert report(Gathered()).verdict.scored == 0


def test_discoveries_promise_another_thing(gathered):
    told = report(gathered, alpha=0.02, fdr=0.25)
    assert told.verdict.expected_false_alarms is None
    assert "at most a share 0.25 is false, on average" in told.verdict.sentence


def test_only_so_many_rows_are_kept_and_looked_at(gathered):
    rng = np.random.default_rng(5)
    bits = rng.normal(size=9000) * 50
    found = Gathered()
    for part in np.split(np.arange(9000), 9):
        found.note(
            {
                "index": part,
                "score_bits": bits[part],
                "p_value": np.full(1000, 0.5),
                "flagged": bits[part] > -50,
                "prediction": np.zeros(1000, dtype=int),
                "status": np.full(1000, "ok"),
            }
        )
    told = report(found)
    assert [row.bits for row in told.rows] == sorted(bits, reverse=True)[:KEPT]
    assert told.rows_left_out == (bits > -50).sum() - KEPT
    rows = wanted(found, row_bytes=8)
    assert rows == sorted(set(rows))
    assert {row.index for row in told.rows} | set(drawn_rows(9000).tolist()) == set(rows)
    assert len(wanted(found, row_bytes=2**40)) <= 3 * CARDS


def test_a_number_that_is_not_finite_is_none(gathered):
    table = {name: column.copy() for name, column in gathered.top.items()}
    table["score_bits"][:2] = np.inf, np.nan
    found = Gathered()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.note(table)
    rows = {row.index: row for row in report(found).rows}
    assert rows[int(table["index"][0])].bits is None
    assert sum(found.places.values()) == len(table["index"]) - 2


# --- drawings -----------------------------------------------------------------------------------


def test_images_are_levels_between_their_least_and_greatest_value():
    plane = np.array([[-1.0, 0.0, 3.0], [1.0, 2.0, 2.5]])
    found = drawn(plane)
    assert (found.kind, found.low, found.high) == ("image", -1, 3)
    np.testing.assert_array_equal(found.levels, np.rint((plane + 1) / 4 * 255))
    assert drawn(plane[None, :, None]) == found
    wide = numbers(36)(6, 5).numpy()
    assert drawn(np.stack([wide, 3 * wide])).levels == drawn(wide).levels
    assert drawn(np.stack([wide, 3 * wide], 2)).levels == drawn(wide).levels
    assert set(np.ravel(drawn(np.full((3, 4), 7.0)).levels)) == {0}


def test_square_numbers_are_images_and_others_series():
    x = numbers(33)(25).numpy()
    assert drawn(x) == drawn(x.reshape(5, 5))
    assert drawn(x[:24]).kind == "series"
    assert drawn(x[:9]).values == tuple(x[:9])
    assert drawn(np.zeros((5, 3, 7, 6))) is None
    assert drawn(np.array(3.5)) is None


def test_large_inputs_are_shrunk_by_means():
    x = numbers(34)(300, 70).numpy()
    found = drawn(x, 32)
    assert np.shape(found.levels) == (32, 32)
    long = numbers(35)(128 * 3).numpy()
    shrunk = drawn(long)
    assert shrunk.length == 384
    np.testing.assert_allclose(shrunk.values, long.reshape(128, 3).mean(1))


def test_whole_numbers_are_tokens():
    found = drawn(np.arange(100, dtype=np.int64))
    assert (found.kind, found.length, found.ids) == ("tokens", 100, tuple(range(48)))


def test_directions_have_zero_in_the_middle():
    v = np.array([0.0, -4.0, 1.0, 2.0, 0.5, 0.0])
    found = direction(v, (2, 3))
    assert (found.low, found.high, found.signed) == (-4, 4, True)
    assert np.ravel(found.levels)[1] == 0
    np.testing.assert_allclose(np.ravel(found.levels), (v + 4) / 8 * 255, atol=0.5)
    assert direction(v, (7,)).values == tuple(v)


def test_a_direction_is_an_image_in_the_shape_of_an_input_or_its_own_and_neurons_are_none():
    v = numbers(37)(25).numpy()
    assert direction(v, (25,)) == direction(v, (1, 5, 5))
    assert direction(v, (25,)).kind == "image"
    assert direction(v, (36,)).kind == "series"


def test_a_patch_is_the_image_of_its_strongest_channel():
    v = numbers(38)(16, 3, 5).numpy()
    v[11] *= 9
    assert direction(v, (1, 28, 28)) == direction(v[11], (3, 5))
    assert direction(v[:, :1, :1], (1, 28, 28)).kind == "series"
    assert direction(v[:, :1], (1, 28, 28)).kind == "series"


def test_the_tally_is_that_of_all_parts(gathered, result):
    expected = Tally.of(
        result.calibration, result.bits[result.finite], result.prediction[result.finite]
    )
    np.testing.assert_array_equal(gathered.tally.places, expected.places)


def test_the_largest_numbers_of_a_direction_are_named_where_every_one_is_drawn():
    v = np.array([0.1, -0.9, 0.0, 0.354, -0.2])
    assert largest(direction(v, (5,))) == "1: -0.90, 3: +0.35, 4: -0.20"
    assert largest(direction(v[:2], (2,))) == "1: -0.90, 0: +0.10"
    assert largest(direction(np.arange(16.0), (4, 4))) == ""
    assert largest(direction(np.arange(POINTS + 1.0), (POINTS + 1,))) == ""
    assert largest(None) == ""
