"""Where weights act: the three formulas of a use, and finding every use of every weight."""

import pytest
import torch
from problems import Formula, make_problem, numbers
from torch import nn
from torch.nn.functional import conv2d, linear

from apd import Target, TargetError
from apd.sites import Factors, LinearUse, TransposedUse

N, P, C, M, I, O = 5, 6, 7, 2, 4, 3  # noqa: E741


@pytest.fixture
def factors():
    draw = numbers(31)
    return Factors(draw(C, M, O), draw(C, M, I))


@pytest.fixture(params=["straight", "transposed"])
def case(request, factors):
    """A use, the weights it applies (one per component, from its input to its output), sizes."""
    weights = torch.stack(
        [sum(torch.outer(factors.U[c, m], factors.V[c, m]) for m in range(M)) for c in range(C)]
    )
    if request.param == "straight":
        return LinearUse("node", "W"), weights.mT, I, O
    return TransposedUse("node", "W"), weights, O, I


def test_write_of_read_is_the_product_with_every_component(case, factors):
    use, weights, a, _ = case
    x = numbers(32)(N, P, a)
    one = torch.eye(C, dtype=torch.float64)[..., None]
    for c in range(C):
        written = use.write(use.read(x, factors) * one[c], factors)
        torch.testing.assert_close(written, x @ weights[c])


def test_adjoint_is_the_transpose_of_write(case, factors):
    use, _, _, b = case
    draw = numbers(33)
    r, g = draw(N, P, C, M), draw(N, P, b)
    torch.testing.assert_close(
        (use.write(r, factors) * g).sum(), (r * use.adjoint(g, factors)).sum()
    )


def test_read_times_adjoint_is_the_bilinear_form_of_every_component(case, factors):
    use, weights, a, b = case
    draw = numbers(34)
    x, g = draw(N, a), draw(N, b)
    fast = (use.read(x, factors) * use.adjoint(g, factors)).sum(-1)
    for n in range(N):
        for c in range(C):
            torch.testing.assert_close(fast[n, c], x[n] @ weights[c] @ g[n])


def sites_of(formula, x, patterns=("*",), **parameters) -> dict:
    target = Target.of(Formula(formula, **parameters), x, patterns)
    return {name: [type(use) for use in site.uses] for name, site in target.sites.items()}


@pytest.mark.parametrize(
    ("formula", "shape", "kind"),
    [
        (lambda net, x: linear(x, net.W), (4, 6), LinearUse),
        (lambda net, x: linear(x, net.W, net.b), (4, 6), LinearUse),
        (lambda net, x: linear(input=x, weight=net.W, bias=net.b), (4, 6), LinearUse),
        (lambda net, x: x @ net.W.T, (4, 6), LinearUse),
        (lambda net, x: x @ net.W.t() + net.b, (4, 6), LinearUse),
        (lambda net, x: x @ net.W.transpose(0, 1), (4, 6), LinearUse),
        (lambda net, x: torch.mm(x, net.W.permute(1, 0)), (4, 6), LinearUse),
        (lambda net, x: x @ net.W, (6, 4), TransposedUse),
        (lambda net, x: torch.mm(x, net.W), (6, 4), TransposedUse),
        (lambda net, x: linear(x, net.W.T, net.b), (6, 4), TransposedUse),
    ],
)
def test_every_way_to_apply_a_matrix_is_recognised(formula, shape, kind):
    draw = numbers(35)
    module = Formula(formula, W=draw(*shape), b=draw(4))
    x = draw(9, 6)
    target = Target.of(module, x)
    (use,) = target.sites["W"].uses
    assert type(use) is kind
    assert target.sites["W"].shape == shape
    torch.testing.assert_close(target(x), module(x).detach())


def test_all_sites_of_the_problems_are_found(problem):
    parameters = dict(problem.module.named_parameters())
    for name, site in problem.target.sites.items():
        assert site.name == name
        assert site.shape == tuple(parameters[name].shape)
        assert all(use.site == name for use in site.uses)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp-1", {"0.weight": 1, "2.weight": 1, "4.weight": 1}),
        ("partial-1", {"0.weight": 1, "4.weight": 1}),
        ("tms-1", {"W": 2}),
        ("matmul-1", {"first": 1, "second": 1}),
        ("positions-1", {"first": 1, "second": 1}),
    ],
)
def test_sites_come_in_graph_order_with_all_their_uses(name, expected):
    sites = make_problem(name).target.sites
    assert [(site, len(sites[site].uses)) for site in sites] == list(expected.items())


