"""Where weights act: the three formulas of a use, and finding every use of every weight."""

import pytest
import torch
from problems import Formula, make_problem, numbers
from torch import nn
from torch.nn.functional import embedding, layer_norm, linear

from apd import Target, TargetError
from apd.hooks import capture
from apd.sites import Factors, LinearUse, TransposedUse, find_sites

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


# name of a weight -> (how it is applied to x [n, 6], its shape, the use that is)
WAYS = {
    "linear": (lambda net, x: linear(x, net.linear), (4, 6), LinearUse),
    "biased": (lambda net, x: linear(x, net.biased, net.b), (4, 6), LinearUse),
    "named": (lambda net, x: linear(input=x, weight=net.named, bias=net.b), (4, 6), LinearUse),
    "matmul_T": (lambda net, x: x @ net.matmul_T.T, (4, 6), LinearUse),
    "matmul_t": (lambda net, x: x @ net.matmul_t.t() + net.b, (4, 6), LinearUse),
    "matmul_transpose": (
        lambda net, x: x @ net.matmul_transpose.transpose(0, 1),
        (4, 6),
        LinearUse,
    ),
    "mm_permute": (lambda net, x: torch.mm(x, net.mm_permute.permute(1, 0)), (4, 6), LinearUse),
    "matmul": (lambda net, x: x @ net.matmul, (6, 4), TransposedUse),
    "mm": (lambda net, x: torch.mm(x, net.mm), (6, 4), TransposedUse),
    "linear_T": (lambda net, x: linear(x, net.linear_T.T, net.b), (6, 4), TransposedUse),
}


def together(formulas: dict, **parameters: torch.Tensor) -> Formula:
    """A module that applies every formula and puts the results side by side."""
    return Formula(
        lambda net, x: torch.cat([apply(net, x) for apply in formulas.values()], 1), **parameters
    )


def test_every_way_to_apply_a_matrix_is_recognised():
    draw = numbers(35)
    weights = {name: draw(*shape) for name, (_, shape, _) in WAYS.items()}
    module = together({name: way for name, (way, _, _) in WAYS.items()}, b=draw(4), **weights)
    x = draw(9, 6)
    target = Target.of(module, x)
    found = {
        name: (site.shape, [type(use) for use in site.uses]) for name, site in target.sites.items()
    }
    assert found == {name: (shape, [kind]) for name, (_, shape, kind) in WAYS.items()}
    torch.testing.assert_close(target(x), module(x).detach())


def test_all_sites_of_the_problems_are_found(problem):
    parameters = dict(problem.module.named_parameters())
    for name, site in problem.target.sites.items():
        assert site.name == name
        assert site.shape == tuple(parameters[name].flatten(1).shape)
        assert all(use.site == name for use in site.uses)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp-1", {"0.weight": 1, "2.weight": 1, "4.weight": 1}),
        ("partial-1", {"0.weight": 1, "4.weight": 1}),
        ("tms-1", {"W": 2}),
        ("matmul-1", {"first": 1, "second": 1}),
        ("positions-1", {"first": 1, "second": 1}),
        ("conv-1", {"0.weight": 1, "3.weight": 1, "7.weight": 1}),
        ("conv1d-1", {"first": 1, "deep": 1, "last": 1}),
        ("twice-1", {"W": 2, "last": 1}),
        ("tokens-1", {"table": 1, "hidden": 1, "last": 1}),
        ("unembed-1", {"table": 3, "turn": 1}),
    ],
)
def test_sites_come_in_graph_order_with_all_their_uses(name, expected):
    sites = make_problem(name).target.sites
    assert [(site, len(sites[site].uses)) for site in sites] == list(expected.items())


def sites_of(target: Target, *patterns: str) -> list[str]:
    return list(find_sites(target.graph, target.state, patterns))


# where a weight meets what is not, or not only, its input's own
SHARED = {
    "reversed": lambda net, x: linear(x.flip(0), net.W).flip(0),
    "flattened and reversed": lambda net, x: linear(
        x[:, None].expand(-1, 3, -1).flatten(0, 1).flip(0), net.W
    ).flip(0)[::3],
    "centred": lambda net, x: linear(x - x.mean(0), net.W) * 0 + x[:, :4],
    "one row": lambda net, x: linear(x[:1].detach() * 0 + 1, net.W) + x[:, :4],
}


@pytest.mark.parametrize("name", SHARED)
def test_a_weight_that_meets_other_inputs_vectors_is_refused(name):
    draw = numbers(44)
    assert "the weight W is applied to" in refusal(SHARED[name], x=draw(2, 6), W=draw(4, 6))


