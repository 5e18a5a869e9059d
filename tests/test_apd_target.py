"""Freezing a module: the same outputs as data, the module left alone, bad ones refused."""

import copy
import re

import numpy as np
import oracles
import pytest
import torch
from problems import TARGETS, Formula, draw_inputs, make_problem, make_target, numbers
from torch import nn
from torch.nn.functional import linear

from apd import Target, TargetError
from apd.from_torch.adapted import as_held_by


def net_with_everything() -> nn.Module:
    """Batch norm with statistics of its own, dropout, buffers."""
    draw = numbers(81)
    net = nn.Sequential(
        nn.Linear(5, 7), nn.BatchNorm1d(7), nn.GELU(), nn.Dropout(0.5), nn.Linear(7, 4)
    ).double()
    net[1].running_mean.copy_(draw(7))
    net[1].running_var.copy_(draw(7).exp())
    return net


def test_a_target_computes_what_the_module_computes(problem):
    torch.testing.assert_close(
        problem.target(problem.x), oracles.forward(problem.module, problem.x)
    )


@pytest.mark.parametrize("n", [1, 2, 8, 130])
@pytest.mark.parametrize("name", TARGETS)
def test_any_batch_size_will_do(name, n):
    module, target, _ = make_target(name)
    x = draw_inputs(name, n, n)
    torch.testing.assert_close(target(x), oracles.forward(module, x))


def test_an_example_of_two_inputs_is_enough():
    problem = make_problem("tms-1")
    target = Target.of(problem.module, problem.x[:2])
    torch.testing.assert_close(target(problem.x), problem.target(problem.x))
    assert target.fingerprint == problem.target.fingerprint


def test_a_module_in_training_is_followed_in_evaluation():
    net, x = net_with_everything().train(), numbers(82)(9, 5)
    target = Target.of(net, x)
    expected = copy.deepcopy(net).eval()
    torch.testing.assert_close(target(x), oracles.forward(expected, x))
    assert torch.equal(target(x), target(x))


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_as_it_was(training):
    net, x = net_with_everything().train(training), numbers(82)(9, 5)
    net[0].bias.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    identities = [id(parameter) for parameter in net.parameters()]
    grads = [parameter.requires_grad for parameter in net.parameters()]
    random_state = torch.get_rng_state()
    Target.of(net, x)
    assert [module.training for module in net.modules()] == [training] * 6
    assert [parameter.requires_grad for parameter in net.parameters()] == grads
    assert [id(parameter) for parameter in net.parameters()] == identities
    assert all(parameter.grad is None for parameter in net.parameters())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, state[name])
    for module in net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert torch.equal(torch.get_rng_state(), random_state)


def test_later_changes_to_the_module_do_not_reach_the_target():
    net, x = net_with_everything(), numbers(82)(9, 5)
    target = Target.of(net, x)
    before, fingerprint = target(x), target.fingerprint
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.zero_()
    assert torch.equal(target(x), before)
    assert target.fingerprint == fingerprint


def test_other_weights_make_another_target_and_leave_this_one():
    problem = make_problem("mlp-1")
    before = problem.target(problem.x)
    changed = problem.target.with_weights({"4.weight": torch.zeros(4, 6, dtype=torch.float64)})
    bias = problem.module[4].bias.detach()
    torch.testing.assert_close(changed(problem.x), bias.expand(9, 4))
    assert torch.equal(problem.target(problem.x), before)


def test_fingerprints_tell_weights_computations_and_sites_apart():
    net, x = make_problem("mlp-1").module, make_problem("mlp-1").x
    nudged = copy.deepcopy(net)
    with torch.no_grad():
        nudged[2].bias[3] += 1e-15
    others = [
        Target.of(nudged, x),
        Target.of(copy.deepcopy(net).float(), x.float()),
        Target.of(nn.Sequential(*net[:3], nn.Sigmoid(), net[4]), x),
        Target.of(net, x, ("0.weight",)),
    ]
    same = Target.of(copy.deepcopy(net), x[:3])
    fingerprints = {target.fingerprint for target in others}
    assert len(fingerprints) == 4
    assert same.fingerprint == make_problem("mlp-1").target.fingerprint not in fingerprints


