"""Tables as matrices applied to one-hot vectors: against just that, and from end to end."""

import dataclasses

import numpy as np
import oracles
import pytest
import torch
from problems import Formula, Problem, numbers, random_components, random_mask
from torch import nn
from torch.nn import functional as F

import apd
import mad
from apd import Target, TargetError
from apd.attribution import signed_attributions
from apd.hooks import capture
from apd.masked import masked_outputs
from apd.pairs import Pairs
from apd.sites import EmbeddingUse, Factors, TransposedUse

N, P, C, M, V, D = 5, 6, 7, 2, 9, 4
TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


def ids(n: int, p: int, rows: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(rows, (n, p), generator=torch.Generator().manual_seed(seed))


# --- the formulas of a use --------------------------------------------------------------------


@pytest.fixture
def case():
    """A use, what it is applied to, the use of the same matrix on one-hot vectors, components."""
    draw, table = numbers(151), EmbeddingUse("node", "W", V)
    x, _ = table.operands([draw(V, D), ids(N, P, V - 2)])
    return table, x, TransposedUse("node", "W"), Factors(draw(C, M, V), draw(C, M, D))


def one_hot(x: torch.Tensor) -> torch.Tensor:
    return F.one_hot(x[..., 0].long(), V).double()


def test_parts_read_what_they_read_off_one_hot_vectors(case):
    table, x, matrix, factors = case
    expected = matrix.read(one_hot(x), factors)
    assert torch.equal(table.read(x, factors), expected)
    assert expected.shape == (N, P, C, M)


def test_what_is_written_and_its_transpose_are_those_of_the_matrix(case):
    table, x, matrix, factors = case
    r, g = table.read(x, factors), numbers(152)(N, P, D)
    assert torch.equal(table.write(r, factors), matrix.write(r, factors))
    assert torch.equal(table.adjoint(g, factors), matrix.adjoint(g, factors))
    assert table.width(factors) == D


def test_gradients_are_those_of_the_matrix_and_touch_rows_seen_alone(case):
    table, x, matrix, factors = case
    draw = numbers(153)
    g, on = draw(N, P, D), draw(N, 1, C, 1)
    fast, slow = table.gradient(x, g, on, factors), matrix.gradient(one_hot(x), g, on, factors)
    for found, expected in zip(fast, slow, strict=True):
        torch.testing.assert_close(found, expected, **TOLERANCE)
    seen = sorted(set(x.flatten().long().tolist()))
    assert len(seen) < V
    assert fast.U.abs().sum((0, 1)).nonzero().flatten().tolist() == seen


def test_a_table_of_every_inputs_own_and_its_slope(case):
    table, x, matrix, _ = case
    draw = numbers(154)
    own, g = draw(N, V, D), draw(3, N, P, D)
    torch.testing.assert_close(table.apply(x, own), matrix.apply(one_hot(x), own), **TOLERANCE)
    torch.testing.assert_close(table.slope(x, g), matrix.slope(one_hot(x), g), **TOLERANCE)


def test_one_hot_vectors_are_never_formed():
    """Of these there would be 2^38 numbers."""
    rows, at = 2**22, ids(256, 256, 2**22)
    table, draw = EmbeddingUse("node", "W", rows), numbers(155)
    factors = Factors(draw(1, 1, rows), draw(1, 1, 2))
    x, _ = table.operands([draw(1, 2), at])
    assert torch.equal(table.read(x, factors)[..., 0, 0], factors.U[0, 0][at])
    on = torch.ones(256, 1, 1, 1, dtype=torch.float64)
    u = table.gradient(x, torch.ones(256, 256, 2, dtype=torch.float64), on, factors).U
    seen = at.flatten().bincount(minlength=rows).double()
    torch.testing.assert_close(u[0, 0], seen * factors.V.sum(), **TOLERANCE)


# --- targets ----------------------------------------------------------------------------------

# name of a table -> (how it is looked up by ids [n, 6], the use that is)
WAYS = {
    "function": (lambda net, x: F.embedding(x, net.function), EmbeddingUse),
    "padded": (lambda net, x: F.embedding(x, net.padded, padding_idx=2), EmbeddingUse),
    "indexed": (lambda net, x: net.indexed[x], EmbeddingUse),
    "backwards": (lambda net, x: net.backwards[-1 - x], EmbeddingUse),
    "one_hot": (lambda net, x: F.one_hot(x, V).double() @ net.one_hot, TransposedUse),
}


@pytest.fixture(scope="module")
def looked_up():
    """Every way in one target, with components."""
    draw = numbers(156)
    module = Formula(
        lambda net, x: sum(way(net, x).tanh() for way, _ in WAYS.values()).mean(1),
        **{name: draw(V, D) for name in WAYS},
    )
    x = ids(N, P, V)
    target = Target.of(module, x)
    chosen = torch.arange(N) % D
    return Problem(module, target, random_components(target, C, M, draw), x, chosen)


def test_every_way_to_look_up_is_recognised(looked_up):
    found = {name: [type(u) for u in site.uses] for name, site in looked_up.target.sites.items()}
    assert found == {name: [kind] for name, (_, kind) in WAYS.items()}


def test_effects_are_derivatives_along_components_at_padding_too(looked_up):
    seen = capture(looked_up.target, looked_up.x)
    fast = signed_attributions(*seen, looked_up.components, looked_up.chosen)
    effects = oracles.effects(looked_up)
    slow = torch.stack([effects[n, :, :, o] for n, o in enumerate(looked_up.chosen)])
    torch.testing.assert_close(fast, slow, **TOLERANCE)
    padding = dataclasses.replace(looked_up, x=torch.full((N, P), 2))
    assert oracles.effects(padding)[:, 1].abs().min() > 0


def test_masked_outputs_are_those_of_the_sum_of_the_active_components(looked_up):
    mask = random_mask(N, C)
    pairs = Pairs.of(mask, torch.float64, M)
    fast = masked_outputs(looked_up.target, looked_up.components, looked_up.x, pairs)
    torch.testing.assert_close(fast, oracles.masked_outputs(looked_up, mask), **TOLERANCE)


@pytest.mark.parametrize(
    ("look_up", "unknown"),
    [
        (lambda W, x: F.embedding(x, W), [V, -1, 2**40]),
        (lambda W, x: F.embedding(x, W, padding_idx=2), [V, -1]),
        (lambda W, x: W[x], [V, -V - 1, 2**40]),
    ],
)
def test_a_number_without_a_row_has_one_of_nan_and_others_have_theirs(look_up, unknown):
    module = Formula(lambda net, x: look_up(net.W, x).tanh().mean(1), W=numbers(157)(V, D))
    x = ids(len(unknown) + N, P, V)
    target = Target.of(module, x)
    whole = target(x)
    for row, bad in enumerate(unknown):
        x[row, row] = bad
    outputs = target(x)
    assert outputs[: len(unknown)].isnan().all()
    assert torch.equal(outputs[len(unknown) :], whole[len(unknown) :])


@pytest.mark.parametrize("bad", [V, -1])
def test_a_number_of_no_class_is_refused(bad):
    module = Formula(lambda net, x: F.one_hot(x, V).double().mean(1) @ net.W, W=numbers(161)(V, D))
    x = ids(N, P, V)
    target = Target.of(module, x)
    torch.testing.assert_close(target(x), module(x).detach(), **TOLERANCE)
    x[3, 1] = bad
    with pytest.raises(TargetError, match="an input names an entry that a table does not have"):
        target(x)


def test_whole_numbers_too_large_for_the_targets_own_are_not_taken_for_others():
    module = Formula(lambda net, x: F.embedding(x, net.W).tanh().mean(1), W=numbers(160)(V, D))
    target = Target.of(module, ids(N, P, V).int())
    x = ids(N, P, V)
    assert torch.equal(target.prepare(x), x.int())
    x[2, 3] = 2**32 + 1
    with pytest.raises(TargetError, match=r"whole numbers too large for torch\.int32"):
        target.prepare(x)


def test_what_cannot_be_nan_is_looked_up_as_ever_and_refused_where_it_is_not():
    """Whole numbers out of a table of them, and entries named by two numbers."""
    module = Formula(
        lambda net, x: (
            F.embedding(net.places[x], net.W)[:, 0] + net.W[x[:, 1], x[:, 2] % D][:, None]
        ),
        W=numbers(159)(V, D),
    )
    module.register_buffer("places", torch.arange(V).flip(0))
    x = ids(N, P, V)
    network = nn.Sequential(module, nn.Linear(D, 3).double())
    target = Target.of(network, x, ("1.weight",))
    torch.testing.assert_close(target(x), network(x).detach(), **TOLERANCE)
    x[3, 1] = V
    with pytest.raises(TargetError, match="an input names an entry that a table does not have"):
        target(x)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.EmbeddingBag(V, D), r"aten\.embedding_bag"),
        (nn.Embedding(V, D, max_norm=1.0), r"aten\.embedding_renorm"),
    ],
)
def test_other_tables_are_refused_by_their_operator(layer, said):
    with pytest.raises(TargetError, match=said):
        Target.of(nn.Sequential(layer, nn.Flatten()), ids(N, P, V))


