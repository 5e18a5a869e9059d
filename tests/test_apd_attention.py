"""Attention, recurrence and what they are packed in: every weight found, against two oracles."""

import math

import numpy as np
import oracles
import pytest
import torch
from problems import Formula, Problem, numbers, random_components, random_mask
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import apd
import mad
from apd import Target, TargetError
from apd.attention import attention, matmul
from apd.attribution import rms_attributions
from apd.hooks import capture
from apd.masked import masked_outputs
from apd.pairs import Pairs
from apd.sites import LinearUse, TransposedUse

C = 7
TOLERANCE = {"rtol": 1e-8, "atol": 1e-11}

# --- attention itself ---------------------------------------------------------------------------


def bias(seed: int, *shape: int) -> torch.Tensor:
    return numbers(seed)(*shape)


ALLOWED = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.3},
    "allowed": {"attn_mask": ALLOWED},
    "added": {"attn_mask": bias(161, 4, 1, 3, 5)},
    "infinite": {"attn_mask": torch.zeros(3, 5).double().masked_fill(~ALLOWED, -math.inf)},
    "grouped": {"enable_gqa": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_attention_is_the_librarys_and_so_are_its_gradients(name):
    """Where all is masked, as in the second row of some of these, nothing is found."""
    options, draw = OPTIONS[name], numbers(162)
    heads = 1 if name == "grouped" else 2
    q, k, v = draw(4, 2, 3, 6), draw(4, heads, 5, 6), draw(4, heads, 5, 7)
    leaves, own = ([t.clone().requires_grad_() for t in (q, k, v)] for _ in range(2))
    with sdpa_kernel(SDPBackend.MATH):
        expected = F.scaled_dot_product_attention(*leaves, **options)
    mask = options.get("attn_mask")
    found = attention(*own, mask, **{k: v for k, v in options.items() if k != "attn_mask"})
    torch.testing.assert_close(found, expected, **TOLERANCE)
    g = draw(*expected.shape)
    for one, other in zip(
        torch.autograd.grad(found, own, g), torch.autograd.grad(expected, leaves, g), strict=True
    ):
        torch.testing.assert_close(one, other, **TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "k", "d"), [(13, 100, 5), (17, 31, 9), (7, 33, 7)])
def test_stacks_of_products_round_alike(dtype, n, k, d):
    draw = numbers(163)
    x, y = draw(29, 2, n, k).to(dtype), draw(29, 1, k, d).to(dtype)
    whole = matmul(x, y)
    torch.testing.assert_close(whole, x @ y)
    order = torch.randperm(29, generator=torch.Generator().manual_seed(1))
    assert torch.equal(matmul(x[order], y[order]), whole[order])
    assert torch.equal(matmul(x[:5], y[:5]), whole[:5])


# --- layers -------------------------------------------------------------------------------------


class Layer(nn.Module):
    """A network that applies a formula to layers."""

    def __init__(self, formula, **layers: nn.Module):
        super().__init__()
        self.formula = formula
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.formula(self, x)