def test_patterns_are_shell_wildcards():
    net = make_problem("mlp-1").module
    x = make_problem("mlp-1").x
    assert list(Target.of(net, x, ("[02].weight",)).sites) == ["0.weight", "2.weight"]
    assert list(Target.of(net, x, ("4.*", "0.*")).sites) == ["0.weight", "4.weight"]


def refusal(formula, patterns=("*",), x=None, **parameters) -> str:
    x = numbers(36)(9, 6) if x is None else x
    with pytest.raises(TargetError) as caught:
        Target.of(Formula(formula, **parameters), x, patterns)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is():
    net, x = make_problem("mlp-1").module, make_problem("mlp-1").x
    with pytest.raises(TargetError, match=r"'encoder\.\*'.*0\.weight, 2\.weight, 4\.weight"):
        Target.of(net, x, ("0.weight", "encoder.*"))


def test_a_weight_that_never_runs_is_refused_by_name():
    draw = numbers(37)
    message = refusal(lambda net, x: linear(x, net.W), W=draw(4, 6), spare=draw(3, 2))
    assert "spare" in message
    assert "never used" in message


def test_a_weight_that_never_runs_may_be_left_out():
    draw = numbers(37)
    found = sites_of(
        lambda net, x: linear(x, net.W), draw(9, 6), ("W",), W=draw(4, 6), spare=draw(3, 2)
    )
    assert found == {"W": [LinearUse]}


@pytest.mark.parametrize(
    ("formula", "operator"),
    [
        (lambda net, x: conv2d(x[:, None, None], net.W[..., None, None]).flatten(1), "conv2d"),
        (lambda net, x: linear(x, net.W.abs()), "abs"),
        (lambda net, x: linear(x, net.W) + net.W.mean(), "mean"),
        (lambda net, x: torch.einsum("ni,oi->no", x, net.W), "einsum"),
        (lambda net, x: linear(x, net.W @ net.W.T @ net.W), "matmul"),
        (lambda net, x: linear(net.W, x).T, "linear"),
    ],
)
def test_a_weight_in_any_other_place_is_refused_by_name(formula, operator):
    """A part of its effect would be missed otherwise."""
    if operator == "conv2d":
        x = numbers(36)(9, 2, 5, 6)
        net = nn.Sequential(nn.Conv2d(2, 3, 4), nn.Flatten()).double()
        with pytest.raises(TargetError, match=r"0\.weight is used by aten\.conv2d"):
            Target.of(net, x)
        return
    message = refusal(formula, W=numbers(38)(4, 6))
    assert message.startswith("the weight W is used by aten.")
    assert operator in message


def test_a_stack_of_matrices_is_refused():
    """A weight [heads, i, o] is not a matrix; components of one could not be formed."""
    message = refusal(
        lambda net, x: (x[:, None, None] @ net.W).mean((1, 2)), W=numbers(39)(5, 6, 4)
    )
    assert "W" in message


def test_a_site_applied_to_something_else_than_the_batch_is_refused():
    """Its effect is shared by all inputs, and no row of it belongs to one of them."""
    draw = numbers(40)
    message = refusal(
        lambda net, x: linear(x, net.W) + linear(net.table.tanh(), net.W).mean(0),
        ("W",),
        W=draw(4, 6),
        table=draw(1, 6),
    )
    assert "W" in message


@pytest.mark.parametrize(
    "formula",
    [
        lambda net, x: linear(x.transpose(0, 1), net.W).mean(0),
        lambda net, x: linear(x.flatten(0, 1), net.W).unflatten(0, (-1, 7)).mean(1),
    ],
)
def test_a_site_whose_first_axis_is_not_the_batch_is_refused(formula):
    draw = numbers(41)
    assert "W" in refusal(formula, x=draw(5, 7, 6), W=draw(4, 6))
