"""Which parts are one component, and components out of the parts of all weights."""

import itertools

import oracles
import pytest
import torch
from problems import Formula, Problem, make_problem, numbers
from torch import nn

import apd
from apd.activity import attributable, strengths, strongest
from apd.assembly import Found, assembled
from apd.components import Components
from apd.sites import Factors
from apd.together import together
from apd.usage import HALVINGS, Usage


def account(active, amounts, owner, power=1):
    """Names that all inputs' components take, and their amounts to a power."""
    total = 0
    for c in set(owner):
        own = [p for p in range(len(owner)) if owner[p] == c]
        amount = sum(amounts[p] for p in own) ** power
        total += sum(1 + amount for row in active if any(row[p] for p in own))
    return total


def greedy(active, amounts, kinds, power=1):
    """Two components at a time become one, those first that shorten the account most."""
    owner = list(range(len(amounts)))
    while True:
        tried = {}
        for a, b in itertools.combinations(sorted(set(owner)), 2):
            joined = [a if c == b else c for c in owner]
            if kinds[a] == kinds[b]:
                before = account(active, amounts, owner, power)
                tried[a, b] = before - account(active, amounts, joined, power)
        best = max(tried, key=tried.get, default=None)
        if best is None or tried[best] <= 1e-9:
            places = sorted(set(owner), key=owner.index)
            return [places.index(c) for c in owner]
        owner = [best[0] if c == best[1] else c for c in owner]


def whatever(count):
    """Any two may be one."""
    return torch.ones(count, count, dtype=torch.bool)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_parts_are_put_together_as_long_as_that_shortens_the_account(seed, share):
    draw = torch.Generator().manual_seed(seed)
    causes = torch.rand(97, 4, generator=draw) < 0.3
    kind = torch.randint(4, (9,), generator=draw)
    active = causes[:, kind] & (torch.rand(97, 9, generator=draw) < share)
    ranks = torch.randint(1, 4, (9,), generator=draw)
    found = together(active, ranks.double(), 1.0, whatever(9))
    assert found.tolist() == greedy(active.tolist(), ranks.tolist(), [0] * 9)


@pytest.mark.parametrize("seed", range(8))
def test_those_of_a_kind_alone_are_put_together_and_amounts_count_to_a_power(seed):
    draw = torch.Generator().manual_seed(seed)
    causes = torch.rand(61, 3, generator=draw) < 0.4
    cause = torch.randint(3, (10,), generator=draw)
    active = causes[:, cause] & (torch.rand(61, 10, generator=draw) < 0.7)
    squares = torch.rand(10, generator=draw).double() * 4
    kinds = torch.randint(2, (10,), generator=draw)
    found = together(active, squares, 0.45, kinds[:, None] == kinds)
    expected = greedy(active.tolist(), squares.tolist(), kinds.tolist(), 0.45)
    assert found.tolist() == expected
    assert found.tolist() != together(active, squares, 0.45, whatever(10)).tolist()


@pytest.mark.parametrize(("both", "one"), [(5, True), (4, False)])
def test_two_parts_are_one_where_more_than_half_of_the_inputs_use_both(both, one):
    """Of inputs that use either."""
    active = torch.zeros(20, 2, dtype=torch.bool)
    active[:both] = True
    active[both : both + 2, 0] = True
    active[both + 2 : both + 4, 1] = True
    assert together(active, torch.ones(2).double(), 1.0, whatever(2)).tolist() == (
        [0, 0] if one else [0, 1]
    )


def test_what_no_input_uses_stays_by_itself():
    active = torch.zeros(6, 4, dtype=torch.bool)
    active[:, [1, 3]] = True
    assert together(active, torch.ones(4).double(), 1.0, whatever(4)).tolist() == [0, 1, 2, 1]
    assert together(active[:, :0], torch.ones(0).double(), 1.0, whatever(0)).tolist() == []


def blocks():
    """Three features in two layers that have nothing to do with each other, and their parts."""
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False))
    module = module.double()
    gains = torch.tensor([2.0, 1.0, 3.0]).double()
    for layer in (module[0], module[2]):
        layer.weight.data = gains.diag()
    x = torch.eye(3).double().repeat(40, 1)
    own = torch.eye(3).double()[:, None]
    parts = Factors(gains[:, None, None] * own, own)
    return module, apd.Target.of(module, x[:4]), x, parts


def test_parts_that_act_on_the_same_inputs_are_one_component_across_weights():
    module, target, x, (u, v) = blocks()
    order = torch.tensor([2, 0, 1])
    dead = torch.zeros(1, 1, 3).double()
    found = {
        "0.weight": Found(Factors(u, v), 1.0, "trained"),
        "2.weight": Found(
            Factors(torch.cat([dead, u[order]]), torch.cat([dead, v[order]])), 1.0, "trained"
        ),
    }
    components, active = assembled(target, x, found, apd.Config())
    assert (components.count, active) == (3, 1.0)
    assert components.owners["0.weight"].tolist() == [0, 1, 2]
    assert components.owners["2.weight"].tolist() == order.tolist()
    for c in range(3):
        for weight in components.component(c).values():
            assert weight.nonzero().tolist() == [[c, c]]
    assert components.ranks().tolist() == [2, 2, 2]
    for site, total in components.sum().items():
        torch.testing.assert_close(total, module.get_parameter(site).detach())


