"""The Gaussian code, against loops over rows and an independent Ledoit-Wolf."""

import math
import tracemalloc

import numpy as np
import oracles
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.model_selection import KFold

from mad.codes import GaussianCode, WideCode
from mad.codes.gaussian import most_coordinates
from mad.codes.spread import common_scale, own_scales, varying
from mad.codes.widest import shrinkage
from mad.predicted import Predicted

N, D, K = 110, 7, 4


@pytest.fixture(scope="module")
def data():
    """Correlated rows of four classes, the last empty, predicted more or less surely."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, K - 1, size=N)
    group[:2] = 1
    noise = np.einsum("nd,nde->ne", rng.normal(size=(N, D)), rng.normal(size=(K, D, D))[group])
    z = rng.normal(size=(K, D))[group] * 3 + noise
    z[:, 3] *= 50
    return z, Predicted(group, rng.uniform(0.2, 1, size=N), K)


@pytest.fixture(scope="module")
def code(data):
    return GaussianCode.fit(*data)


@pytest.fixture(scope="module")
def slow(data):
    return oracles.Gaussian(*data)


def one_each():
    """Every class once."""
    return Predicted.certain(np.arange(K), K)


def test_means_borrow_one_row_from_the_overall_mean(code, data):
    z, predicted = data
    np.testing.assert_allclose(code.means, oracles.class_means(z, predicted))
    np.testing.assert_allclose(code.means[K - 1], z.mean(0))
    sure = GaussianCode.fit(z, Predicted.certain(predicted.label, K))
    own = z[predicted.label == 1]
    np.testing.assert_allclose(sure.means[1], (own.sum(0) + z.mean(0)) / (len(own) + 1))


def test_every_class_has_the_precision_of_its_blend_of_shrunk_covariances(code, slow):
    assert slow.own > 0
    assert list(code.kind) == [1, 2, 3, 0]
    for k in range(K):
        covariance = slow.covariance[k] * np.outer(slow.scale, slow.scale)
        found = code.precision[code.kind[k]]
        np.testing.assert_allclose(found, np.linalg.inv(covariance), rtol=1e-7)


def test_classes_of_one_distribution_share_their_covariance():
    rng = np.random.default_rng(6)
    z = rng.normal(size=(90, 12)) @ rng.normal(size=(12, 12))
    predicted = Predicted.certain(np.arange(90) % 3, 3)
    code = GaussianCode.fit(z, predicted)
    assert oracles.shortest(z, predicted) == 0
    assert code.precision.shape == (1, 12, 12)
    assert not code.kind.any()


def test_classes_too_small_for_a_covariance_share_one(data):
    z = data[0][:24]
    code = GaussianCode.fit(z, Predicted.certain(np.zeros(24, dtype=int), 2))
    assert code.precision.shape == (1, D, D)


def test_as_many_coordinates_as_leave_every_large_class_its_own_covariance(data, monkeypatch):
    z, predicted = data
    monkeypatch.setattr("mad.codes.gaussian.MOST_NUMBERS", 4 * (D - 1) ** 2)
    assert most_coordinates(predicted) == D - 1
    assert GaussianCode.fit(z[:, 1:], predicted).precision.shape == (4, D - 1, D - 1)
    monkeypatch.setattr("mad.codes.gaussian.MOST_NUMBERS", 4 * D**2 - 1)
    assert most_coordinates(predicted) == D - 1
    few = predicted.rows(np.arange(24))
    assert most_coordinates(few) == math.isqrt(4 * D**2 - 1)


def test_classes_share_one_where_their_own_would_be_too_many_numbers(data, monkeypatch):
    monkeypatch.setattr("mad.codes.gaussian.MOST_NUMBERS", 4 * D**2)
    assert GaussianCode.fit(*data).precision.shape == (4, D, D)
    monkeypatch.setattr("mad.codes.gaussian.MOST_NUMBERS", 4 * D**2 - 1)
    assert GaussianCode.fit(*data).precision.shape == (1, D, D)


def test_code_lengths_are_those_of_the_loops(code, slow, data):
    fresh = np.random.default_rng(1).normal(size=(9, D)) * 5
    predicted = Predicted(np.arange(9) % K, np.linspace(0.3, 1, 9), K)
    np.testing.assert_allclose(code.lengths(fresh, predicted)[0], slow.lengths(fresh, predicted))
    np.testing.assert_allclose(code.lengths(*data)[0], slow.lengths(*data))


def test_differences_of_code_lengths_are_log_density_ratios(code, slow):
    """Two vectors of one class: bits apart by log2 of how much likelier the one is."""
    z = np.random.default_rng(2).normal(size=(2, D))
    density = multivariate_normal(
        slow.means[0], slow.covariance[0] * np.outer(slow.scale, slow.scale)
    ).logpdf(z)
    apart = np.diff(code.lengths(z, Predicted.certain(np.array([0, 0]), K))[0])[0]
    assert math.isclose(apart, (density[0] - density[1]) / math.log(2), rel_tol=1e-8)


def test_code_lengths_of_classes_compare_as_their_densities_do(code, slow):
    units = np.outer(slow.scale, slow.scale)
    z = np.random.default_rng(2).normal(size=D)
    lengths = code.lengths(np.stack([z, z]), Predicted.certain(np.array([0, 2]), K))[0]
    first, second = (
        multivariate_normal(slow.means[k], slow.covariance[k] * units).logpdf(z) for k in (0, 2)
    )
    assert math.isclose(lengths[1] - lengths[0], (first - second) / math.log(2), rel_tol=1e-7)


def test_the_typical_length_is_the_median_of_a_classs_rows_not_fitted_on(code, data):
    lengths, of = map(np.array, oracles.held_out(*data, oracles.shortest(*data)))
    expected = [np.median(lengths[of == k]) for k in range(K - 1)] + [np.median(lengths)]
    np.testing.assert_allclose(code.typical, expected, rtol=1e-8)
    assert np.ptp(code.typical[:3]) > 1


def test_fresh_rows_of_every_class_are_typical_and_odd_ones_are_not():
    """One class varies twice as much as the other, and is no odder for that."""
    rng = np.random.default_rng(7)

    def rows(n, stretch):
        return stretch * rng.normal(size=(n, 12)) * np.where(np.arange(n) % 2, 2, 1)[:, None]

    group = np.arange(400) % 2
    predicted = Predicted.certain(group, 2)
    code = GaussianCode.fit(rows(400, 1), predicted)
    fresh = code.lengths(rows(400, 1), predicted)[0] - code.typical[group]
    usual, odd = (code.bits(rows(400, stretch), predicted)[0] for stretch in (1, 2))
    for k in range(2):
        assert abs(np.median(fresh[group == k])) < 1
        assert np.median(odd[group == k]) > np.quantile(usual[group == k], 0.95)


def test_a_squared_distance_counts_as_far_as_the_network_is_sure(code, data):
    z, predicted = data
    volume = code.volume[code.kind[predicted.label]]
    found, of_coordinates = code.lengths(z, predicted)
    whole, of_sure = code.lengths(z, Predicted.certain(predicted.label, K))
    sure = predicted.confidence
    np.testing.assert_allclose(found - volume, sure * (whole - volume), atol=1e-9)
    np.testing.assert_allclose(of_coordinates, sure[:, None] * of_sure, atol=1e-9)


def test_only_differences_of_confidence_matter(code, data):
    z, predicted = data
    fainter = Predicted(predicted.label, 0.01 * predicted.confidence, K)
    other = GaussianCode.fit(z, fainter)
    np.testing.assert_allclose(other.means, code.means)
    for found, expected in zip(other.bits(z, fainter), code.bits(*data), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_what_the_network_hesitates_about_hides_nothing_among_the_rest():
    """Three times as far at a ninth of the confidence is as typical."""
    rng = np.random.default_rng(10)
    n, mixing = 600, np.random.default_rng(11).normal(size=(12, 12))
    hesitant = np.arange(n) % 3 == 0
    predicted = Predicted(np.zeros(n, dtype=int), np.where(hesitant, 1 / 9, 1), 1)
    blind = Predicted.alike(n)

    def rows(stretch):
        return stretch * rng.normal(size=(n, 12)) * np.where(hesitant, 3, 1)[:, None] @ mixing

    reference, fresh, odd = rows(1), rows(1), rows(2.5)[~hesitant]
    knowing, ignoring = GaussianCode.fit(reference, predicted), GaussianCode.fit(reference, blind)
    usual = knowing.bits(fresh, predicted)[0]
    assert 0.8 < np.median(usual[hesitant]) / np.median(usual[~hesitant]) < 1.25
    apart = knowing.bits(odd, predicted.rows(~hesitant))[0] > np.quantile(usual, 0.99)
    hidden = ignoring.bits(fresh, blind)[0]
    assert apart.mean() > 0.9
    assert (ignoring.bits(odd, blind.rows(~hesitant))[0] > np.quantile(hidden, 0.99)).mean() < 0.01


def test_bits_are_the_distance_from_the_typical_length(code, data):
    bits, of_coordinates = code.bits(*data)
    lengths, same = code.lengths(*data)
    np.testing.assert_allclose(bits, np.abs(lengths - code.typical[data[1].label]))
    assert np.array_equal(of_coordinates, same)


def test_the_mean_itself_is_untypical(code):
    lengths = code.lengths(code.means, one_each())[0]
    np.testing.assert_allclose(lengths, code.volume[code.kind])
    np.testing.assert_allclose(code.bits(code.means, one_each())[0], np.abs(code.typical - lengths))
    assert (code.typical - lengths).min() > 1


def test_a_vector_of_typical_length_costs_nothing(code, data):
    z, predicted = data[0][:1], data[1].rows(np.array([0]))
    group = predicted.label
    volume, typical = code.volume[code.kind[group]], code.typical[group]
    stretch = np.sqrt((typical - volume) / (code.lengths(z, predicted)[0] - volume))
    at_typical = code.means[group] + stretch * (z - code.means[group])
    np.testing.assert_allclose(code.bits(at_typical, predicted)[0], 0, atol=1e-9)
    for factor in (0.5, 2):
        other = code.means[group] + factor * stretch * (z - code.means[group])
        assert code.bits(other, predicted)[0] > 0.5 * (typical - volume)


def test_fresh_rows_are_typical_on_average(code):
    """Half of what the code never saw is longer than typical, half is shorter."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, K - 1, size=4000)
    rng.normal(size=(K, D))
    z = rng.normal(size=(4000, D))
    predicted = Predicted.certain(group, K)
    known, new = (predicted.rows(rows) for rows in (np.arange(400), np.arange(400, 4000)))
    fitted = GaussianCode.fit(z[:400], known)
    longer = (fitted.lengths(z[400:], new)[0] > fitted.typical[group[400:]]).mean()
    assert 0.4 < longer < 0.6


