"""The exported network is the network: outputs, attributions and masked outputs, in onnxruntime."""

from functools import cache

import numpy as np
import onnx
import onnxruntime
import oracles
import pytest
import torch
import torch.nn.functional as F
from problems import (
    FLOAT,
    Formula,
    Problem,
    make_problem,
    numbers,
    random_components,
    random_mask,
    with_zero_components,
)
from torch import nn

import apd
from apd.errors import TargetError
from apd.output_gradients import DIRECTIONS, fixed_directions
from apd.to_onnx import RULES, Network, Writer
from apd.to_onnx.rules.rule import LAYOUT

SINGLE = np.dtype(np.float32)
KEPT = [0, 2, 3]
NAMES = ["mlp-2", "partial-3", "tms-2", "matmul-3", "positions-3", "conv-3", "twice-2"]


def activations(*functions: nn.Module) -> nn.Module:
    """Every function after a layer of its own."""
    draw, layers = numbers(21), []
    for function in functions:
        layers += [nn.Linear(6, 6), function]
    net = nn.Sequential(*layers, nn.Linear(6, 4)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.5 * draw(*parameter.shape))
    return net


def one_direction() -> nn.Module:
    """Padding that keeps the length, groups, and overlapping windows over the edge."""
    draw = numbers(22)

    def formula(net, x):
        h = F.relu(F.conv1d(x, net.first, net.b, padding="same", dilation=2))
        h = F.max_pool1d(h, 3, stride=2, padding=1)
        h = F.avg_pool1d(F.conv1d(h, net.deep, stride=2, groups=2).sigmoid(), 2, stride=1)
        return F.log_softmax(F.linear(F.adaptive_avg_pool1d(h, 1).flatten(1), net.last), 1)

    return Formula(
        formula, first=draw(4, 3, 4), b=draw(4), deep=draw(6, 2, 2), last=0.5 * draw(5, 6)
    )


def two_directions() -> nn.Module:
    """A residual block, batch norm, pooling in both ways."""
    draw = numbers(23)
    norm = nn.BatchNorm2d(4).double().eval()
    norm.running_mean.copy_(draw(4))
    norm.running_var.copy_(draw(4).exp())

    def formula(net, x):
        h = F.max_pool2d(F.silu(F.conv2d((x - 0.3) / 1.7, net.first)), (3, 2), (2, 1), (1, 0))
        h = h + net.norm(F.conv2d(h, net.same, padding="same"))
        h = F.avg_pool2d(F.leaky_relu(h, 0.2), 2, padding=1)
        return torch.softmax(F.linear(F.adaptive_avg_pool2d(h, 1).flatten(1), net.last), -1)

    net = Formula(formula, first=draw(4, 2, 2, 3), same=0.4 * draw(4, 4, 3, 3), last=draw(5, 4))
    net.norm = norm
    return net


def gated() -> nn.Module:
    """Products of values, sums that repeat values, and layouts of all kinds."""
    draw = numbers(24)

    def formula(net, x):
        h = (x @ net.first).unflatten(1, (3, 4)) * (torch.mm(x, net.gate).unsqueeze(1) - net.shift)
        h = h.view(-1, 3, 2, 2).reshape(-1, 12, 1).squeeze(2).unsqueeze(1).clone()
        return net.most - h.mean([1]).mul(0.5) @ net.last

    return Formula(
        formula,
        first=draw(6, 12),
        gate=draw(6, 4),
        shift=draw(4),
        last=draw(12, 5),
        most=draw(5),
    )


def wide() -> nn.Module:
    """More outputs than strengths take one by one."""
    draw = numbers(28)
    return Formula(
        lambda net, x: F.linear(F.relu(F.linear(x, net.first)), net.last),
        first=draw(7, 6),
        last=draw(DIRECTIONS + 3, 7),
    )


# name -> (module, shape of one input); together they call every operator there is a rule for
NETWORKS = {
    "activations": (
        lambda: activations(
            nn.Tanh(), nn.Sigmoid(), nn.SiLU(), nn.GELU(), nn.GELU("tanh"), nn.ELU(0.7), nn.ReLU()
        ),
        (6,),
    ),
    "one direction": (one_direction, (3, 10)),
    "two directions": (two_directions, (2, 8, 7)),
    "gated": (gated, (6,)),
    "wide": (wide, (6,)),
}