def test_patterns_are_shell_wildcards():
    target = make_problem("mlp-1").target
    assert sites_of(target, "[02].weight") == ["0.weight", "2.weight"]
    assert sites_of(target, "4.*", "0.*") == ["0.weight", "4.weight"]


def test_a_name_is_a_pattern_whatever_it_holds():
    draw = numbers(45)
    net = Formula(lambda net, x: linear(linear(x, net.get_parameter("a[0]")), net.b), b=draw(3, 4))
    net.register_parameter("a[0]", nn.Parameter(draw(4, 6)))
    target = Target.of(net, draw(9, 6))
    assert sites_of(target, "a[0]") == ["a[0]"]
    assert sites_of(target, "*", "!a[0]") == ["b"]


def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is():
    with pytest.raises(TargetError, match=r"'encoder\.\*'.*0\.weight, 2\.weight, 4\.weight"):
        sites_of(make_problem("mlp-1").target, "0.weight", "encoder.*")


def test_patterns_after_an_exclamation_mark_leave_weights_whole():
    target = make_problem("mlp-1").target
    assert sites_of(target, "*", "!2.weight") == ["0.weight", "4.weight"]
    assert sites_of(target, "[02].*", "!0.*", "!4.*") == ["2.weight"]
    assert sites_of(target, "!0.*") == ["2.weight", "4.weight"]
    with pytest.raises(TargetError, match=r"'!encoder\.\*'.*0\.weight, 2\.weight, 4\.weight"):
        sites_of(target, "*", "!encoder.*")
    with pytest.raises(TargetError, match=r"leave nothing of 0\.weight, 2\.weight, 4\.weight"):
        sites_of(target, "2.*", "!*.weight")
    with pytest.raises(TargetError, match=r"the sites \[\] leave nothing of 0\.weight"):
        sites_of(target)


def refusal(formula, patterns=("*",), x=None, **parameters) -> str:
    x = numbers(36)(9, 6) if x is None else x
    with pytest.raises(TargetError) as caught:
        Target.of(Formula(formula, **parameters), x, patterns)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_weight_that_never_runs_is_refused_by_name_unless_left_out():
    draw = numbers(37)
    parameters = {"W": draw(4, 6), "spare": draw(3, 2)}
    message = refusal(lambda net, x: linear(x, net.W), **parameters)
    assert "spare" in message
    assert "never used" in message
    assert "sites = ['*', '!spare']" in message
    target = Target.of(Formula(lambda net, x: linear(x, net.W), **parameters), draw(9, 6), ("W",))
    assert list(target.sites) == ["W"]


# name of a weight -> (how it is misused, the operator to blame)
MISUSES = {
    "absolute": (lambda net, x: linear(x, net.absolute.abs()), "aten.abs"),
    "averaged": (lambda net, x: linear(x, net.averaged) + net.averaged.mean(), "aten.mean"),
    "einsummed": (lambda net, x: torch.einsum("ni,oi->no", x, net.einsummed), "aten.einsum"),
    "multiplied": (lambda net, x: linear(x, net.multiplied @ net.square), "aten.matmul"),
    "swapped": (lambda net, x: linear(net.swapped, x).T, "aten.linear"),
    "twice": (
        lambda net, x: linear(linear(x, net.twice), net.twice.T) * net.twice[0],
        "aten.select",
    ),
}


@pytest.fixture(scope="module")
def misusing():
    draw = numbers(38)
    weights = {name: draw(4, 6) for name in (*MISUSES, "fine")}
    formulas = {name: way for name, (way, _) in MISUSES.items()}
    weights["square"] = draw(6, 6)
    module = together(formulas | {"fine": lambda net, x: linear(x, net.fine)}, **weights)
    return Target.of(module, draw(9, 6), ("fine",))


@pytest.mark.parametrize("name", MISUSES)
def test_a_weight_in_any_other_place_is_refused_by_name(misusing, name):
    """A part of its effect would be missed otherwise."""
    with pytest.raises(TargetError) as caught:
        sites_of(misusing, name)
    message = str(caught.value)
    assert message.startswith(f"the weight {name} is used by {MISUSES[name][1]}")
    assert "\n" not in message


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


