"""The baselines: one contract for all of them, and a slow twin or an identity for each."""

import itertools
import math
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import oracles
import pytest
from scipy.linalg import expm
from scipy.stats import ortho_group
from sklearn import neighbors
from sklearn.decomposition import PCA

from mad import baselines
from mad.baselines import BASELINES, OFFLINE, Observed, Predicted, features
from mad.baselines.classes import ENOUGH_ROWS
from mad.codes import GaussianCode
from mad.errors import InputError, ReferenceError

N, P, D, H = 120, 7, 4, (6, 5, 8)
EVERY = {**BASELINES, **OFFLINE}
LEARNT = [name for name in EVERY if name not in ("confidence", "energy", "logit_norm")]


def centres(rng, width: int) -> np.ndarray:
    return 4 + 1.2 * rng.normal(size=(D, width))


def observe(seed: int, n: int = N) -> Observed:
    """Classes that differ everywhere; the networks are the same whatever the seed."""
    rng, network = np.random.default_rng(seed), np.random.default_rng(100)
    k = np.arange(n) % D
    rng.shuffle(k)

    def about(width: int) -> np.ndarray:
        return centres(network, width)[k] + rng.normal(size=(n, width))

    return Observed(
        inputs=about(P),
        outputs=3 * np.eye(D)[k] + rng.normal(size=(n, D)),
        prediction=k,
        activations=tuple(np.maximum(about(width), 0) for width in H),
        input_gradient=about(P),
        neuron_effects=tuple(about(width) for width in H),
    )


def rows(seen: Observed, chosen) -> Observed:
    def of(part):
        return tuple(layer[chosen] for layer in part) if isinstance(part, tuple) else part[chosen]

    return Observed(**{f.name: of(getattr(seen, f.name)) for f in fields(Observed)})


def outliers() -> Observed:
    """Unsure, and in every other respect far off, the first layers like another class's inputs."""
    seen = rows(observe(2), slice(9))
    other = rows(
        observe(0), [np.flatnonzero(observe(0).prediction != k)[0] for k in seen.prediction]
    )
    far = 40 * np.random.default_rng(3).normal(size=(len(seen.outputs), H[-1]))
    return replace(
        other,
        inputs=20 * other.inputs,
        outputs=np.full_like(seen.outputs, -100),
        prediction=seen.prediction,
        activations=(*(20 * layer for layer in other.activations[:-1]), np.abs(far)),
        input_gradient=20 * other.input_gradient,
        neuron_effects=tuple(-20 * layer for layer in other.neuron_effects),
    )


@pytest.fixture(scope="module")
def reference():
    return observe(0)


@pytest.fixture(scope="module")
def fresh():
    return observe(1, 31)


@pytest.fixture(scope="module")
def last(reference):
    """The last layer's activations, what a statistic of them is fitted to."""
    return features.last_layer(reference), reference.predicted


@pytest.fixture(scope="module")
def asked(fresh):
    return features.last_layer(fresh), fresh.predicted