def test_a_coordinates_bits_are_those_of_its_own_density_above_the_mean(code, slow, data):
    z, predicted = data
    group, widened = predicted.label, 1 / np.sqrt(predicted.confidence)
    fast = code.bits(z, predicted)[1]
    assert fast.shape == (N, D)
    for n in range(0, N, 7):
        for j in range(D):
            variance = slow.covariance[group[n]][j, j] * slow.scale[j] ** 2
            density = norm(slow.means[group[n], j], widened[n] * math.sqrt(variance))
            bits = (density.logpdf(density.mean()) - density.logpdf(z[n, j])) / math.log(2)
            expected = bits if z[n, j] > density.mean() else 0
            assert math.isclose(fast[n, j], expected, rel_tol=1e-7, abs_tol=1e-9)


def test_a_coordinates_bits_find_the_cause(code, slow, data):
    z, predicted = data
    odd = z.copy()
    odd[:, 6] += 40 * slow.scale[6]
    assert (code.bits(odd, predicted)[1].argmax(1) == 6).all()


def test_units_do_not_matter(code, data):
    z, predicted = data
    units = np.array([1, 2, 0.5, 3, 1, 4, 0.8])
    other = GaussianCode.fit(z * units, predicted)
    for found, expected in zip(other.bits(z * units, predicted), code.bits(*data), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("columns", [[2], list(range(D))])
def test_coordinates_that_never_varied_cost_bits_once_they_do(data, columns):
    z, predicted = data[0].copy(), data[1]
    z[:, columns] = 1.5
    odd = z.copy()
    odd[:, 2] += 1
    code, wide = GaussianCode.fit(z, predicted), WideCode.fit(z, 0.0)
    assert np.isfinite(code.bits(z, predicted)[0]).all()
    assert (code.bits(odd, predicted)[0] > code.bits(z, predicted)[0]).all()
    assert np.isfinite(wide.bits(z)).all()
    assert (wide.bits(odd) > wide.bits(z)).all()


@pytest.mark.parametrize("own", [0.0, 0.5, 1.0])
def test_codes_of_coordinates_of_one_unit_are_those_of_the_loops(data, own):
    code = GaussianCode.fit(*data, common_scale, [own])
    slow = oracles.Gaussian(*data, own=own, alike=True)
    np.testing.assert_allclose(code.lengths(*data)[0], slow.lengths(*data))


def test_of_coordinates_of_one_unit_those_that_hardly_vary_count_for_less():
    """What is shrunk, is shrunk towards the variance of an average one."""
    z = np.random.default_rng(8).normal(size=(40, D)) * [1, 2, 0.5, 3, 1, 0, 1e-3]
    predicted = Predicted.certain(np.arange(len(z)) % 2, 2)
    odd = np.zeros((1, D))
    odd[0, 6] = 0.01
    costs = [
        GaussianCode.fit(z, predicted, scales).lengths(odd, predicted.rows(np.array([0])))[0][0]
        for scales in (own_scales, common_scale)
    ]
    assert costs[0] > 20 > 1 > costs[1]


def test_a_class_that_never_varied_has_a_covariance_of_its_own_all_the_same():
    rng = np.random.default_rng(9)
    z, group = rng.normal(size=(80, D)), np.arange(80) % 2
    z[group == 1] = 0.5
    predicted = Predicted.certain(group, 2)
    code = GaussianCode.fit(z, predicted, common_scale, [1.0])
    found = code.bits(z, predicted)[0]
    assert np.isfinite(found).all()
    assert (code.bits(z + 0.1, predicted)[0][group == 1] > found[group == 1]).all()


def test_rounding_of_equal_numbers_is_no_variance():
    """The mean of thirty times 0.1 is not 0.1."""
    z = np.full((30, D), 0.1)
    assert (z.mean(0) != z[0]).any()
    odd = z[:1] + 1e-3
    cost = 0.5 * D * 1e-6 / math.log(2)
    assert 0.5 * cost < WideCode.fit(z, 0.0).lengths(odd)[0] < 1.1 * cost
    for scales in (own_scales, common_scale):
        code = GaussianCode.fit(z, Predicted.alike(30), scales)
        assert 0.5 * cost < code.lengths(odd, Predicted.alike(1))[0][0] < 1.1 * cost
    z[:, 1:] = np.random.default_rng(4).normal(size=(30, D - 1))
    np.testing.assert_array_equal(varying(z - z.mean(0), z)[:, 1:], (z - z.mean(0))[:, 1:])


def test_more_coordinates_than_rows_can_be_coded():
    rng = np.random.default_rng(3)
    z, predicted = rng.normal(size=(20, 30)), Predicted.alike(20)
    code, wide = GaussianCode.fit(z, predicted), WideCode.fit(z, 0.0)
    assert np.isfinite(code.bits(z, predicted)[0]).all()
    assert (code.bits(z + 10, predicted)[0] > code.bits(z, predicted)[0]).all()
    np.testing.assert_allclose(wide.bits(z), code.bits(z, predicted)[0], rtol=1e-8)


# --- many coordinates -----------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 2, D])
def test_with_directions_for_all_coordinates_a_wide_code_is_the_full_one(data, columns):
    z = data[0][:, :columns]
    together = Predicted.alike(N)
    full, wide = GaussianCode.fit(z, together), WideCode.fit(z, 0.0)
    assert wide.directions.shape == (columns, columns - 1)
    assert math.isclose(wide.typical, full.typical[0], rel_tol=1e-8)
    for x in (z, 10 * z + 3):
        np.testing.assert_allclose(wide.bits(x), full.bits(x, together)[0], rtol=1e-7)


@pytest.mark.parametrize("kept", [0, 2, 5])
def test_a_wide_code_is_that_of_a_covariance_isotropic_outside_its_directions(
    data, monkeypatch, kept
):
    z = data[0]
    monkeypatch.setattr("mad.codes.wide.MOST_DIRECTIONS", kept)
    wide, slow = WideCode.fit(z, 0.0), oracles.IsotropicGaussian(z, kept)
    assert wide.directions.shape == (D, kept)
    fresh = np.random.default_rng(1).normal(size=(9, D)) * 5
    np.testing.assert_allclose(wide.lengths(fresh), [slow.length(row, 0, 1) for row in fresh])
    held_out = []
    for rows, others in KFold(5, shuffle=True, random_state=0).split(z):
        fold = oracles.IsotropicGaussian(z[rows], kept)
        held_out += [fold.length(row, 0, 1) for row in z[others]]
    assert math.isclose(wide.typical, float(np.median(held_out)), rel_tol=1e-8)


def test_wide_codes_of_wide_outputs_are_small():
    z = np.random.default_rng(0).normal(size=(50, 300))
    wide = WideCode.fit(z, 0.0)
    assert wide.directions.shape == (300, 64)
    assert (wide.bits(z + 3) > wide.bits(z)).all()


@pytest.mark.parametrize("n", [40, 250])
def test_directions_that_stand_out_are_found_among_many_coordinates(monkeypatch, n):
    """Fewer rows than coordinates or more, one coordinate that never varied among them."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=(n, 4)) * [9, 7, 5, 4] @ rng.normal(size=(4, 120))
    z += 0.1 * rng.normal(size=z.shape)
    z[:, 17] = 3
    monkeypatch.setattr("mad.codes.wide.MOST_DIRECTIONS", 4)
    wide, slow = WideCode.fit(z, 0.0), oracles.IsotropicGaussian(z, 4)
    fresh = rng.normal(size=(9, 120))
    np.testing.assert_allclose(wide.lengths(fresh), [slow.length(row, 0, 1) for row in fresh])


@pytest.mark.parametrize(("n", "columns"), [(30, 90), (90, 30), (20, 1), (25, 25)])
def test_the_share_of_the_identity_is_that_of_scikit_learn(n, columns):
    z = np.random.default_rng(2).normal(size=(n, columns)) * np.linspace(0.1, 3, columns)
    z -= z.mean(0)
    expected = ledoit_wolf_shrinkage(z, assume_centered=True)
    assert shrinkage(z) == pytest.approx(expected, rel=1e-9)
    assert shrinkage(np.zeros((n, columns))) == 0


def test_fitting_a_wide_code_forms_nothing_of_all_pairs_of_coordinates():
    z = np.random.default_rng(0).normal(size=(30, 6_000))
    tracemalloc.start()
    WideCode.fit(z, 0.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < z.shape[1] ** 2 * z.itemsize / 4


@pytest.mark.parametrize("columns", [[1.0, 1.0], [1.0, 1.0, 2.0], [1.0, 0.0, -3.0, 1.0]])
def test_coordinates_that_go_together_exactly_have_a_code(columns):
    """Shrinkage is none where all rows are one or the other of two, and its covariance singular."""
    z = np.tile(np.outer([1.0, -1.0], columns), (50, 1))
    wide, gaussian = WideCode.fit(z, 0.0), GaussianCode.fit(z, Predicted.alike(100))
    apart = z[:1] + np.eye(len(columns))
    for bits in (wide.bits, lambda rows: gaussian.bits(rows, Predicted.alike(len(rows)))[0]):
        assert (bits(z) < 5).all()
        assert (bits(apart) > 100).all()
