"""Convolutions as matrices applied to patches: against the library's, and from end to end."""

import warnings

import numpy as np
import pytest
import torch
from problems import Formula, make_problem, numbers, random_mask
from torch import nn
from torch.nn import functional as F

import apd
import mad
from apd import Target, TargetError
from apd.convolution import convolution, patches
from apd.pairs import Pairs
from apd.products import products, unfilled
from apd.sites import ConvUse, Factors

TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}

# input, weight, what else the convolution is given
CASES = [
    ((5, 4, 9, 8), (6, 4, 3, 2), {}),
    ((5, 4, 9, 8), (6, 2, 3, 2), {"stride": [2, 1], "padding": [1, 2], "groups": 2}),
    ((5, 6, 9, 8), (9, 2, 2, 3), {"dilation": [3, 2], "stride": [2], "groups": 3}),
    ((5, 4, 9, 8), (8, 1, 2, 5), {"padding": "same", "groups": 4}),
    ((5, 4, 9, 8), (6, 4, 3, 4), {"padding": "same", "dilation": [2, 1]}),
    ((5, 4, 9, 8), (6, 4, 1, 1), {"padding": "valid"}),
    ((5, 4, 9), (6, 4, 3), {"stride": [3], "padding": [2]}),
    ((5, 4, 9), (6, 2, 4), {"padding": "same", "groups": 2}),
    ((5, 4, 9), (8, 1, 3), {"dilation": [2], "groups": 4}),
]


def library(x, weight, bias, options):
    shaped = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")
        return (F.conv1d, F.conv2d)[weight.ndim - 3](x, weight, bias, **shaped)


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """A convolution's operands, and the rest of its arguments."""
    x, weight, options = request.param
    draw = numbers(91)
    return draw(*x), draw(*weight), draw(weight[0]), options


def test_convolutions_are_the_librarys(case):
    x, weight, bias, options = case
    expected = library(x, weight, bias, options)
    torch.testing.assert_close(convolution(x, weight, bias, **options), expected, **TOLERANCE)
    with unfilled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")
        assert torch.equal(convolution(x, weight, bias, **options), expected)


# --- the formulas of a use --------------------------------------------------------------------

C, M = 7, 2


@pytest.fixture
def used(case):
    """A use, what it is applied to, components, the convolution of x with a weight, y's shape."""
    x, weight, _, options = case
    use = ConvUse("node", "W", options.get("groups", 1), weight.ndim - 2)
    draw = numbers(92)
    factors = Factors(draw(C, M, len(weight)), draw(C, M, weight[0].numel()))

    def convolve(matrix):
        return library(x, matrix.reshape(weight.shape), None, options)

    return use, patches(x, weight, **options), factors, convolve, convolve(weight).shape


def component(factors, c):
    return sum(torch.outer(factors.U[c, m], factors.V[c, m]) for m in range(M))


def test_write_of_read_is_the_convolution_with_every_component(used):
    use, x, factors, convolve, shape = used
    one = torch.eye(C, dtype=torch.float64)[..., None]
    for c in range(C):
        written = use.write(use.read(x, factors) * one[c], factors)
        assert written.shape == shape
        torch.testing.assert_close(written, convolve(component(factors, c)), **TOLERANCE)


def test_adjoint_is_the_transpose_of_write(used):
    use, x, factors, _, shape = used
    draw = numbers(93)
    r, g = draw(*use.read(x, factors).shape), draw(3, *shape)
    a = use.adjoint(g, factors)
    assert a.shape == (3, *r.shape)
    torch.testing.assert_close(
        (use.write(r, factors) * g).flatten(1).sum(1), (r * a).flatten(1).sum(1)
    )


def test_read_times_adjoint_is_the_derivative_along_every_component(used):
    use, x, factors, convolve, shape = used
    g = numbers(94)(*shape)
    parts = use.read(x, factors) * use.adjoint(g, factors)
    fast = parts.sum(-1).flatten(1, -2).sum(1)
    for c in range(C):
        slow = (convolve(component(factors, c)) * g).flatten(1).sum(1)
        torch.testing.assert_close(fast[:, c], slow, **TOLERANCE)