# --- the contract -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_a_score_is_one_finite_number_per_input_and_refitting_repeats_it(name, reference, fresh):
    scores = EVERY[name](reference).score(fresh)
    assert scores.shape == (31,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > (5 if name == "ted" else 25)
    np.testing.assert_array_equal(EVERY[name](reference).score(fresh), scores)


@pytest.mark.parametrize("name", BASELINES)
def test_a_score_is_a_function_of_its_row_alone(name, reference, fresh):
    fitted = BASELINES[name](reference)
    scores = fitted.score(fresh)
    order = np.random.default_rng(4).permutation(31)
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(fitted.score(rows(fresh, order)), scores[order], **close)
    np.testing.assert_allclose(fitted.score(rows(fresh, slice(3, 5))), scores[3:5], **close)
    np.testing.assert_allclose(fitted.score(rows(fresh, [17])), scores[17:18], **close)


@pytest.mark.parametrize("name", OFFLINE)
def test_an_offline_score_follows_its_row_but_depends_on_the_batch(name, reference, fresh):
    fitted = OFFLINE[name](reference)
    scores = fitted.score(fresh)
    order = np.random.default_rng(4).permutation(31)
    np.testing.assert_allclose(fitted.score(rows(fresh, order)), scores[order], rtol=1e-9)
    assert not np.allclose(fitted.score(rows(fresh, slice(9))), scores[:9], rtol=0.01)


@pytest.mark.parametrize("name", BASELINES)
def test_far_outliers_score_above_everything_typical(name, reference, fresh):
    fitted = BASELINES[name](reference)
    assert fitted.score(outliers()).min() > fitted.score(fresh).max()


@pytest.mark.parametrize("name", OFFLINE)
def test_a_tenth_of_a_batch_shifted_alike_scores_above_the_rest(name, reference):
    batch = observe(1)
    shifted = batch.prediction == 2
    shifted &= np.cumsum(shifted) <= 5
    shift = 12 * shifted[:, None] * np.eye(H[-1])[1]
    batch = replace(batch, activations=(*batch.activations[:-1], batch.activations[-1] + shift))
    scores = OFFLINE[name](reference).score(batch)
    assert scores[shifted].min() > scores[~shifted].max()


@pytest.mark.parametrize("name", EVERY)
def test_float32_is_scored_in_float64(name, reference, fresh):
    def single(seen: Observed) -> Observed:
        def of(part):
            if isinstance(part, tuple):
                return tuple(layer.astype(np.float32) for layer in part)
            return part if part.dtype == np.int64 else part.astype(np.float32)

        return Observed(**{f.name: of(getattr(seen, f.name)) for f in fields(Observed)})

    scores = EVERY[name](single(reference)).score(single(fresh))
    assert scores.dtype == np.float64
    expected = EVERY[name](reference).score(fresh)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", EVERY)
def test_classes_with_no_one_or_few_reference_inputs_are_scored(name, reference, fresh):
    of_class = [np.flatnonzero(reference.prediction == k) for k in range(D)]
    few = rows(reference, np.concatenate([of_class[0], of_class[1][:3], of_class[3][:1]]))
    fitted = EVERY[name](few)
    assert np.isfinite(fitted.score(fresh)).all()


@pytest.mark.parametrize("name", EVERY)
def test_what_never_varies_and_single_outputs_are_scored(name, reference, fresh):
    def dull(seen: Observed) -> Observed:
        zeros = np.zeros_like(seen.inputs)
        layers = [layer.copy() for layer in seen.activations]
        layers[0][:], layers[2][:, :3] = 0, 5
        effects = tuple(np.zeros_like(layer) for layer in layers)
        n = len(zeros)
        return Observed(zeros, seen.outputs[:, :1], np.zeros(n, int), tuple(layers), zeros, effects)

    scores = EVERY[name](dull(reference)).score(dull(fresh))
    assert scores.shape == (31,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", LEARNT)
def test_ten_reference_inputs_are_the_fewest(name, reference, fresh):
    assert np.isfinite(EVERY[name](rows(reference, slice(10))).score(fresh)).all()
    with pytest.raises(ReferenceError, match="at least 10 reference inputs"):
        EVERY[name](rows(reference, slice(9)))


# --- what is observed -------------------------------------------------------------------------


def test_features_are_what_their_names_say(reference):
    for name in ("first_layer", "last_layer", "all_layers", "neuron_effects"):
        own = reference.neuron_effects if name == "neuron_effects" else reference.activations
        own = {"first_layer": own[:1], "last_layer": own[-1:]}.get(name, own)
        found = getattr(features, name)(reference)
        np.testing.assert_array_equal(
            found, [np.concatenate(row) for row in zip(*own, strict=True)]
        )
    np.testing.assert_array_equal(features.inputs(reference), reference.inputs)
    products = [
        [g * x for g, x in zip(*pair, strict=True)]
        for pair in zip(reference.input_gradient, reference.inputs, strict=True)
    ]
    np.testing.assert_array_equal(features.input_effects(reference), products)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"prediction": s.prediction[1:]}, "same number of inputs"),
        (lambda s: {"activations": (*s.activations[:2], s.activations[2][1:])}, "same number"),
        (lambda s: {"activations": ()}, "no hidden layers"),
        (lambda s: {"neuron_effects": s.neuron_effects[:2]}, "not of the same layers"),
        (lambda s: {"neuron_effects": s.neuron_effects[::-1]}, "not of the same layers"),
        (lambda s: {"input_gradient": s.input_gradient[:, :1]}, "not of the same shape"),
        (lambda s: {"prediction": s.prediction.astype(float)}, "not whole numbers"),
        (lambda s: {"prediction": s.prediction + 1}, "the index of one of 4 outputs"),
        (lambda s: {"prediction": s.prediction - 1}, "the index of one of 4 outputs"),
        (lambda s: {"outputs": np.where(np.eye(N, D) > 0, np.nan, s.outputs)}, "NaN or infinity"),
        (lambda s: {"neuron_effects": tuple(h / 0 for h in s.neuron_effects)}, "NaN or infinity"),
    ],
)
def test_what_does_not_fit_together_is_refused(reference, change, message):
    with np.errstate(divide="ignore"):
        changed = change(reference)
    with pytest.raises(InputError, match=message):
        without_types(reference, changed)