def test_parts_are_put_together_by_the_fewest_and_used_as_training_ended():
    """Every input has a hundredth of the other feature, too little to need a part for."""
    module = Formula(lambda net, x: x @ net.W.T, W=torch.eye(2).double())
    own = torch.eye(2).double()[:, None]
    x = (torch.eye(2) + 0.01 * (1 - torch.eye(2))).double().repeat(40, 1)
    target = apd.Target.of(module, x[:2])
    components, active = assembled(
        target, x, {"W": Found(Factors(own, own), 2.0, "trained")}, apd.Config()
    )
    assert (components.count, active) == (2, 2.0)
    precise = apd.Config(exactness=1e-6)
    components, active = assembled(
        target, x, {"W": Found(Factors(own, own), 2.0, "trained")}, precise
    )
    assert (components.count, active) == (1, 1.0)


def test_a_weight_that_changes_nothing_is_put_together_with_the_others():
    draw = numbers(4)
    module = Formula(
        lambda net, x: x @ net.A.T + torch.relu(x @ net.B.T - 1e3), A=draw(3, 4), B=draw(3, 4)
    )
    run = apd.decompose(module, draw(90, 4), apd.Config(components=5, steps=20, batch_size=16))
    torch.testing.assert_close(run.components.sum()["B"], module.B.detach())


def test_a_weight_of_zeros_has_no_parts():
    """As of a branch that starts as nothing."""
    draw = numbers(5)
    module = Formula(lambda net, x: x @ net.A.T + x @ net.B.T, A=draw(3, 4), B=0 * draw(3, 4))
    run = apd.decompose(module, draw(90, 4), apd.Config(components=5, steps=20, batch_size=16))
    assert run.components.ranks().min() > 0
    assert not run.components.sum()["B"].any()


def test_more_components_are_used_while_those_leave_much():
    """Each weight by itself is said to need a part on one input of five: most go without."""
    module, target, x, parts = blocks()
    found = {site: Found(parts, 0.2, "trained") for site in target.sites}
    components, active = assembled(target, x, found, apd.Config())
    assert components.count >= 3
    on = strongest(strengths(target, components, x), active)
    left = oracles.masked_outputs(Problem(module, target, components, x, x.argmax(1)), on)
    error = (left - target(x)).square().mean() / target(x).square().mean()
    assert error <= 0.1
    _, lax = assembled(target, x, found, apd.Config(separation=0.99))
    assert lax < active <= 2


@pytest.mark.parametrize("share", [0.3, 0.03, 1e-3])
def test_of_a_weight_inputs_use_the_fewest_parts_that_explain_the_outputs(share):
    """The error falls with every part that is used, and what training ended with is too many."""
    module = Formula(lambda net, x: x @ net.W.T, W=torch.diag(2.0 ** -torch.arange(6).double()))
    own = torch.eye(6).double()[:, None]
    parts = Components.of({"W": Factors(module.W.detach()[:, None], own)})
    x = numbers(9)(300, 6)
    target = apd.Target.of(module, x[:4])
    usage = Usage(target, parts, x, apd.Config())
    allowed = share * float(target(x).square().mean())
    k = usage.fewest(6.0, allowed)

    def left(active: float) -> float:
        alone = (x * strongest(usage.strengths, active)) @ module.W.detach().T
        return float((alone - target(x)).square().mean())

    assert left(k) <= allowed < left(k - 6 / 2**HALVINGS)
    assert usage.fewest(k / 2, allowed) == k / 2
    assert torch.equal(usage.needed(6.0, allowed), strongest(usage.strengths, k))


@pytest.mark.parametrize(
    ("on", "strong", "every"), [(0.4, 0.8, True), (0.6, 0.8, False), (0.4, 0.3, False)]
)
def test_where_few_parts_have_an_effect_and_half_of_them_are_needed_it_is_those(on, strong, every):
    """Of what an input has, a share is strong, and the others so weak that no part is needed."""
    draw = torch.Generator().manual_seed(3)
    own = torch.eye(8).double()
    module = Formula(lambda net, x: x @ net.W.T, W=own)
    parts = Components.of({"W": Factors(own[:, None], own[:, None])})
    amounts = torch.where(torch.rand(400, 8, generator=draw) < strong, 1.0, 0.03).double()
    x = amounts * (torch.rand(400, 8, generator=draw) < on)
    target = apd.Target.of(module, x[:4])
    allowed = 0.003 * float(x.square().mean())
    used = Usage(target, parts, x, apd.Config()).needed(8.0, allowed)
    assert torch.equal(used, x > 0) == every
    assert (used <= (x > 0)).all()
    assert used[x == 1].float().mean() > 0.99


