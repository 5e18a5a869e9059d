"""The reasons for one input: recounted by loops, and by networks of explicit weights."""

import dataclasses
import math

import numpy as np
import oracles
import pytest
import torch
from problems import make_problem, numbers

import apd
import mad
import toys
from apd.components import Components
from apd.sites import Factors
from mad.explain import NEIGHBOURS, reasons

# The toys' references repeat inputs of nothing but zeros, as the inputs do.
pytestmark = pytest.mark.filterwarnings("ignore:.*profiled too:mad.CalibrationWarning")


@pytest.fixture(scope="module")
def fitted(loose_run):
    run, x = loose_run
    return mad.Detector.fit(run, x.numpy())


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return 1.5 * numbers(151)(6, 5).numpy()


@pytest.fixture(scope="module")
def case(loose_run, x):
    """The target and the components as explicit weights, and the inputs."""
    found = make_problem("mlp-1")
    return dataclasses.replace(found, components=loose_run[0].components, x=torch.from_numpy(x))


@pytest.fixture(scope="module", params=range(6))
def index(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def found(fitted, x, index):
    return fitted.explain(x, index)


def test_it_holds_what_the_result_explains(fitted, x, index, found):
    expected = fitted.score(x).explain(index)
    assert found.explanation == expected
    assert [(part.component, part.bits, part.rate) for part in found.components] == [
        (part.component, part.bits, part.rate) for part in expected.components
    ]


def test_quantiles_are_counts_among_profiled_inputs_predicted_alike(
    loose_run, fitted, x, index, found
):
    own, others = (loose_run[0].explain(rows, "predicted") for rows in (x, fitted.profiled))
    predicted, predictions = own[0][index].argmax(), others[0].argmax(1)
    alike = [n for n, other in enumerate(predictions) if other == predicted]
    assert found.compared == len(alike) < len(fitted.profiled)
    for part in found.components:
        value = own[1][index, part.component]
        assert part.attribution == pytest.approx(value, rel=1e-9)
        below = sum(others[1][n, part.component] < value for n in alike)
        level = sum(others[1][n, part.component] == value for n in alike)
        assert part.quantile == pytest.approx((below + level / 2) / len(alike))


def test_a_profiled_input_counts_half_among_its_like_and_is_its_own_neighbour(fitted):
    for row in (0, 17):
        found = fitted.explain(fitted.profiled, row)
        ranks = [part.quantile * found.compared for part in found.components]
        assert all(rank % 1 == pytest.approx(0.5) for rank in ranks)
        assert found.neighbours[0].row == row
        assert found.neighbours[0].distance == 0


def test_a_class_the_profile_has_not_is_compared_with_all(fitted, x):
    usual = dataclasses.replace(fitted.usual, prediction=np.full_like(fitted.usual.prediction, 99))
    found = reasons(fitted, usual, x[:1], 0)
    assert found.compared == len(fitted.profiled)


def test_neighbours_are_nearest_in_the_precision_of_the_attributions(
    loose_run, fitted, x, index, found
):
    code = fitted.profile.scores["attribution_bits"].code
    precision = code.precision[code.kind[found.explanation.prediction]]
    outputs, others, strengths, _ = loose_run[0].explain(fitted.profiled, "predicted")
    own = loose_run[0].explain(x, "predicted")[1][index]
    named = [part.component for part in found.components]
    assert 0 < len(named) < len(own)
    distances = []
    for other in others:
        z = np.array([other[c] - own[c] if c in named else 0.0 for c in range(len(own))])
        distances.append(math.sqrt(z @ precision @ z))
    expected = sorted(range(len(distances)), key=distances.__getitem__)[:NEIGHBOURS]
    assert [neighbour.row for neighbour in found.neighbours] == expected
    for neighbour in found.neighbours:
        assert neighbour.distance == pytest.approx(distances[neighbour.row], rel=1e-6)
        assert neighbour.prediction == outputs[neighbour.row].argmax()
        strong = strengths[neighbour.row] >= fitted.profile.threshold
        assert neighbour.active == tuple(c for c in named if strong[c])


def without(case, index: int, components: list[int]) -> np.ndarray:
    """The outputs on the target's weights minus explicit component weights."""
    removed = torch.zeros(len(case.x), case.components.count)
    removed[:, components] = 1
    return oracles.outputs_without(case, removed)[index].numpy()


def test_without_a_component_all_others_and_the_residual_stay(case, index, found):
    np.testing.assert_allclose(found.outputs, without(case, index, []), atol=1e-9)
    for part in found.components:
        expected = without(case, index, [part.component])
        np.testing.assert_allclose(part.outputs, expected, atol=1e-9)
        assert part.prediction == expected.argmax()
    named = [part.component for part in found.components]
    expected = without(case, index, named)
    np.testing.assert_allclose(found.outputs_without, expected, atol=1e-9)
    assert found.prediction_without == expected.argmax()
    assert not np.allclose(found.outputs_without, found.outputs, atol=1e-3)


def test_a_component_that_is_not_there_cannot_be_left_out(loose_run, x):
    run = loose_run[0]
    with pytest.raises(apd.ComponentError, match=f"no component {run.components.count}"):
        run.outputs_without(x, [1, run.components.count])


def test_the_residual_share_is_of_norms(case, fitted, index, found):
    trusted = torch.from_numpy(fitted.rates > 0).expand(len(case.x), -1)
    on_trusted = oracles.masked_outputs(case, trusted)[index].numpy()
    outputs = oracles.forward(case.module, case.x)[index].numpy()
    lost = math.sqrt(sum((a - b) ** 2 for a, b in zip(outputs, on_trusted, strict=True)))
    assert found.residual_share == pytest.approx(lost / math.sqrt(sum(a**2 for a in outputs)))


def test_the_residual_matters_to_most_inputs(fitted, x):
    """On one, no neuron of the last layer is on with it or without: outputs are biases alone."""
    shares = [fitted.explain(x, n).residual_share for n in range(6)]
    assert sorted(shares)[1] > 0.01


@pytest.mark.parametrize("output", ["all", 2])
def test_another_output_can_be_explained_so_too(loose_run, fitted, x, output):
    detector = fitted.explaining(output)
    found = detector.explain(x, 3)
    assert found.explanation == detector.score(x).explain(3)
    own = loose_run[0].explain(x, output)[1][3]
    for part in found.components:
        assert part.attribution == pytest.approx(own[part.component])


def test_the_profiled_inputs_are_worked_out_once(fitted):
    assert fitted.usual is fitted.usual
    assert len(fitted.usual.prediction) == len(fitted.profiled)


def test_rows_that_cannot_be_explained_are_refused(fitted, x):
    broken = x.copy()
    broken[4, 1] = np.nan
    assert fitted.explain(broken, 3).explanation == fitted.score(x).explain(3)
    with pytest.raises(mad.InputError, match="row 4 holds NaN"):
        fitted.explain(broken, 4)
    broken[5] = np.finfo(np.float64).max
    with pytest.raises(mad.InputError, match=r"row 5 .* takes the network out of range"):
        fitted.explain(broken, 5)
    with pytest.raises(IndexError):
        fitted.explain(x, len(x))
    with pytest.raises(mad.InputError, match=r"shape \(4,\)"):
        fitted.explain(x[:, 1:], 0)


@pytest.fixture(scope="module")
def known():
    """Superposition whose components are its mechanisms, one of which no reference input uses."""
    toy = toys.make("tms-5-2", 0, planted=True)
    run = apd.decompose(toy.model, toy.reference, apd.Config(components=5, steps=1))
    columns = run.target.weight("W").T
    features = Factors(columns[:, None], torch.eye(5)[:, None])
    run = dataclasses.replace(run, components=Components.of({"W": features}))
    return toy, run, mad.Detector.fit(run, toy.reference, explain="all")


def test_where_components_are_mechanisms_the_one_never_used_before_is_named(known):
    toy, run, detector = known
    x = toy.inputs.x[toy.inputs.is_anomaly].numpy()
    result = detector.score(x)
    flagged = result.flagged(0.01)
    acts = np.linalg.norm(run.outputs_without(x, []), axis=1) > 0.1
    assert flagged[acts].mean() > 0.95
    assert (result.components[flagged, 0] == toy.planted).mean() > 0.95


def test_without_the_mechanism_named_its_output_is_gone_and_without_another_it_is_not(known):
    toy, _, detector = known
    assert toy.planted is not None
    alone = np.zeros((1, 5), dtype=np.float32)
    alone[0, toy.planted] = 0.8
    found = detector.explain(alone, 0)
    parts = {part.component: part.outputs[toy.planted] for part in found.components}
    assert found.outputs[toy.planted] > 0.5
    assert parts.pop(toy.planted) == 0
    assert parts
    assert list(parts.values()) == pytest.approx([found.outputs[toy.planted]] * len(parts))
    assert found.outputs_without[toy.planted] == 0


@pytest.fixture(scope="module")
def backdoor(digits, detector):
    """Some inputs that a trigger turned, and why they score as they do."""
    anomalies = digits.toy.inputs.x[digits.toy.inputs.is_anomaly].numpy()[::13]
    found = [detector.explain(anomalies, n) for n in range(len(anomalies))]
    assert len(found) > 15
    assert {why.explanation.prediction for why in found} == {toys.digits.TARGET}
    return anomalies, found


def test_a_trigger_does_not_work_without_what_it_is_named_for(digits, detector, backdoor):
    """As many others that are active on it, and not on most inputs, leave the prediction."""
    anomalies, found = backdoor
    named = np.mean([why.prediction_without != toys.digits.TARGET for why in found])
    rng = np.random.default_rng(0)
    others = []
    for x, why, active in zip(anomalies, found, detector.evidence(anomalies).active, strict=True):
        own = [part.component for part in why.components]
        rest = np.setdiff1d((active & (detector.rates < 0.5)).nonzero()[0], own)
        drawn = rng.permutation(rest)[: len(own)].tolist()
        others.append(digits.run.outputs_without(x[None], drawn).argmax() != toys.digits.TARGET)
    assert named > 0.85
    assert np.mean(others) < named - 0.2


def test_no_trusted_input_needs_what_a_trigger_is_named_for(digits, backdoor):
    """It reads pixels that are dark in all of them."""
    _, found = backdoor
    clean = digits.toy.reference
    before = digits.toy.model(clean).argmax(1)
    for component in {why.components[0].component for why in found}:
        after = digits.run.ablate([component])(clean).argmax(1)
        assert (after == before).double().mean() > 0.99
    assert max(why.components[0].rate for why in found) < 0.01