def test_a_weight_of_every_inputs_own_and_its_slope(used):
    use, x, factors, convolve, shape = used
    draw = numbers(95)
    weights = draw(shape[0], factors.U.shape[2], factors.V.shape[2])
    applied = use.apply(x, weights)
    slow = torch.stack([convolve(weight)[n] for n, weight in enumerate(weights)])
    torch.testing.assert_close(applied, slow, **TOLERANCE)
    assert applied.is_contiguous()
    g = draw(3, *shape)
    slopes = use.slope(x, g)
    for k in range(3):
        expected = (slow * g[k]).flatten(1).sum(1)
        torch.testing.assert_close((slopes[k] * weights).sum((1, 2)), expected, **TOLERANCE)


def test_gradients_are_those_of_write_of_masked_read(used):
    use, x, factors, _, shape = used
    draw = numbers(96)
    g, on = draw(*shape), draw(shape[0], C).view(-1, *[1] * (x.ndim - 2), C, 1)
    leaves = Factors(*(tensor.clone().requires_grad_() for tensor in factors))
    (g * use.write(on * use.read(x, leaves), leaves)).sum().backward()
    fast = use.gradient(x, g, on, factors)
    torch.testing.assert_close(fast.U, leaves.U.grad, **TOLERANCE)
    torch.testing.assert_close(fast.V, leaves.V.grad, **TOLERANCE)


# --- rounding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "d", "k"), [(1, 8, 9), (36, 16, 72), (13, 100, 5), (16, 17, 31)])
def test_blocks_of_products_round_alike(dtype, n, d, k):
    draw = numbers(97)
    x, matrices = draw(29, n, k).to(dtype), draw(29, d, k).to(dtype)
    whole = products(x, matrices)
    torch.testing.assert_close(whole, x @ matrices.mT)
    order = torch.randperm(29, generator=torch.Generator().manual_seed(1))
    assert torch.equal(products(x[order], matrices[order]), whole[order])
    assert torch.equal(products(x[:5], matrices[:5]), whole[:5])


# --- targets ----------------------------------------------------------------------------------


def test_the_weight_of_a_convolution_is_a_matrix():
    problem = make_problem("conv-1")
    own = problem.module[3].weight.detach()
    matrix = problem.target.weight("3.weight")
    assert torch.equal(matrix, own.flatten(1))
    changed = problem.target.with_weights({"3.weight": 2 * matrix})
    assert torch.equal(changed.state["3.weight"], 2 * own)
    assert torch.equal(changed.weight("3.weight"), 2 * matrix)


def test_groups_and_directions_are_read_off_the_graph():
    found = {
        name: [
            (use.groups, use.directions)
            for site in make_problem(name).target.sites.values()
            for use in site.uses
            if isinstance(use, ConvUse)
        ]
        for name in ("conv-1", "conv1d-1", "twice-1")
    }
    assert found == {
        "conv-1": [(1, 2), (3, 2)],
        "conv1d-1": [(1, 1), (4, 1)],
        "twice-1": [(1, 2)] * 2,
    }