def test_no_inputs_at_all_are_refused(reference):
    with pytest.raises(InputError, match="there are no inputs"):
        rows(reference, slice(0))


def without_types(seen: Observed, changed: dict) -> None:
    """Construct as where annotations are not executed: rows that disagree reach the class."""
    parts = {f.name: changed.get(f.name, getattr(seen, f.name)) for f in fields(Observed)}
    bare = object.__new__(Observed)
    for name, part in parts.items():
        object.__setattr__(bare, name, part)
    bare.__post_init__()


def test_baselines_come_without_torch():
    code = "import sys, mad.baselines; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- of the outputs ---------------------------------------------------------------------------


def test_confidence_is_minus_the_log_of_the_largest_softmax_probability(reference, fresh):
    scores = BASELINES["confidence"](reference).score(fresh)
    for score, z in zip(scores, fresh.outputs, strict=True):
        assert score == pytest.approx(-math.log(max(np.exp(z)) / sum(np.exp(z))), rel=1e-9)


def test_confidence_orders_the_all_but_certain(reference, fresh):
    sure = np.zeros((31, D))
    sure[:, 0] = 40 + np.arange(31)
    scores = BASELINES["confidence"](reference).score(replace(fresh, outputs=sure))
    assert (np.diff(scores) < 0).all()


def test_energy_falls_by_what_every_logit_rises(reference, fresh):
    fitted = BASELINES["energy"](reference)
    scores = fitted.score(fresh)
    slow = [-math.log(sum(math.exp(z) for z in row)) for row in fresh.outputs]
    np.testing.assert_allclose(scores, slow)
    shifted = replace(fresh, outputs=fresh.outputs + 900)
    np.testing.assert_allclose(fitted.score(shifted), scores - 900)


def test_the_logit_norm_is_two_sided(reference, fresh):
    typical = np.median([math.hypot(*row) for row in reference.outputs])
    unit = fresh.outputs / np.linalg.norm(fresh.outputs, axis=1, keepdims=True)
    distances = np.linspace(-typical, typical, 31)
    asked = replace(fresh, outputs=unit * (typical + distances)[:, None])
    scores = BASELINES["logit_norm"](reference).score(asked)
    np.testing.assert_allclose(scores, np.abs(distances), atol=1e-9)


# --- Gaussians --------------------------------------------------------------------------------


def labelled(z: np.ndarray, predicted: Predicted):
    """Every row, and the class predicted for it."""
    return zip(z, predicted.label, strict=True)


def squared_distance(deviation: np.ndarray, deviations: np.ndarray) -> float:
    return deviation @ np.linalg.inv(oracles.ledoit_wolf(deviations)) @ deviation