@pytest.mark.parametrize(
    ("name", "positions"),
    [
        ("mlp-1", [1, 1, 1]),
        ("positions-1", [6, 6]),
        ("conv-1", [12, 3 * 8, 1]),
        ("conv1d-1", [10, 4 * 3, 1]),
        ("twice-1", [20, 10, 1]),
    ],
)
def test_positions_are_the_vectors_of_one_input_at_every_use(name, positions):
    """In a convolution every group has its own at every place."""
    target = make_problem(name).target
    assert [target.positions[use.node] for use in target.uses] == positions


def test_inputs_are_taken_in_the_targets_precision():
    target = make_problem("mlp-1").target
    x = make_problem("mlp-1").x
    prepared = target.prepare(x.float().numpy())
    assert prepared.dtype == torch.float64
    assert torch.equal(prepared, x.float().double())


@pytest.mark.parametrize("x", [np.zeros((3, 6)), np.zeros((3, 5, 1)), np.zeros(3)])
def test_inputs_of_another_shape_are_refused(x):
    with pytest.raises(TargetError, match=r"an input has shape \(.*\); the target takes \(5,\)"):
        make_problem("mlp-1").target.prepare(x)


def test_integers_are_no_inputs_to_floats():
    with pytest.raises(TargetError, match=r"the inputs are torch\.int64.*torch\.float64"):
        make_problem("mlp-1").target.prepare(np.zeros((3, 5), dtype=np.int64))


def refusal(formula, x=None, **parameters) -> str:
    draw = numbers(83)
    with pytest.raises(TargetError) as caught:
        Target.of(Formula(formula, W=draw(4, 6), **parameters), draw(9, 6) if x is None else x)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_two_inputs_are_refused():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(TargetError, match="missing 1 required positional argument: 'y'"):
        Target.of(Two(), numbers(84)(9, 6))


def test_two_outputs_are_refused():
    message = refusal(lambda net, x: (linear(x, net.W), x))
    assert message.startswith("the target returns 0 (9, 4), 1 (9, 6); choose one")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(value):
    net = make_problem("mlp-1").module
    broken = copy.deepcopy(net)
    with torch.no_grad():
        broken[2].bias[1] = value
    with pytest.raises(TargetError, match=r"the target's 2\.bias holds NaN or infinity"):
        Target.of(broken, make_problem("mlp-1").x)