def test_a_part_that_no_input_reads_but_by_rounding_is_used_by_none():
    """Its strengths are within a hundredth of its greatest, as those of no other are."""
    own = torch.eye(8).double()
    module = Formula(lambda net, x: x @ net.W.T, W=own)
    parts = Components.of({"W": Factors(own[:, None], own[:, None])})
    x = (torch.rand(400, 8, generator=torch.Generator().manual_seed(3)) < 0.3).double()
    x[:, 7] = 1e-7 + 1e-9 * x[:, 0]
    target = apd.Target.of(module, x[:4])
    allowed = 0.003 * float(x.square().mean())
    used = Usage(target, parts, x, apd.Config()).needed(8.0, allowed)
    assert torch.equal(used, x > 0.5)


def test_every_weight_is_decomposed_as_if_it_were_alone():
    """With its share of what may be unexplained of all."""
    target, x = make_problem("mlp-1").target, numbers(13)(150, 5)
    settings = {"components": 8, "steps": 40, "batch_size": 32, "seed": 3}
    run = apd.decompose(target, x, apd.Config(exactness=0.03, **settings))
    for site in run.sites:
        alone = apd.decompose(target.alone(site), x, apd.Config(exactness=0.01, **settings))
        assert [s for s in run.steps if s.site == site] == alone.steps
        for one, other in zip(
            run.components.factors[site], alone.components.factors[site], strict=True
        ):
            assert torch.equal(one, other)


def test_a_weight_without_an_effect_at_first_order_is_left_as_it_is():
    weights = {"A": numbers(1)(3, 4), "B": numbers(2)(3, 4)}
    module = Formula(lambda net, x: (x @ net.A.T) * ((x @ net.B.T) > 0), **weights)
    x = numbers(3)(90, 4)
    run = apd.decompose(module, x, apd.Config(components=5, steps=20, batch_size=16))
    assert not attributable(run.target.alone("B"), x)
    assert {step.site for step in run.steps} == {"A"}
    assert run.kinds["B"] == "directions" != run.kinds["A"]
    torch.testing.assert_close(run.components.sum()["B"], weights["B"])
    strengths = run.explain(x.numpy(), "all").strengths
    assert strengths[:, run.components.owners["A"]].any()
    assert not strengths[:, run.components.owners["B"]].any()


def test_where_no_weight_has_an_effect_at_first_order_there_is_nothing_to_decompose():
    module = Formula(lambda net, x: torch.sign(x @ net.W), W=numbers(1)(4, 3))
    for function in (apd.decompose, apd.estimate):
        with pytest.raises(apd.ReferenceError, match="no effect at first order"):
            function(module, numbers(3)(90, 4), apd.Config(components=5, steps=3))


def test_parts_are_put_together_by_what_all_of_a_sorted_reference_uses(monkeypatch):
    monkeypatch.setattr("apd.assembly.ROWS", 20)
    own = torch.eye(2).double()
    module = Formula(lambda net, x: x @ net.W.T, W=own)
    x = torch.cat([torch.ones(20, 2), torch.eye(2).repeat(30, 1)]).double()
    found = {"W": Found(Factors(own[:, None], own[:, None]), 2.0, "trained")}
    components, _ = assembled(apd.Target.of(module, x[:2]), x, found, apd.Config())
    assert components.count == 2


def test_a_loss_is_of_all_blocks_of_inputs(monkeypatch):
    own = torch.eye(6).double()
    module = Formula(lambda net, x: x @ net.W.T, W=own)
    parts = Components.of({"W": Factors(own[:, None], own[:, None])})
    x = numbers(9)(100, 6)
    usage = Usage(apd.Target.of(module, x[:4]), parts, x, apd.Config())
    expected = float((x * ~usage.strongest(2.0)).square().mean())
    assert usage.loss(2.0) == pytest.approx(expected)
    monkeypatch.setattr("apd.usage.rows_at_once", lambda *_: 32)
    assert usage.loss(2.0) == pytest.approx(expected)


def test_less_than_a_hundredth_of_a_parts_greatest_effect_is_none():
    draw = torch.Generator().manual_seed(3)
    own = torch.eye(8).double()
    module = Formula(lambda net, x: x @ net.W.T, W=own)
    parts = Components.of({"W": Factors(own[:, None], own[:, None])})
    amounts = torch.where(torch.rand(400, 8, generator=draw) < 0.8, 1.0, 0.03).double()
    on = torch.rand(400, 8, generator=draw) < 0.4
    x = torch.where(on, amounts, 0.005)
    usage = Usage(apd.Target.of(module, x[:4]), parts, x, apd.Config())
    assert torch.equal(usage.needed(8.0, 0.003 * float(x.square().mean())), on)