class Conv1D(nn.Module):
    """GPT-2's layer, of a weight [in, out]."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.empty(inputs, outputs)),
            nn.Parameter(torch.empty(outputs)),
        )

    def forward(self, x):
        y = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return y.view(*x.size()[:-1], -1)


def gpt2(net, x):
    """Packed transposed projections, causal attention of two heads, a residual."""
    q, k, v = net.c_attn(net.norm(x)).split(6, 2)
    q, k, v = (t.view(*t.shape[:2], 2, 3).transpose(1, 2) for t in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return (x + net.c_proj(y.transpose(1, 2).contiguous().view(x.shape)))[:, -1]


def llama(net, x):
    """Rotated queries and keys, one head of keys and values for two, a gated layer."""
    h = net.norm(x)
    angles = torch.outer(torch.arange(x.shape[1]).to(x.dtype), torch.tensor([1.0, 0.1]).to(x.dtype))
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

    def rotated(t):
        one, other = t.chunk(2, -1)
        return t * cos + torch.cat((-other, one), -1) * sin

    q = rotated(net.q(h).unflatten(-1, (2, 4)).transpose(1, 2))
    k = rotated(net.k(h).unflatten(-1, (1, 4)).transpose(1, 2)).repeat_interleave(2, 1)
    v = net.v(h).unflatten(-1, (1, 4)).transpose(1, 2).expand_as(k)
    mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)
    weights = (q @ k.transpose(2, 3) / math.sqrt(4) + mask).softmax(-1)
    x = x + net.o((weights @ v).transpose(1, 2).flatten(2))
    return (x + net.down(F.silu(net.gate(x)) * net.up(x))).mean(1)


def mask_of(x):
    return nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)


def attended(net, query, key, value):
    return net.attention(query, key, value)[0].mean(1)


# name -> (formula, layers, {site: (shape, positions of every use)}); inputs are [4, 5, 6]
LAYERS = {
    "gpt2": (
        gpt2,
        {"norm": nn.LayerNorm(6), "c_attn": Conv1D(6, 18), "c_proj": Conv1D(6, 6)},
        {"c_attn.weight": ((6, 18), [5]), "c_proj.weight": ((6, 6), [5])},
    ),
    "llama": (
        llama,
        {
            "norm": nn.RMSNorm(6),
            "q": nn.Linear(6, 8, bias=False),
            "k": nn.Linear(6, 4, bias=False),
            "v": nn.Linear(6, 4, bias=False),
            "o": nn.Linear(8, 6, bias=False),
            "gate": nn.Linear(6, 9, bias=False),
            "up": nn.Linear(6, 9, bias=False),
            "down": nn.Linear(9, 6, bias=False),
        },
        {
            "q.weight": ((8, 6), [5]),
            "k.weight": ((4, 6), [5]),
            "v.weight": ((4, 6), [5]),
            "o.weight": ((6, 8), [5]),
            "gate.weight": ((9, 6), [5]),
            "up.weight": ((9, 6), [5]),
            "down.weight": ((6, 9), [5]),
        },
    ),
    "self": (
        lambda net, x: attended(net, x, x, x),
        {"attention": nn.MultiheadAttention(6, 2, batch_first=True)},
        {"attention.in_proj_weight": ((18, 6), [5]), "attention.out_proj.weight": ((6, 6), [5])},
    ),
    "self without weights": (
        lambda net, x: net.attention(x, x, x, need_weights=False)[0].mean(1),
        {"attention": nn.MultiheadAttention(6, 3, batch_first=True)},
        {"attention.in_proj_weight": ((18, 6), [5]), "attention.out_proj.weight": ((6, 6), [5])},
    ),
    "cross": (
        lambda net, x: attended(net, x[:, :2], x, x),
        {"attention": nn.MultiheadAttention(6, 2, batch_first=True)},
        {"attention.in_proj_weight": ((18, 6), [2, 5]), "attention.out_proj.weight": ((6, 6), [2])},
    ),
    "three": (
        lambda net, x: attended(net, x[:, :2], x[:, :3], x[:, 1:4]),
        {"attention": nn.MultiheadAttention(6, 2, batch_first=True)},
        {
            "attention.in_proj_weight": ((18, 6), [2, 3, 3]),
            "attention.out_proj.weight": ((6, 6), [2]),
        },
    ),
    "of other sizes": (
        lambda net, x: attended(net, x, x[..., :3], x[..., 1:]),
        {"attention": nn.MultiheadAttention(6, 2, kdim=3, vdim=5, batch_first=True)},
        {
            "attention.q_proj_weight": ((6, 6), [5]),
            "attention.k_proj_weight": ((6, 3), [5]),
            "attention.v_proj_weight": ((6, 5), [5]),
            "attention.out_proj.weight": ((6, 6), [5]),
        },
    ),
    "encoder": (
        lambda net, x: net.layers(x, mask_of(x), is_causal=True)[:, -1],
        {"layers": nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 9, batch_first=True), 1)},
        {
            "layers.layers.0.self_attn.in_proj_weight": ((18, 6), [5]),
            "layers.layers.0.self_attn.out_proj.weight": ((6, 6), [5]),
            "layers.layers.0.linear1.weight": ((9, 6), [5]),
            "layers.layers.0.linear2.weight": ((6, 9), [5]),
        },
    ),
    "decoder": (
        lambda net, x: net.layer(x.transpose(0, 1)[:3], x.transpose(0, 1))[-1],
        {"layer": nn.TransformerDecoderLayer(6, 2, 9, norm_first=True)},
        {
            "layer.self_attn.in_proj_weight": ((18, 6), [3]),
            "layer.self_attn.out_proj.weight": ((6, 6), [3]),
            "layer.multihead_attn.in_proj_weight": ((18, 6), [3, 5]),
            "layer.multihead_attn.out_proj.weight": ((6, 6), [3]),
            "layer.linear1.weight": ((9, 6), [3]),
            "layer.linear2.weight": ((6, 9), [3]),
        },
    ),
    "lstm": (
        lambda net, x: net.layer(x[:, :3])[0][:, -1],
        {"layer": nn.LSTM(6, 4, batch_first=True)},
        {"layer.weight_ih_l0": ((16, 6), [3]), "layer.weight_hh_l0": ((16, 4), [1, 1, 1])},
    ),
    "gru": (
        lambda net, x: net.layer(x.transpose(0, 1)[:3])[1][0],
        {"layer": nn.GRU(6, 4)},
        {"layer.weight_ih_l0": ((12, 6), [3]), "layer.weight_hh_l0": ((12, 4), [1, 1, 1])},
    ),
    "cell": (
        lambda net, x: net.layer(x[:, 1], net.layer(x[:, 0])),
        {"layer": nn.RNNCell(6, 4)},
        {"layer.weight_ih": ((4, 6), [1, 1]), "layer.weight_hh": ((4, 4), [1, 1])},
    ),
}


@pytest.fixture(scope="module", params=LAYERS)
def case(request):
    """A network of layers with random weights, components of it, and its expected sites."""
    formula, layers, sites = LAYERS[request.param]
    module, draw = Layer(formula, **layers).double().eval(), numbers(164)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((0.5 if parameter.ndim > 1 else 0.2) * draw(*parameter.shape))
    x = draw(4, 5, 6)
    target = Target.of(module, x)
    chosen = torch.zeros(4, dtype=torch.int64)
    return Problem(module, target, random_components(target, C, 2, draw), x, chosen), sites


def test_every_weight_is_found_with_all_its_uses(case):
    problem, sites = case
    target = problem.target
    found = {
        name: (site.shape, [target.positions[use.node] for use in site.uses])
        for name, site in target.sites.items()
    }
    assert found == sites
    matrices = {name for name, p in problem.module.named_parameters() if p.ndim > 1}
    assert set(found) == matrices
    x = numbers(165)(7, 5, 6)
    torch.testing.assert_close(target(x), oracles.forward(problem.module, x), **TOLERANCE)


def test_attributions_are_derivatives_along_components(case):
    problem, _ = case
    fast = rms_attributions(*capture(problem.target, problem.x), problem.components)
    with sdpa_kernel(SDPBackend.MATH):
        slow = oracles.rms_over_outputs(oracles.effects(problem).sum(1))
    torch.testing.assert_close(fast, slow, **TOLERANCE)


def test_masked_outputs_are_those_of_the_sum_of_the_active_components(case):
    problem, _ = case
    mask = random_mask(4, C)
    pairs = Pairs.of(mask, torch.float64, 2)
    fast = masked_outputs(problem.target, problem.components, problem.x, pairs)
    torch.testing.assert_close(fast, oracles.masked_outputs(problem, mask), **TOLERANCE)


def test_a_layer_of_a_transposed_weight_is_used_transposed():
    problem = LAYERS["gpt2"]
    module = Layer(problem[0], **problem[1]).double()
    target = Target.of(module, numbers(166)(4, 5, 6))
    assert [type(use) for use in target.uses] == [TransposedUse] * 2
    module = Layer(lambda net, x: net.layer(x).mean(1), layer=nn.Linear(6, 4)).double()
    assert [type(use) for use in Target.of(module, numbers(166)(4, 5, 6)).uses] == [LinearUse]


def test_attention_that_drops_weights_in_evaluation_is_refused():
    module = Formula(
        lambda net, x: F.scaled_dot_product_attention(x @ net.W, x, x, dropout_p=0.2).mean(1),
        W=numbers(167)(6, 6),
    )
    with pytest.raises(TargetError, match=r"drops 0\.2 of its weights even in evaluation"):
        Target.of(module, numbers(168)(4, 5, 6))


# --- from end to end ----------------------------------------------------------------------------


class Language(nn.Module):
    """A language model of one block, its table tied, in float32."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.places = nn.Embedding(13, 6), nn.Embedding(9, 6)
        self.block = Layer(gpt2, norm=nn.LayerNorm(6), c_attn=Conv1D(6, 18), c_proj=Conv1D(6, 6))
        for parameter in self.block.parameters():
            nn.init.normal_(parameter, std=0.5)

    def forward(self, x):
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        return self.block(h) @ self.tokens.weight.T