class Masked(nn.Module):
    """One head of causal attention, its mask a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(3, 12).double(), nn.Linear(4, 2).double()
        mask = torch.full((5, 5), -torch.inf, dtype=torch.float64).triu(1)
        self.register_buffer("mask", mask)

    def forward(self, x):
        q, k, v = self.qkv(x).split(4, dim=-1)
        return self.out((q @ k.mT + self.mask).softmax(-1) @ v)[:, 3]


def test_buffers_may_be_infinite_as_masks_are_but_not_lost():
    torch.manual_seed(0)
    net, x = Masked(), numbers(31)(6, 5, 3).double()
    target = Target.of(net, x)
    torch.testing.assert_close(target(x), net(x), rtol=0, atol=1e-12)
    changed = x.clone()
    changed[:, 4] += 1
    assert torch.equal(target(changed), target(x))
    net.mask[0, 0] = torch.nan
    with pytest.raises(TargetError, match="the target's mask holds NaN"):
        Target.of(net, x)


def test_outputs_of_all_inputs_together_are_refused():
    assert "shape (1, 4)" in refusal(lambda net, x: linear(x, net.W).mean(0, keepdim=True))


# what is refused -> (the formula, what is said)
REFUSED = {
    "dropout": (
        lambda net, x: linear(nn.functional.dropout(x, 0.5, training=True), net.W),
        "native_dropout.*random even in evaluation",
    ),
    "chance": (lambda net, x: linear(x.sigmoid().bernoulli(), net.W), "bernoulli.*is random"),
    "branch": (
        lambda net, x: linear(x, net.W) if x.mean() > 0 else linear(-x, net.W),
        "cannot be traced.*branches or loops on the values of its inputs",
    ),
    "loop": (
        lambda net, x: sum(linear(x, net.W) for _ in range(int(x[0, 0].abs()) + 1)),
        "cannot be traced.*branches or loops on the values of its inputs",
    ),
    "selection": (
        lambda net, x: linear(x[x[:, 0] > -9], net.W),
        "shapes depend on the inputs' values",
    ),
    "item": (lambda net, x: linear(x, net.W) * x.max().item(), "one number of all inputs"),
    "numpy": (lambda net, x: linear(x + torch.tensor(x.numpy()), net.W), "cannot be traced"),
    "batch norm": (
        lambda net, x: nn.functional.batch_norm(linear(x, net.W), None, None, training=True),
        "depends on which others it is run with",
    ),
    "maximum": (lambda net, x: linear(x / x.abs().max(), net.W), "depends on which others"),
    "two": (lambda net, x: linear(x.reshape(2, 6), net.W), "takes one number of inputs at a time"),
    "rows": (
        lambda net, x: torch.stack([linear(row, net.W) for row in x]),
        "takes one number of inputs at a time",
    ),
    "nan": (lambda net, x: linear(x, net.W).log(), "returns NaN or infinity"),
    "sizes": (lambda net, x: linear(x[:, :5], net.W), "fails on torch.float64 inputs of shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_decomposed_is_refused_in_one_sentence(name, capfd):
    formula, said = REFUSED[name]
    assert re.search(said, refusal(formula, numbers(83)(2, 6)))
    assert capfd.readouterr() == ("", "")


def test_the_module_that_calls_what_is_not_supported_is_named():
    class Pairing(nn.Module):
        def __init__(self):
            super().__init__()
            self.pairing = nn.Bilinear(6, 6, 4)

        def forward(self, x):
            return self.pairing(x, x)

    net = nn.Sequential(nn.Linear(5, 6), Pairing()).double()
    with pytest.raises(TargetError, match=r"the target's 1\.pairing calls aten\.bilinear"):
        Target.of(net, numbers(84)(9, 5))
    with pytest.raises(TargetError, match=r"the target's 1\.pairing calls aten\.bilinear"):
        Target.of(net, numbers(84)(9, 3, 5))


@pytest.mark.parametrize("count", [len, lambda x: int(x.shape[0])])
def test_pythons_own_ways_to_count_inputs_are_followed(count):
    net = Formula(lambda net, x: linear(x, net.W) + torch.ones(count(x), 1), W=numbers(85)(4, 6))
    x = numbers(86)(9, 6)
    torch.testing.assert_close(Target.of(net, x[:2])(x), net(x).detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    """Of the same weights: these lose nothing."""
    net = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 4)).to(dtype)
    x = numbers(87)(9, 5)
    target = Target.of(net, x.to(dtype))
    expected = copy.deepcopy(net).float().eval()
    assert target.dtype == target.input_dtype == torch.float32
    torch.testing.assert_close(target(x.float()), oracles.forward(expected, x.float()))
    assert {parameter.dtype for parameter in net.parameters()} == {dtype}


def test_a_module_that_cannot_be_copied_is_refused():
    net = nn.Linear(6, 4)
    net.scale = net.weight * 2
    with pytest.raises(TargetError, match="the target cannot be copied"):
        Target.of(net, torch.zeros(2, 6))


def test_a_target_without_weight_matrices_is_refused():
    net = Formula(lambda net, x: x * net.scale, scale=numbers(85)(6))
    with pytest.raises(TargetError, match="no weight matrices"):
        Target.of(net, numbers(86)(9, 6))


def test_inputs_come_to_where_the_module_is_in_its_precision():
    elsewhere = nn.Linear(3, 2, device="meta")
    floats, integers = (
        as_held_by(elsewhere, torch.ones(4, 3, dtype=d)) for d in (torch.float64, torch.int32)
    )
    assert (floats.device.type, floats.dtype) == ("meta", torch.float32)
    assert (integers.device.type, integers.dtype) == ("meta", torch.int32)