@cache
def network(name: str) -> Problem:
    """A problem of `problems`, or one of `NETWORKS`."""
    if name not in NETWORKS:
        return make_problem(name)
    make, shape = NETWORKS[name]
    module, x = make().requires_grad_(False), numbers(25)(5, *shape)
    target = apd.Target.of(module, x)
    chosen = torch.arange(5) % target(x).shape[1]
    return Problem(module, target, random_components(target, 7, 2, numbers(26)), x, chosen)


def run_of(problem: Problem) -> apd.Run:
    return run_from(problem.target, problem.components)


def run_from(target: apd.Target, components: apd.Components) -> apd.Run:
    rows = torch.arange(2)
    return apd.Run(target, components, 2.0, apd.Config(), rows, rows, "reference", [], {})


def evaluated(problem: Problem, mask: torch.Tensor) -> dict[str, np.ndarray]:
    """What onnxruntime makes of the exported network."""
    writer, n = Writer(SINGLE), len(problem.x)
    exported = Network(writer, run_of(problem), "x")
    seed = F.one_hot(problem.chosen, exported.width)
    C, d = problem.components.count, exported.width
    values = {
        "outputs": (exported.outputs, SINGLE, ("n", d)),
        "effects": (exported.attributions(writer.number(seed)), SINGLE, ("n", C)),
        "strengths": (exported.strengths(), SINGLE, ("n", C)),
        "entered": (exported.input_effects(writer.number(seed)), SINGLE, ("n", exported.inputs)),
        "masked": (exported.masked_outputs("mask"), SINGLE, ("n", d)),
        "components": (exported.outputs_on(KEPT), SINGLE, ("n", d)),
    }
    inputs = {"x": (SINGLE, ("n", *problem.x.shape[1:])), "mask": (SINGLE, ("n", C))}
    content = writer.model(inputs, values, {}).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = {"x": problem.x.numpy().astype(SINGLE), "mask": mask.numpy().astype(SINGLE)}
    assert len(given["mask"]) == n
    return dict(zip(values, session.run(list(values), given), strict=True))


def assert_alike(got: np.ndarray, expected: torch.Tensor) -> None:
    """Alike to single precision, as measured by the largest number."""
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", [*NAMES, *NETWORKS])
def test_it_answers_as_the_decomposition_does(name):
    assert_answers(network(name))


@pytest.mark.parametrize("name", ["mlp-2", "conv-3", "two directions"])
@pytest.mark.parametrize("zero", [(0, 3), (1, 2, 4, 6)])
def test_it_does_where_components_are_zero(name, zero):
    assert_answers(with_zero_components(network(name), zero))


def assert_answers(problem: Problem) -> None:
    """All that is asked of an exported network, beside the oracles."""
    mask = random_mask(len(problem.x), problem.components.count)
    got = evaluated(problem, mask)
    effects = oracles.effects(problem).sum(1)
    assert_alike(got["outputs"], oracles.forward(problem.module, problem.x))
    assert_alike(got["effects"], effects[range(len(effects)), :, problem.chosen])
    along = effects @ fixed_directions(effects.shape[-1]).to(effects).T
    strengths = (along.square().sum(-1) / effects.shape[-1]).sqrt()
    assert_alike(got["strengths"], strengths)
    assert_alike(got["entered"], oracles.input_effects(problem))
    assert_alike(got["masked"], oracles.masked_outputs(problem, mask))
    kept = torch.zeros_like(mask)
    kept[:, KEPT] = True
    assert_alike(got["components"], oracles.masked_outputs(problem, kept))


