"""The exported account is the account: every term, the total and the p-value, in onnxruntime."""

import sys
from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import onnxruntime
import pytest
from problems import random_evidence

from apd.to_onnx import Writer
from mad.calibration import PerClass, Pooled
from mad.errors import InputError
from mad.evidence import Evidence, together
from mad.export import cleaned, scorer
from mad.export.terms import TERMS
from mad.profile import Profile
from mad.scorer import Scorer, marked
from mad.scores import SCORES, MaskBits

DOUBLE = np.dtype(np.float64)
COMPONENTS, WIDTH, INPUTS = 7, 4, 5


class Given:
    """A network whose answers are inputs of the graph; it notes what it is asked."""

    width = WIDTH
    inputs = INPUTS
    outputs = "outputs"

    def __init__(self, graph: Writer) -> None:
        self.graph = graph
        self.masks: list[str] = []
        self.trusted: list[list[int]] = []

    def attributions(self, seed: str) -> str:
        """A[n, C, d] weighted by the seed, over d."""
        weighted = self.graph.call("Mul", "effects", self.graph.call("Unsqueeze", seed, self.one))
        return self.graph.call("ReduceSum", weighted, self.graph.integers(2), keepdims=0)

    def strengths(self) -> str:
        """S[n, C], whatever is explained."""
        return "strengths"

    def input_effects(self, seed: str) -> str:
        """E[n, p, d] weighted by the seed, over d."""
        weighted = self.graph.call("Mul", "entering", self.graph.call("Unsqueeze", seed, self.one))
        return self.graph.call("ReduceSum", weighted, self.graph.integers(2), keepdims=0)

    @property
    def one(self) -> str:
        return self.graph.integers(1)

    def masked_outputs(self, mask: str) -> str:
        self.masks.append(mask)
        return "masked"

    def outputs_on(self, components: Iterable[int]) -> str:
        self.trusted.append(list(components))
        return "on_trusted"


def profile_of(evidence: Evidence) -> Profile:
    ranks = np.arange(COMPONENTS) % 3.0
    scores = {name: score.fit(evidence, ranks) for name, score in SCORES.items()}
    return Profile(np.asarray(0.8), evidence.active.any(0), scores)


def drawn(n: int, seed: int) -> tuple[Evidence, np.ndarray]:
    """Evidence with components active from a strength of 0.8 on; effects on every output.

    The first effects are the components', the others what came in.
    """
    evidence = random_evidence(n, seed, COMPONENTS, WIDTH)
    effects = np.random.default_rng(seed).normal(size=(n, COMPONENTS + INPUTS, WIDTH))
    told = np.concatenate([evidence.attributions, evidence.input_effects], 1)
    effects[np.arange(n), :, evidence.prediction] = told
    return explained(evidence, told), effects


def explained(evidence: Evidence, effects: np.ndarray) -> Evidence:
    given = {f.name: getattr(evidence, f.name) for f in fields(Evidence)}
    own, entering = effects[:, :COMPONENTS], effects[:, COMPONENTS:]
    changes = {"attributions": own, "input_effects": entering}
    return Evidence(**{**given, **changes})


def strengths_of(evidence: Evidence) -> np.ndarray:
    """Of at least 0.8 where a component is active."""
    return np.where(evidence.active, 0.8, 0.5) + 0.1 * (evidence.attributions % 1)


def calibration_of(kind, profile: Profile, evidence: Evidence):
    account = profile.account_of(evidence)
    return kind.of(account.total.round(6), account.prediction)


@pytest.fixture(params=[Pooled, PerClass])
def detector(request, small_run) -> Scorer:
    """A profile, and a calibration in which one class is rare; the run itself is never asked."""
    usual, _ = drawn(90, 1)
    profile = profile_of(usual)
    others, _ = drawn(130, 2)
    rare = np.flatnonzero(others.prediction == 3)[10:]
    kept = np.setdiff1d(np.arange(130), rare)
    rows = np.isin(np.arange(130), kept)
    calibration = calibration_of(request.param, profile, others.rows(rows))
    profiled, nothing = np.zeros((90, 5)), np.zeros((0, 5))
    return Scorer(small_run[0], "predicted", profiled, nothing, profile, calibration)


def evaluated(detector: Scorer, evidence: Evidence, effects: np.ndarray, x: np.ndarray) -> dict:
    """What onnxruntime makes of the graph, and of the mask that the network was asked about."""
    graph = Writer(DOUBLE)
    network = Given(graph)
    clean, finite = cleaned(graph, "x", DOUBLE, x.ndim - 1)
    outputs = {k: tuple(v)[:3] for k, v in scorer(graph, network, detector, finite).items()}
    assert network.trusted == [np.flatnonzero(detector.profile.trusted).tolist()]
    outputs["mask"] = (network.masks[0], DOUBLE, ("n", COMPONENTS))
    outputs["clean"] = (clean, DOUBLE, ("n", *x.shape[1:]))
    given = {
        "x": x,
        "strengths": strengths_of(evidence),
        "effects": effects[:, :COMPONENTS],
        "entering": effects[:, COMPONENTS:],
        **{k: getattr(evidence, k) for k in ("outputs", "masked", "on_trusted")},
    }
    inputs = {name: (DOUBLE, ("n", *value.shape[1:])) for name, value in given.items()}
    content = graph.model(inputs, outputs, {}).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return dict(zip(outputs, session.run(list(outputs), given), strict=True))