# what a weight is also used for -> what is said of it
MISUSES = {
    "transposed": (lambda net, x: F.conv2d(x, net.W.transpose(0, 1)), r"aten\.conv2d"),
    "flattened": (lambda net, x: F.linear(x.flatten(1), net.W.flatten(1)), r"aten\.view"),
    "backwards": (lambda net, x: F.conv_transpose2d(x, net.W), r"aten\.conv_transpose2d"),
    "cubes": (lambda net, x: F.conv3d(x[:, :, None], net.W[:, :, None]), r"aten\.conv3d"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_other_uses_of_a_kernel_are_refused(name):
    formula, said = MISUSES[name]
    module = Formula(lambda net, x: formula(net, x).flatten(1), W=numbers(98)(4, 4, 3, 3))
    with pytest.raises(TargetError, match=said):
        Target.of(module, numbers(99)(5, 4, 3, 3))


def test_a_single_image_without_a_batch_is_refused():
    module = Formula(
        lambda net, x: (
            F.conv2d(net.image, net.W).flatten(0)[:6] + F.conv2d(x, net.W).mean((1, 2, 3))[:, None]
        ),
        W=numbers(98)(4, 2, 3, 3),
        image=numbers(99)(2, 5, 4),
    )
    with pytest.raises(TargetError, match=r"shape \(2, 5, 4\)"):
        Target.of(module, numbers(99)(5, 2, 7, 6), ("W",))


# --- from end to end ----------------------------------------------------------------------------


class Images(nn.Module):
    """What small image classifiers are made of."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, stride=3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, padding="same", groups=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d((2, 1)),
            nn.Dropout2d(),
        )
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.features(x).view(x.size(0), -1))


@pytest.fixture(scope="module")
def images():
    """A short decomposition of a small image classifier, its module, and the reference."""
    module = Images().eval()
    reference = torch.randn(90, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    config = apd.Config(components=9, rank=2, steps=8, batch_size=32)
    return apd.decompose(module, reference, config), module, reference


def test_every_weight_of_an_image_classifier_is_decomposed(images):
    run, module, reference = images
    assert run.sites == ("features.0.weight", "features.3.weight", "head.weight")
    torch.testing.assert_close(run.target(reference), module(reference).detach())
    assert all(np.isfinite([s.faithfulness, s.minimality, s.simplicity]).all() for s in run.steps)


def test_training_on_convolutions_makes_the_losses_smaller(images):
    run, _, _ = images
    first, *_, last = run.steps
    assert last.faithfulness < first.faithfulness


def test_a_saved_run_of_convolutions_is_the_same(images, tmp_path):
    run, _, reference = images
    run.save(tmp_path / "run")
    again = apd.load(tmp_path / "run")
    assert again.fingerprint == run.fingerprint
    assert again.target.sites == run.target.sites
    x, mask = reference[:32].numpy(), random_mask(32, run.components.count).numpy()
    for one, other in zip(run.explain(x, "all"), again.explain(x, "all"), strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(run.masked_outputs(x, mask), again.masked_outputs(x, mask))


def test_removed_components_are_removed_from_the_module_itself(images):
    run, module, reference = images
    left = run.ablate([0, 2])
    again = Images().eval()
    again.load_state_dict(left.state_dict(), strict=False)
    torch.testing.assert_close(again(reference), left(reference))
    for site, weight in run.components.component(1).items():
        own = dict(module.named_parameters())[site]
        missing = run.target.weight(site) - run.ablate([1]).state_dict()[site].flatten(1)
        torch.testing.assert_close(missing, weight, rtol=1e-4, atol=1e-6)
        assert run.only([1]).state_dict()[site].shape == own.shape


def test_an_images_bits_do_not_depend_on_the_others(images):
    run, _, reference = images
    detector = mad.Detector.fit(run, reference)
    whole = detector.score(reference)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(3))
    shuffled, some = detector.score(reference[order]), detector.score(reference[37:60])
    assert np.array_equal(shuffled.bits, whole.bits[order.numpy()])
    assert np.array_equal(some.bits, whole.bits[37:60])
    assert np.isfinite(whole.bits).all()
    for name, bits in whole.terms.items():
        assert np.array_equal(some.terms[name], bits[37:60])


def test_masked_gradients_do_not_depend_on_the_way_the_kernel_is_applied(images):
    """In training, where products are the library's own."""
    run, _, reference = images
    x, mask = reference[:7], random_mask(7, run.components.count)
    pairs = Pairs.dense(mask, torch.float32)
    one = apd.masked.masked_outputs(run.target, run.components, x, pairs)
    with unfilled():
        other = apd.masked.masked_outputs(run.target, run.components, x, pairs)
    torch.testing.assert_close(one, other)
