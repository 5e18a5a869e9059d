"""What a tied weight does not read is in the residual, unless the outputs need it."""

import pytest
import torch
from problems import FLOAT, Formula, make_problem, numbers
from torch import nn

from apd import Components, Config, Target, decompose
from apd.assembly import Found
from apd.decomposition import ended
from apd.sites import Factors
from apd.tied import NEEDLESS, spared


def singles(target: Target) -> Components:
    """A component of every entry of every weight."""
    sizes = {name: target.weight(name).shape for name in target.sites}
    count, first, factors = sum(o * i for o, i in sizes.values()), 0, {}
    for name, (o, i) in sizes.items():
        u, v = torch.zeros(count, 1, o, dtype=FLOAT), torch.zeros(count, 1, i, dtype=FLOAT)
        for n in range(o * i):
            u[first + n, 0, n // i] = target.weight(name)[n // i, n % i]
            v[first + n, 0, n % i] = 1
        factors[name] = Factors(u, v)
        first += o * i
    return Components.of(factors)


def tied(turned: bool, bias: float) -> tuple[Target, torch.Tensor]:
    """Six numbers to three and back: the last is never there, two outputs are behind a bias."""
    draw = numbers(11)
    W, biases, x = draw(3, 6), torch.zeros(6, dtype=FLOAT), 0.3 * draw(200, 6)
    biases[4:], x[:, 5] = -bias, 0
    if turned:
        module = Formula(lambda m, x: torch.relu(x @ m.W @ m.W.T + biases), W=W.T)
    else:
        module = Formula(lambda m, x: torch.relu(x @ m.W.T @ m.W + biases), W=W)
    return Target.of(module, x[:2]), x


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("bias", "left"), [(0.0, False), (5.0, True)])
def test_what_is_not_read_is_left_to_the_residual_where_outputs_do_not_need_it(turned, bias, left):
    target, x = tied(turned, bias)
    found = spared(singles(target), target, x, Config())
    gap = found.residual(target)["W"]
    expected = torch.zeros_like(gap)
    if left:
        unread = (slice(5, 6), slice(None)) if turned else (slice(None), slice(5, 6))
        expected[unread] = target.weight("W")[unread]
    torch.testing.assert_close(gap, expected)
    assert found.count == 18 - 3 * left


def test_a_side_that_no_input_reads_with_does_not_keep_the_other():
    """The second use reads nothing at all, and all it writes with is what the first one reads."""
    draw = numbers(12)
    W, B, x = draw(3, 6), draw(2, 3), draw(90, 6)
    x[:, 5] = 0
    module = Formula(
        lambda m, x: (x @ m.W.T + (torch.relu(x @ m.W.T - 1e3) @ m.W)[:, :3]) @ B.T, W=W
    )
    target = Target.of(module, x[:2])
    gap = spared(singles(target), target, x, Config()).residual(target)["W"]
    torch.testing.assert_close(gap[:, 5], target.weight("W")[:, 5])
    assert gap[:, :5].abs().max() < 1e-9


@pytest.mark.parametrize(("share", "left"), [(0.4, 2), (0.8, 1), (1.6, 0)])
def test_of_several_no_more_is_left_than_one_might_leave(share, left):
    """Two blocks, whose last outputs are each so much of `NEEDLESS` of what all outputs are."""
    draw = numbers(13)
    weights = {"A": draw(3, 6), "B": draw(3, 6)}
    x = draw(150, 6)
    x[:, 5] = 0
    whole = {name: (x @ W.T @ W).square() for name, W in weights.items()}
    rest = sum(float(y[:, :5].sum()) for y in whole.values())
    wanted = share * NEEDLESS * rest / (1 - 2 * share * NEEDLESS)
    scale = {}
    for name, y in whole.items():
        scale[name] = torch.ones(6, dtype=FLOAT)
        scale[name][5] = (wanted / float(y[:, 5].sum())) ** 0.5
    module = Formula(
        lambda m, x: torch.cat([x @ m.A.T @ m.A * scale["A"], x @ m.B.T @ m.B * scale["B"]], 1),
        **weights,
    )
    target = Target.of(module, x[:2])
    gaps = spared(singles(target), target, x, Config()).residual(target)
    assert [bool(gaps[name].norm() > 1e-6) for name in "AB"] == [k < left for k in range(2)]


def test_an_embedding_that_writes_the_outputs_keeps_the_rows_of_tokens_that_are_not_there():
    problem = make_problem("unembed-1")
    x = problem.x.clamp_max(4)
    found = spared(singles(problem.target), problem.target, x, Config())
    assert found.residual(problem.target)["table"].norm() < 1e-9


def test_a_component_of_nothing_that_is_read_is_gone_whatever_is_left_by_rounding():
    """Two numbers are always the same, so that no input has a difference between them."""
    target, x = tied(False, 5.0)
    x[:, 5] = x[:, 4]
    r = torch.tensor([0, 0, 0, 0, 1, -1], dtype=FLOAT) / 2**0.5
    rows = torch.eye(3, dtype=FLOAT)
    u = torch.stack([rows, torch.zeros_like(rows)])
    u[1, 0] = target.weight("W") @ r
    v = torch.stack([target.weight("W") - torch.outer(u[1, 0], r), torch.zeros(3, 6, dtype=FLOAT)])
    v[1, 0] = r
    assert spared(Components.of({"W": Factors(u, v)}), target, x, Config()).count == 1


def test_in_the_end_of_its_training_a_tied_weight_is_left_as_it_was_trained(monkeypatch):
    monkeypatch.setattr("apd.decomposition.simplest", lambda target, x, trained, config: trained)
    target, x = tied(False, 0.0)
    parts = Factors(*(side.clone() for side in singles(target).factors["W"]))
    room = [torch.cat([side, torch.zeros_like(side[:4])]) for side in parts]
    found = ended(
        target, x, Config(), Found(Factors(*(side.clone() for side in room)), 3.0, "trained")
    )
    assert all(torch.equal(side, before) for side, before in zip(found.factors, room, strict=True))


def test_untied_weights_are_left_as_they_are():
    draw = numbers(14)
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    x = draw(50, 4)
    x[:, 3] = 0
    target = Target.of(module, x[:2])
    components = singles(target)
    assert spared(components, target, x, Config()) is components


def test_a_feature_that_is_never_there_is_the_residual_of_a_run():
    """Of a toy model of superposition, and no component is left of rounding alone."""
    target, x = tied(False, 5.0)
    run = decompose(target, x, Config(steps=60, components=9, batch_size=64))
    gap = run.components.residual(target)["W"]
    assert gap[:, 5].norm() > 0.99 * target.weight("W")[:, 5].norm()
    assert (
        min(
            part.norm()
            for c in range(run.components.count)
            for part in run.components.component(c).values()
        )
        > 1e-3
    )