@pytest.mark.parametrize(
    "entries",
    [
        lambda table, x: table[:, x[:, 0].clamp(max=D - 1)].T,
        lambda table, x: table[x[:, 0], x[:, 1].clamp(max=D - 1)][:, None],
    ],
)
def test_columns_and_entries_of_a_table_are_refused(entries):
    with pytest.raises(TargetError, match=r"the weight W is used by aten\.index\.Tensor"):
        Target.of(Formula(lambda net, x: entries(net.W, x), W=numbers(158)(V, D)), ids(N, P, V))


# --- from end to end ----------------------------------------------------------------------------


class Tokens(nn.Module):
    """Token and position embeddings, and the token embedding again to read out with."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(13, 8, padding_idx=0)
        self.places = nn.Embedding(10, 8)
        self.inner = nn.Linear(8, 11)
        self.outer = nn.Linear(11, 8)
        self.readout = nn.Linear(8, 13, bias=False)
        self.readout.weight = self.tokens.weight

    def forward(self, x):
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        return self.readout(h + self.outer(F.relu(self.inner(h)))).mean(1)


@pytest.fixture(scope="module")
def tokens():
    """A short decomposition of a small network of tokens, its module, and the reference."""
    module, reference = Tokens(), ids(90, 6, 13)
    config = apd.Config(components=9, rank=2, steps=8, batch_size=32)
    return apd.decompose(module, reference, config), module, reference


def test_a_tied_table_is_one_site_of_two_uses_and_places_stay_whole(tokens):
    run, module, reference = tokens
    sites = {name: len(site.uses) for name, site in run.target.sites.items()}
    assert sites == {"tokens.weight": 2, "inner.weight": 1, "outer.weight": 1}
    torch.testing.assert_close(run.target(reference), module(reference).detach())
    assert all(np.isfinite([s.faithfulness, s.minimality, s.simplicity]).all() for s in run.steps)
    assert run.steps[-1].faithfulness < run.steps[0].faithfulness


def test_what_comes_in_through_a_token_is_the_derivative_along_its_row(tokens):
    """The row as the token's own, which grows in proportion."""
    run, module, reference = tokens
    found = run.explain(reference[:5].numpy(), 3).input_effects
    assert found.shape == (5, 6)

    def output(rows: torch.Tensor) -> torch.Tensor:
        h = rows + module.places(torch.arange(6))
        return module.readout(h + module.outer(F.relu(module.inner(h)))).mean(1)[:, 3]

    rows = module.tokens(reference[:5]).detach()
    for p in range(6):
        along = rows * (torch.arange(6) == p)[:, None]
        expected = oracles.derivative(output, rows, along)
        np.testing.assert_allclose(found[:, p], expected, rtol=1e-5, atol=1e-6)