def test_the_same_call_is_written_once():
    writer = Writer(SINGLE)
    first = writer.call("ReduceSum", "x", writer.integers(1), keepdims=0)
    assert writer.call("ReduceSum", "x", writer.integers(1), keepdims=0) == first
    others = [
        writer.call("ReduceSum", "x", writer.integers(1), keepdims=1),
        writer.call("ReduceSum", "x", writer.integers(2), keepdims=0),
        writer.call("ReduceSum", "y", writer.integers(1), keepdims=0),
        writer.call("ReduceMean", "x", writer.integers(1), keepdims=0),
        writer.calls("ReduceSum", 2, "x", writer.integers(1), keepdims=0)[0],
    ]
    assert len({first, *others}) == 6
    content = writer.model({"x": (SINGLE, ("n", 2))}, {"z": (first, SINGLE, ("n",))}, {})
    assert len(content.graph.node) == 2


def test_what_components_read_is_written_once_for_all_outputs():
    """The inputs meet the first weight and what its components read, once each."""
    problem = network("mlp-2")
    writer = Writer(SINGLE)
    exported = Network(writer, run_of(problem), "x")
    assert exported.width > 1
    values = {"strengths": (exported.strengths(), SINGLE, ("n", problem.components.count))}
    model = writer.model({"x": (SINGLE, ("n", *problem.x.shape[1:]))}, values, {})
    met = [node.input[0] for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    assert met.count("x") == 2


def test_every_rule_is_tried():
    called = {node.op for name in [*NAMES, *NETWORKS] for node in network(name).target.graph.nodes}
    assert set(RULES) - called < set(LAYOUT)


def of_one_layer(function) -> nn.Module:
    draw = numbers(27)
    return Formula(lambda net, x: function(F.linear(x, net.W)), W=draw(6, 4))


REFUSED = {
    "operators": (
        lambda: of_one_layer(lambda h: h.sin() + h.cos()),
        (4,),
        "aten.sin.default, aten.c",
    ),
    "attention": (
        lambda: of_one_layer(lambda h: (h @ h.view(-1, 6, 3)).mean(1)),
        (3, 4),
        "aten.matmul.default with a weight made of the inputs",
    ),
    "quotient": (lambda: of_one_layer(lambda h: h / h.exp()), (4,), "aten.exp.default"),
    "ceil": (
        lambda: of_one_layer(lambda h: F.max_pool1d(h, 4, ceil_mode=True).flatten(1)),
        (3, 4),
        "ceil_mode",
    ),
    "uneven windows": (
        lambda: of_one_layer(
            lambda h: F.avg_pool1d(h, 3, padding=1, count_include_pad=False).flatten(1)
        ),
        (3, 4),
        "does not count all of a window",
    ),
    "two positions": (
        lambda: of_one_layer(lambda h: F.adaptive_avg_pool1d(h, 2).flatten(1)),
        (3, 4),
        r"aten.adaptive_avg_pool1d.default to \[2\]",
    ),
    "scaled sum": (
        lambda: of_one_layer(lambda h: torch.add(h, h, alpha=2)),
        (4,),
        "aten.add.Tensor cannot be exported with the arguments",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_refused_by_name(case):
    make, shape, words = REFUSED[case]
    x = numbers(28)(5, *shape)
    target = apd.Target.of(make(), x)
    components = random_components(target, 3, 1, numbers(29))
    run = run_from(target, components)
    with pytest.raises(TargetError, match=words):
        Network(Writer(SINGLE), run, "x")


def test_an_embedding_is_refused():
    problem = make_problem("tokens-1")
    with pytest.raises(TargetError, match=r"aten\.embedding\.default"):
        Network(Writer(SINGLE), run_of(problem), "x")


def test_a_file_holds_what_its_outputs_need_and_equal_constants_once():
    writer = Writer(np.dtype(np.float64))
    double = writer.call("Add", "x", "x")
    writer.call("Exp", writer.call("Mul", double, writer.number(5.0)))
    y = writer.call("Mul", double, writer.number(3.0))
    y = writer.call("Mul", y, writer.number(torch.tensor(3.0, dtype=FLOAT)))
    model = writer.model(
        {"x": (writer.dtype, ("n",))}, {"y": (y, writer.dtype, ("n",))}, {"a": "b"}
    )
    assert [node.op_type for node in model.graph.node] == ["Add", "Mul", "Mul", "Identity"]
    assert [onnx.numpy_helper.to_array(t).tolist() for t in model.graph.initializer] == [3.0]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"a": "b"}