MOVED = {
    "second": lambda net, x: linear(x.transpose(0, 1), net.W).mean(0),
    "last but one": lambda net, x: linear(x.permute(1, 0, 2)[None], net.W)[0].mean(0),
    "ahead": lambda net, x: linear(x.flatten(0, 1), net.W).unflatten(0, (-1, 7)).mean(1),
    "behind": lambda net, x: linear(x.transpose(0, 1).flatten(0, 1), net.W).view(7, -1, 4).mean(0),
    "between": lambda net, x: (
        linear(x.unflatten(1, (7, 1)).transpose(0, 1).reshape(-1, 6), net.W)
        .reshape(7, x.shape[0], 4)
        .mean(0)
    ),
}


@pytest.mark.parametrize("name", MOVED)
def test_the_inputs_axis_is_brought_to_the_front(name):
    draw = numbers(41)
    module, x = Formula(MOVED[name], W=draw(4, 6)), draw(5, 7, 6)
    target = Target.of(module, x)
    torch.testing.assert_close(target(x), module(x).detach())
    (use,) = target.uses
    (found,) = capture(target, x)[1]
    torch.testing.assert_close(found.x.reshape(x.shape), x)
    assert target.positions == {use.node: 7}


# name of a weight -> (what it does to h [n, 6, 4], its shape)
BIASES = {
    "added": (lambda net, h: h + net.added, (6, 4)),
    "sliced": (lambda net, h: h + net.sliced[:, : h.shape[1]], (1, 9, 4)),
    "beside": (lambda net, h: torch.cat([net.beside.expand(h.shape[0], -1, -1), h], 1), (1, 2, 4)),
    "subtracted": (lambda net, h: h - net.subtracted[None], (6, 4)),
    "repeated": (
        lambda net, h: torch.cat([net.repeated.repeat(h.shape[0], 1, 1), h], 1),
        (1, 2, 4),
    ),
    "instead": (lambda net, h: torch.where(h > 0, h, net.instead), (1, 1, 4)),
    "scaling": (lambda net, h: h * net.scaling, (1, 1, 4)),
    "normed": (lambda net, h: layer_norm(h, (6, 4), net.normed), (6, 4)),
    "placed": (lambda net, h: h + embedding(torch.arange(6), net.placed), (9, 4)),
    "indexed": (lambda net, h: h + net.indexed[torch.arange(6)], (9, 4)),
    "together": (lambda net, h: h + (net.together + embedding(torch.arange(6), net.fixed)), (6, 4)),
}


@pytest.mark.parametrize("name", BIASES)
def test_tensors_that_act_as_biases_stay_whole(name):
    """Nothing is applied to an input through them, so there is nothing to attribute."""
    way, shape = BIASES[name]
    draw = numbers(42)
    module = Formula(
        lambda net, x: way(net, linear(x, net.W)).mean(1), W=draw(4, 5), **{name: draw(*shape)}
    )
    module.register_buffer("fixed", draw(7, 4))
    x = draw(3, 6, 5)
    target = Target.of(module, x)
    assert list(target.sites) == ["W"]
    torch.testing.assert_close(target(x), module(x).detach())
    with pytest.raises(TargetError, match=f"no weight of the target matches '{name}'; it has W"):
        Target.of(module, x, (name,))


# what looks like a bias, but has a part in what is done to inputs -> the operator to blame
NO_BIASES = {
    "merged": (lambda net, h: linear(h, net.merged + net.fixed), (4, 4), "aten.add"),
    "gated": (lambda net, h: h * net.gated, (6, 4), "aten.mul"),
    "summed": (lambda net, h: (h[:, :, None] * net.summed).sum(-1), (3, 4), "aten.mul"),
    "both": (lambda net, h: linear(h, net.both)[:, :4] + net.both, (4, 4), "aten.add"),
}


@pytest.mark.parametrize("name", NO_BIASES)
def test_weights_that_are_no_biases_are_not_left_out_in_silence(name):
    way, shape, blamed = NO_BIASES[name]
    draw = numbers(43)
    module = Formula(
        lambda net, x: way(net, linear(x, net.W)).flatten(1), W=draw(4, 5), **{name: draw(*shape)}
    )
    module.register_buffer("fixed", draw(4, 4))
    with pytest.raises(TargetError, match=f"the weight {name} is used by {blamed}"):
        Target.of(module, draw(3, 6, 5))


def test_buffers_stay_whole():
    draw = numbers(36)
    module = Formula(lambda net, x: linear(x @ net.embedding, net.W), W=draw(4, 8))
    module.register_buffer("embedding", draw(6, 8))
    assert list(Target.of(module, draw(9, 6)).sites) == ["W"]