def small_class(last):
    """The last layer's features when class 3 has few rows, and class 2 none."""
    z, predicted = last
    k = predicted.label
    kept = (k < 2) | ((k == 3) & (np.cumsum(k == 3) < ENOUGH_ROWS))
    z, predicted, k = z[kept], predicted.rows(kept), k[kept]
    means = [z[k == j].mean(0) if (k == j).any() else z.mean(0) for j in range(D)]
    deviations = np.stack([row - means[j] for row, j in zip(z, k, strict=True)])
    return z, predicted, means, deviations


def test_mahalanobis_is_the_squared_distance_to_the_predicted_classs_mean(last, asked):
    z, predicted, means, deviations = small_class(last)
    slow = [squared_distance(row - means[j], deviations) for row, j in labelled(*asked)]
    fast = baselines.Mahalanobis.fit(z, predicted).score(*asked)
    np.testing.assert_allclose(fast, slow, rtol=1e-8)


def test_class_mahalanobis_has_the_shared_covariance_where_rows_are_few(last, asked):
    z, predicted, means, deviations = small_class(last)
    k = predicted.label
    of_class = {0: deviations[k == 0], 1: deviations[k == 1], 2: deviations, 3: deviations}
    slow = [squared_distance(row - means[j], of_class[j]) for row, j in labelled(*asked)]
    fast = baselines.ClassMahalanobis.fit(z, predicted).score(*asked)
    np.testing.assert_allclose(fast, slow, rtol=1e-8)


def test_relative_mahalanobis_takes_off_the_distance_to_all_classes_together(last, asked):
    z, predicted, means, deviations = small_class(last)
    centre = z.mean(0)
    slow = [
        squared_distance(row - means[j], deviations) - squared_distance(row - centre, z - centre)
        for row, j in labelled(*asked)
    ]
    fast = baselines.RelativeMahalanobis.fit(z, predicted).score(*asked)
    np.testing.assert_allclose(fast, slow, rtol=1e-8, atol=1e-8)
    one = baselines.RelativeMahalanobis.fit(z, Predicted.alike(len(z)))
    alike = Predicted.alike(len(asked[0]))
    np.testing.assert_allclose(one.score(asked[0], alike), 0, atol=1e-9)


def test_typicality_is_the_code_of_attribution_bits_and_two_sided(last, asked, fresh):
    sure = oracles.predicted(fresh.outputs, fresh.prediction)
    np.testing.assert_allclose(asked[1].confidence, sure.confidence)
    assert np.ptp(sure.confidence) > 0.1
    code = GaussianCode.fit(*last)
    fitted = baselines.Typicality.fit(*last)
    np.testing.assert_array_equal(fitted.score(*asked), code.bits(*asked)[0])
    at_the_mean = fitted.score(code.means, Predicted.certain(np.arange(D), D))
    expected = code.typical - code.volume[code.kind]
    np.testing.assert_allclose(at_the_mean, np.abs(expected))


def test_features_that_do_not_vary_leave_the_plain_distance(asked):
    constant = np.full((N, H[-1]), 2.0)
    fitted = baselines.Mahalanobis.fit(constant, Predicted.alike(N))
    expected = np.sum((asked[0] - 2) ** 2, axis=1)
    np.testing.assert_allclose(fitted.score(asked[0], Predicted.alike(31)), expected)


# --- principal components ---------------------------------------------------------------------


def spread_out(variances: np.ndarray) -> np.ndarray:
    """Rows whose covariance has these eigenvalues, in directions of no coordinate."""
    rng = np.random.default_rng(5)
    width = len(variances)
    raw = rng.normal(size=(3 * width, width))
    white = np.linalg.qr(raw - raw.mean(0))[0]
    return white * np.sqrt(variances) @ ortho_group.rvs(width, random_state=6) + 3


def principal(z: np.ndarray) -> baselines.Principal:
    return baselines.Principal.fit(baselines.Mahalanobis.fit, z, Predicted.alike(len(z)))