@pytest.fixture(scope="module")
def language():
    """A short decomposition of a language model, and its reference."""
    reference = torch.randint(13, (90, 5), generator=torch.Generator().manual_seed(2))
    config = apd.Config(components=9, rank=2, steps=8, batch_size=32)
    return apd.decompose(Language(), reference, config), reference


def test_training_on_attention_makes_the_losses_smaller(language):
    run, _ = language
    first, *_, last = run.steps
    assert last.faithfulness < first.faithfulness
    assert all(np.isfinite([s.faithfulness, s.minimality, s.simplicity]).all() for s in run.steps)


def test_a_saved_run_of_attention_is_the_same(language, tmp_path):
    run, reference = language
    run.save(tmp_path / "run")
    again = apd.load(tmp_path / "run")
    assert again.fingerprint == run.fingerprint
    assert again.target.sites == run.target.sites
    x = reference[:32].numpy()
    for one, other in zip(run.explain(x, "all"), again.explain(x, "all"), strict=True):
        assert np.array_equal(one, other)


def test_removed_components_are_removed_from_the_module_itself(language):
    run, reference = language
    left = run.ablate([0, 2])
    again = Language()
    again.load_state_dict(left.state_dict(), strict=False)
    torch.testing.assert_close(again(reference), left(reference), rtol=1e-4, atol=1e-5)


def test_a_texts_bits_do_not_depend_on_the_others(language):
    run, reference = language
    detector = mad.Detector.fit(run, reference)
    whole = detector.score(reference)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(3))
    assert np.array_equal(detector.score(reference[order]).bits, whole.bits[order.numpy()])
    assert np.array_equal(detector.score(reference[37:60]).bits, whole.bits[37:60])
    assert np.isfinite(whole.bits).all()