def test_every_number_is_the_scorers(detector):
    evidence, effects = drawn(60, 3)
    got = evaluated(detector, evidence, effects, np.zeros((60, 5)))
    account = detector.profile.account_of(evidence)
    bits = account.total.round(6)
    assert len(np.unique(bits)) == 60
    np.testing.assert_allclose(got["bits"], bits, rtol=1e-9)
    np.testing.assert_array_equal(got["prediction"], evidence.prediction)
    np.testing.assert_array_equal(got["mask"], evidence.active)
    for name, expected in account.terms.items():
        np.testing.assert_allclose(got[name], expected.round(6), rtol=1e-9, atol=1e-6)
    named = np.take_along_axis(got["component_bits"], account.components, 1)
    np.testing.assert_allclose(named, account.component_bits.round(6), rtol=1e-9, atol=1e-6)
    p = detector.calibration.p_values(got["bits"], evidence.prediction)
    np.testing.assert_array_equal(got["p_value"], p)


def test_an_input_that_was_calibrated_on_ties_with_itself(detector):
    """Bits come out rounded as the calibration's are, so that equal ones are equal."""
    evidence, effects = drawn(130, 2)
    got = evaluated(detector, evidence, effects, np.zeros((130, 5)))
    assert np.isin(got["bits"], detector.calibration.bits).sum() >= 100


@pytest.mark.parametrize("explain", [2, "all"])
def test_attributions_are_about_the_output_that_is_explained(detector, explain):
    evidence, effects = drawn(60, 3)
    other = Scorer(**{**vars(detector), "explains": explain})
    root = np.sqrt(np.square(effects).mean(2)) if explain == "all" else effects[:, :, 2]
    expected = detector.profile.account_of(explained(evidence, root))
    got = evaluated(other, evidence, effects, np.zeros((60, 5)))
    np.testing.assert_allclose(got["bits"], expected.total.round(6), rtol=1e-9)


def test_many_effects_are_in_the_runs_that_the_scorer_has_them_in(detector, monkeypatch):
    """Five coordinates are three in the evidence, and two where there is no room for more."""
    monkeypatch.setattr(sys.modules["mad.export.scorer"], "MOST_EFFECTS", 3)
    monkeypatch.setattr("mad.codes.gaussian.MOST_NUMBERS", 6)
    profile = profile_of(in_runs(drawn(90, 1)[0]))
    assert profile.scores["input_bits"].coordinates == 2
    evidence, effects = drawn(60, 3)
    expected = profile.account_of(in_runs(evidence)).terms["input_bits"]
    other = Scorer(**{**vars(detector), "profile": profile})
    got = evaluated(other, evidence, effects, np.zeros((60, 5)))
    np.testing.assert_allclose(got["input_bits"], expected.round(6), rtol=1e-9, atol=1e-6)


def in_runs(evidence: Evidence) -> Evidence:
    return replace(evidence, input_effects=together(evidence.input_effects, 3))


def test_inputs_that_are_not_finite_are_marked_and_harm_no_others(detector):
    evidence, effects = drawn(6, 4)
    x = np.arange(60.0).reshape(6, 5, 2)
    x[1, 2, 0], x[4, 0, 1], x[4, 3, 1] = np.nan, np.inf, -np.inf
    got = evaluated(detector, evidence, effects, x)
    finite = np.array([True, False, True, True, False, True])
    np.testing.assert_array_equal(got["clean"], np.where(np.isfinite(x), x, 0))
    np.testing.assert_array_equal(got["prediction"], np.where(finite, evidence.prediction, -1))
    account = detector.profile.account_of(evidence)
    np.testing.assert_allclose(got["bits"], marked(account.total, finite), rtol=1e-9)
    assert np.isnan(got["p_value"]).tolist() == (~finite).tolist()
    assert np.isnan(got["component_bits"]).all(1).tolist() == (~finite).tolist()


def test_no_inputs_have_no_scores(detector):
    """The first axis is free, down to nothing."""
    evidence, effects = drawn(6, 4)
    none = evidence.rows(np.zeros(6, dtype=bool))
    got = evaluated(detector, none, effects[:0], np.zeros((0, 5)))
    assert got["bits"].shape == got["p_value"].shape == (0,)
    assert got["component_bits"].shape == (0, COMPONENTS)


def test_bits_too_large_to_be_rounded_are_marked(detector):
    evidence, effects = drawn(6, 4)
    masked = evidence.masked.copy()
    masked[2] += 1e152
    huge = replace(evidence, masked=masked)
    total = detector.profile.account_of(huge).total
    assert 1.8e302 < total[2] < np.inf
    got = evaluated(detector, huge, effects, np.zeros((6, 5)))
    assert np.isnan(got["bits"]).tolist() == [n == 2 for n in range(6)]
    assert got["prediction"][2] == -1


def test_every_score_can_be_exported_and_a_strange_one_is_refused_by_name(detector):
    assert set(TERMS) == set(SCORES.values())

    class Strange(MaskBits):
        """Not one of ours."""

    scores = {
        **detector.profile.scores,
        "mask_bits": Strange(**vars(detector.profile.scores["mask_bits"])),
    }
    profile = replace(detector.profile, scores=scores)
    graph = Writer(DOUBLE)
    with pytest.raises(InputError, match="Strange"):
        scorer(graph, Given(graph), Scorer(**{**vars(detector), "profile": profile}), "finite")
