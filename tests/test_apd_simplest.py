"""What training found, or what is simpler: by the length of the account."""

import math

import pytest
import torch
from problems import Formula, numbers
from test_apd_neurons import same, weights

import apd
from apd.assembly import Found
from apd.neurons import own_rows
from apd.simplest import account, among_zeros, living, simplest
from apd.sites import Factors
from apd.usage import Usage

FLOAT = torch.float64


def slots(target: apd.Target, count: int = 9, rank: int = 1) -> Factors:
    ((_, site),) = target.sites.items()
    return Factors(*(torch.zeros(count, rank, d, dtype=FLOAT) for d in site.shape))


def taken(target: apd.Target, found: Found) -> list[torch.Tensor]:
    """The weights of the parts that are not zero."""
    return weights(living(target, found.factors))


def features(split: int, step: float = 1.0) -> tuple[apd.Target, torch.Tensor, Found]:
    """Sixty features, each larger than the last, with a part of their own, or with two halves."""
    module = Formula(lambda m, x: x @ m.A.T, A=torch.diag(1 + step * torch.arange(60).double()))
    x = torch.eye(60, dtype=FLOAT).repeat(3, 1)
    target = apd.Target.of(module, x[:2])
    held = torch.ones(60, dtype=FLOAT)
    held[:split] = 0.5
    u, v = held[:, None] * module.A.detach(), torch.eye(60, dtype=FLOAT)
    u, v = torch.cat([u, u[:split]]), torch.cat([v, v[:split]])
    zeros = torch.zeros(4, 60, dtype=FLOAT)
    parts = Factors(*(torch.cat([side, zeros])[:, None] for side in (u, v)))
    return target, x, Found(parts, 1 + split / 60, "trained")


@pytest.mark.parametrize("split", [0, 3])
def test_the_account_counts_names_and_sizes_of_the_parts_in_use(split):
    target, x, trained = features(split)
    config = apd.Config(exactness=1e-9)
    sizes = 1 + torch.arange(60).double()
    typical = sizes.square().mean().sqrt()
    first, other = 1 + (0.5 * sizes / typical) ** 0.9, 1 + (sizes / typical) ** 0.9
    expected = (2 * first[:split].sum() + other[split:].sum()) / 60
    usage = Usage(target, living(target, trained.factors), x, config)
    names, active = account(usage, trained.active, 1e-9)
    assert names == pytest.approx(expected.item())
    assert active == pytest.approx(trained.active)
    assert account(usage, 0.9, 1e-9).names == math.inf
    assert max(account(usage, 0.9, 1e9)) < 0.1


def test_the_shorter_account_is_taken_and_of_two_alike_what_was_trained():
    """One feature in halves makes it longer by a hundredth or so, four of them by a twentieth."""
    config = apd.Config(exactness=1e-6)
    for split in (0, 1):
        target, x, trained = features(split)
        assert simplest(target, x, trained, config) is trained
    target, x, trained = features(4)
    found = simplest(target, x, trained, config)
    assert same(taken(target, found), taken(target, features(0)[2]))
    assert found.active == pytest.approx(1.0, abs=0.01)
    assert (trained.kind, found.kind) == ("trained", "rows")


def test_so_many_are_active_as_explain_the_outputs_as_far_as_training_aimed():
    """A weak half of all features is not needed, though it has an effect."""
    module = Formula(lambda m, x: x @ m.A.T, A=torch.eye(20).double())
    strong = (torch.arange(20) < 10).double()
    x = torch.ones(60, 1, dtype=FLOAT) * (strong + 0.01 * (1 - strong))
    target = apd.Target.of(module, x[:2])
    nothing = Found(slots(target, 24), 1.0, "trained")
    found = simplest(target, x, nothing, apd.Config())
    assert len(taken(target, found)) == 20
    assert found.active == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize(("missing", "replaced"), [(0.1, False), (0.3, True)])
def test_what_leaves_more_than_ten_times_what_was_aimed_at_is_replaced(missing, replaced):
    """Without a part of every feature, parts are shorter, and leave its square of the loss."""
    target, x, trained = features(0, step=0.0)
    less = Found(Factors((1 - missing) * trained.factors.U, trained.factors.V), 1.0, "trained")
    found = simplest(target, x, less, apd.Config(exactness=0.003))
    assert (found is less) != replaced
    own, whole = taken(target, found), taken(target, trained)
    assert same(own, whole) == replaced


def test_lines_that_do_not_explain_the_outputs_are_not_taken():
    """Where both inputs are on a step is past its end, and no part of it has an effect."""
    module = Formula(
        lambda m, x: torch.relu(x @ m.A.T) - torch.relu(x @ m.A.T - 1), A=torch.ones(1, 2)
    ).double()
    x = torch.tensor([[0, 1], [1, 0], [1, 1]], dtype=FLOAT).repeat(7, 1) * 0.9
    target = apd.Target.of(module, x[:2])
    own = own_rows(target, x, 9, apd.Config())
    usage = Usage(target, own, x, apd.Config())
    assert account(usage, usage.affecting, 1e-3).names == math.inf
    nothing = Found(slots(target), 1.0, "trained")
    assert simplest(target, x, nothing, apd.Config()) is nothing


def test_a_kind_may_have_more_parts_than_training_looks_for_and_no_more_than_it_ever_does(
    monkeypatch,
):
    """Two parts of sixty features are all that was looked for; without room, they stay."""
    target, x, trained = features(0)
    few, config = (
        Found(Factors(*(t[:2] for t in trained.factors)), 1.0, "trained"),
        apd.Config(exactness=1e-6),
    )
    assert len(taken(target, simplest(target, x, few, config))) == 60
    monkeypatch.setattr("apd.simplest.MOST", 59)
    assert simplest(target, x, few, config) is few


@pytest.mark.parametrize(("count", "room"), [(9, 9), (20, 20), (6, 8)])
def test_parts_have_the_shape_of_what_was_trained_and_room_for_what_is_not_read(count, room):
    """Five parts of a weight of three rows need eight places at least."""
    draw = numbers(4)
    module = Formula(lambda m, x: x @ m.A.T, A=draw(3, 7))
    target = apd.Target.of(module, draw(2, 7))
    parts = apd.Components.of({"A": Factors(draw(5, 1, 3), draw(5, 1, 7))})
    found = among_zeros(target, parts, slots(target, count, 2))
    assert [t.shape for t in found] == [(room, 2, 3), (room, 2, 7)]
    assert same(weights(living(target, found)), weights(parts))


def test_what_is_simpler_is_judged_on_all_of_a_sorted_reference(monkeypatch):
    monkeypatch.setattr("apd.simplest.ROWS", 60)
    target, _, trained = features(8)
    x = torch.eye(60, dtype=FLOAT).repeat_interleave(3, 0).flip(0)
    assert simplest(target, x, trained, apd.Config(exactness=1e-6)).kind == "rows"