def test_a_saved_run_of_tokens_is_the_same(tokens, tmp_path):
    run, _, reference = tokens
    run.save(tmp_path / "run")
    again = apd.load(tmp_path / "run")
    assert again.fingerprint == run.fingerprint
    assert again.target.sites == run.target.sites
    x = reference[:32].numpy()
    for one, other in zip(run.explain(x, "all"), again.explain(x, "all"), strict=True):
        assert np.array_equal(one, other)


def test_a_sequences_bits_do_not_depend_on_the_others(tokens):
    run, _, reference = tokens
    detector = mad.Detector.fit(run, reference)
    whole = detector.score(reference)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(3))
    assert np.array_equal(detector.score(reference[order]).bits, whole.bits[order.numpy()])
    assert np.array_equal(detector.score(reference[37:60]).bits, whole.bits[37:60])
    assert np.isfinite(whole.bits).all()


def test_a_sequence_with_an_unknown_token_is_marked_and_touches_no_others(tokens):
    run, _, reference = tokens
    detector = mad.Detector.fit(run, reference)
    x = reference[:40].clone()
    x[7, 2], x[31, 0] = 13, -1
    found, whole = detector.score(x), detector.score(reference[:40])
    others = np.delete(np.arange(40), [7, 31])
    assert np.flatnonzero(~found.finite).tolist() == [7, 31]
    assert np.isnan(found.p_value[[7, 31]]).all()
    assert np.array_equal(found.bits[others], whole.bits[others])


def test_a_reference_with_unknown_tokens_is_refused_by_row(tokens):
    _, module, reference = tokens
    x = reference.clone()
    x[5, 2], x[17, 0] = 13, -1
    with pytest.raises(apd.ReferenceError, match=r"no row for, in rows 5, 17$"):
        apd.decompose(module, x, apd.Config(components=9, steps=4, batch_size=16))


@pytest.mark.parametrize("output", ["predicted", "all"])
def test_without_a_decomposed_table_nothing_is_known_of_what_came_in(tokens, output):
    _, module, reference = tokens
    config = apd.Config(components=9, steps=4, batch_size=16, sites=("inner.*", "outer.*"))
    run = apd.decompose(module, reference, config)
    np.testing.assert_array_equal(run.explain(reference[:5].numpy(), output).input_effects, 0)