@pytest.mark.parametrize(
    ("variances", "kept"),
    [
        ([80, 14, 4, 1, 1], 3),
        ([80, 16, 2, 1, 1], 2),
        ([96, 1, 1, 1, 1], 1),
        ([1] * 60, 50),
        ([0, 0, 0], 1),
    ],
)
def test_as_few_components_as_hold_the_variance(variances, kept):
    fitted = principal(spread_out(np.array(variances, float)))
    assert fitted.directions.shape == (len(variances), kept)


def test_the_statistic_is_of_principal_coordinates():
    z = spread_out(np.array([80.0, 14, 4, 1, 1]))
    coordinates = PCA(3).fit(z)
    asked = np.random.default_rng(7).normal(size=(11, 5)) * 9
    one = Predicted.alike(11)
    fitted = baselines.Mahalanobis.fit(coordinates.transform(z), Predicted.alike(len(z)))
    slow = fitted.score(coordinates.transform(asked), one)
    np.testing.assert_allclose(principal(z).score(asked, one), slow, rtol=1e-8)


# --- neighbours and trees ---------------------------------------------------------------------


def test_nearest_neighbours_count_to_the_tenth_at_unit_norm(last, asked):
    fitted = baselines.NearestNeighbours.fit(*last)
    unit = [row / math.hypot(*row) for row in last[0]]
    slow = [sorted(math.dist(row / math.hypot(*row), u) for u in unit)[9] for row in asked[0]]
    np.testing.assert_allclose(fitted.score(*asked), slow, rtol=1e-9)
    np.testing.assert_allclose(fitted.score(7 * asked[0], asked[1]), slow, rtol=1e-9)
    np.testing.assert_allclose(fitted.score(0 * asked[0], asked[1]), 1)


def test_nearest_neighbours_of_a_small_reference_are_the_farthest(last, asked):
    z, predicted = last
    fitted = baselines.NearestNeighbours.fit(z[:4], predicted.rows(np.arange(4)))
    first = asked[0][0] / math.hypot(*asked[0][0])
    slow = max(math.dist(first, row / math.hypot(*row)) for row in z[:4])
    assert fitted.score(*asked)[0] == pytest.approx(slow)


def test_local_outlier_factor_is_the_ratio_of_reachability_densities(last, asked):
    z, predicted = last
    model = neighbors.NearestNeighbors(n_neighbors=20).fit(z)
    distances, indices = model.kneighbors()
    radius = distances[:, -1]

    def density(distance: np.ndarray, index: np.ndarray) -> float:
        return 20 / sum(max(radius[j], d) for d, j in zip(distance, index, strict=True))

    of_reference = [density(*pair) for pair in zip(distances, indices, strict=True)]
    slow = [
        np.mean([of_reference[j] for j in index]) / density(distance, index)
        for distance, index in zip(*model.kneighbors(asked[0]), strict=True)
    ]
    fast = baselines.LocalOutlierFactor.fit(z, predicted).score(*asked)
    np.testing.assert_allclose(fast, slow, rtol=1e-6)


def test_isolation_forest_scores_lie_around_a_half(last, asked):
    fitted = baselines.IsolationForest.fit(*last)
    middle, far = np.median(last[0], axis=0), np.full(H[-1], 1e4)
    scores = fitted.score(np.stack([middle, far]), Predicted.alike(2))
    assert 0 < scores[0] < 0.5 < scores[1] < 1
    ignoring = baselines.IsolationForest.fit(last[0], last[1].rows(np.arange(N)[::-1]))
    np.testing.assert_array_equal(ignoring.score(*asked), fitted.score(*asked))


# --- Gram matrices and ranks ------------------------------------------------------------------


def test_gram_is_the_mean_deviation_of_products_from_their_medians(last, asked):
    z, predicted, _, _ = small_class(last)
    k = predicted.label
    own = {0: z[k == 0], 1: z[k == 1], 2: z, 3: z}
    pairs = [(i, j) for i in range(H[-1]) for j in range(i, H[-1])]

    def median_and_scale(rows: np.ndarray, i: int, j: int) -> tuple[float, float]:
        products = [row[i] * row[j] for row in rows]
        middle = np.median(products)
        return middle, np.median([abs(product - middle) for product in products])

    def deviation(row: np.ndarray, rows: np.ndarray) -> float:
        known = [median_and_scale(rows, i, j) for i, j in pairs]
        floor = np.mean([scale for _, scale in known])
        each = zip(pairs, known, strict=True)
        return np.mean(
            [abs(row[i] * row[j] - m) / max(scale, floor) for (i, j), (m, scale) in each]
        )

    slow = [deviation(row, own[label]) for row, label in labelled(*asked)]
    np.testing.assert_allclose(baselines.Gram.fit(z, predicted).score(*asked), slow, rtol=1e-9)


def layers(seen: Observed) -> tuple[np.ndarray, ...]:
    return (seen.inputs, *seen.activations, seen.outputs)


def ranks(seen: Observed, known: Observed) -> np.ndarray:
    """How many are nearer than the first of the predicted class; no input is its own neighbour."""
    table = np.empty((len(seen.prediction), len(H) + 2))
    for (n, own), column in itertools.product(enumerate(seen.prediction), range(len(H) + 2)):
        row, base = layers(seen)[column][n], layers(known)[column]
        others = [m for m in range(len(base)) if seen is not known or m != n]
        others.sort(key=lambda m: math.dist(row, base[m]))
        labels = [known.prediction[m] for m in others]
        table[n, column] = labels.index(own) if own in labels else len(labels)
    return table


def test_ted_ranks_the_nearest_of_the_predicted_class_in_every_layer(reference, fresh):
    k = reference.prediction
    known = rows(reference, (k < 2) | ((k == 2) & (np.cumsum(k == 2) == 1)))
    usual = ranks(known, known)
    assert usual.max() == len(usual) - 1
    centre = usual.mean(0)
    slow = [squared_distance(row - centre, usual - centre) for row in ranks(fresh, known)]
    fast = BASELINES["ted"](known).score(fresh)
    np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["ted", "nearest_neighbours_last_layer"])
@pytest.mark.parametrize("at_once", [1, 1000])
def test_as_many_distances_at_once_as_memory_has_give_the_same(
    name, at_once, reference, fresh, monkeypatch
):
    whole = BASELINES[name](reference).score(fresh)
    monkeypatch.setattr("mad.baselines.blocks.DISTANCES_AT_ONCE", at_once)
    assert np.array_equal(BASELINES[name](reference).score(fresh), whole)


# --- offline ----------------------------------------------------------------------------------


def test_spectral_signatures_are_squared_lengths_along_the_widest_direction(last, asked):
    scores = baselines.SpectralSignatures.fit(*last).score(*asked)
    for k in range(D):
        own = asked[0][asked[1].label == k]
        variances, directions = np.linalg.eigh(np.cov(own.T))
        slow = [(row - own.mean(0)) @ directions[:, -1] for row in own]
        np.testing.assert_allclose(
            scores[asked[1].label == k], np.square(slow), rtol=1e-7, atol=1e-9
        )
        assert scores[asked[1].label == k].sum() == pytest.approx(variances[-1] * (len(own) - 1))


def test_quantum_entropy_weighs_whitened_deviations_by_the_batchs_excess(last, asked):
    z, predicted, means, deviations = small_class(last)
    k = predicted.label
    of_class = {0: deviations[k == 0], 1: deviations[k == 1], 2: deviations, 3: deviations}
    scores = baselines.QuantumEntropy.fit(z, predicted).score(*asked)
    for j in range(D):
        own = asked[0][asked[1].label == j] - means[j]
        covariance = oracles.ledoit_wolf(of_class[j])
        white = np.linalg.solve(np.linalg.cholesky(covariance), own.T).T
        excess = sum(np.outer(row, row) for row in white) / len(white) - np.eye(H[-1])
        weights = expm(4 * excess / np.linalg.norm(excess, 2))
        slow = [row @ weights @ row / np.trace(weights) for row in white]
        np.testing.assert_allclose(scores[asked[1].label == j], slow, rtol=1e-7)
