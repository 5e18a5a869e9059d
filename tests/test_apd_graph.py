"""The target as data: what a saved graph may call, and that JSON keeps it whole."""

import json

import pytest
import torch
from problems import Formula, make_problem, numbers
from torch.nn import functional as F

from apd import Target, TargetError
from apd.graph import Graph, Node, allowed_operator, decode, operator_named

FORBIDDEN = [
    "aten.from_file.default",
    "os.system",
    "builtins.eval",
    "operator.methodcaller",
    "operator.attrgetter",
    "operator.setitem",
    "aten.linear.__class__",
    "aten.linear",
    "aten.__class__.default",
    "aten..default",
    "aten.linear.default.__call__",
    "aten.add_.Tensor",
    "aten.copy_.default",
    "aten.set_.source_Tensor",
    "prims.add.default",
    "torch.ops.aten.linear.default",
    "",
]


@pytest.mark.parametrize("op", FORBIDDEN)
def test_other_operators_are_refused_by_name(op):
    assert allowed_operator(op) is None
    with pytest.raises(TargetError) as caught:
        operator_named(op)
    assert str(caught.value) == f"the target calls {op}, which is not supported"


@pytest.mark.parametrize("op", FORBIDDEN)
def test_a_graph_with_a_forbidden_call_does_not_run(op, tmp_path):
    graph = make_problem("mlp-1").target.graph
    trap = Node(name="trap", op=op, args=[f"touch {tmp_path}/sprung"], kwargs={})
    forged = Graph.model_validate({**graph.model_dump(), "nodes": [trap, *graph.nodes]})
    with pytest.raises(TargetError, match="not supported"):
        forged.run(make_problem("mlp-1").target.state, make_problem("mlp-1").x, {})
    assert not list(tmp_path.iterdir())


def aten_operators() -> list[str]:
    names = [name.removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names()]
    return [name if "." in name else f"{name}.default" for name in names if "::" not in name]


def allowed_aten() -> list[torch._ops.OpOverload]:
    found = [allowed_operator(f"aten.{name}") for name in aten_operators()]
    return [op for op in found if isinstance(op, torch._ops.OpOverload)]


def test_there_are_operators_enough_to_look_at():
    assert len(aten_operators()) > 2000
    assert 100 < len(allowed_aten()) < 300


def test_no_allowed_operator_writes_to_its_arguments():
    """The state of a target is shared by everything made from it."""
    assert [str(op) for op in allowed_aten() if op._schema.is_mutable] == []


def test_no_allowed_operator_is_random():
    """An input's bits would change from one call to the next."""
    attention = {"aten.scaled_dot_product_attention.default"}  # random with dropout only
    tag = torch.Tag.nondeterministic_seeded
    assert {str(op) for op in allowed_aten() if tag in op.tags} <= attention


def test_json_keeps_a_graph_whole(problem):
    graph = problem.target.graph
    read = Graph.model_validate_json(graph.model_dump_json())
    assert read == graph
    outputs = read.run(problem.target.state, problem.x, {})
    assert torch.equal(outputs, problem.target(problem.x))


def test_a_saved_graph_is_plain_json(problem):
    text = json.dumps(problem.target.graph.model_dump(mode="json"))
    assert Graph.model_validate(json.loads(text)) == problem.target.graph


def test_json_keeps_infinities():
    """Attention masks fill with -inf."""
    draw = numbers(71)

    def formula(net, x):
        h = F.linear(x, net.W)
        return h.masked_fill(h < 0, float("-inf")).softmax(1)

    target, x = Target.of(Formula(formula, W=draw(4, 6)), draw(9, 6)), draw(5, 6)
    texts = [
        target.graph.model_dump_json(),
        json.dumps(target.graph.model_dump(mode="json")),
    ]
    for text in texts:
        read = Graph.model_validate_json(text)
        assert torch.equal(read.run(target.state, x, {}), target(x))


EVERYDAY = {
    "one minus": lambda h: 1 - h,
    "other types": lambda h: (h > 0).float() + h.to(torch.float32).double() + h.long(),
    "positions": lambda h: h + torch.arange(4) + torch.arange(1, 5) * torch.ones(4),
    "zeros": lambda h: torch.cat([h, h.new_zeros(h.shape[0], 2), torch.zeros_like(h)], 1),
    "one hot": lambda h: h + F.one_hot(h.argmax(1), 4),
    "choices": lambda h: torch.where(h > 0, h, 0.0).masked_fill(h > 1, torch.tensor(3.0)),
    "parts": lambda h: torch.stack([h.chunk(2, 1)[1], *h.view(-1, 2, 2).unbind(1)], 1).flatten(1),
    "norms": lambda h: F.rms_norm(h, (4,)) + h / h.norm(dim=1, keepdim=True) - h.std(1)[:, None],
    "logic": lambda h: ((h > 0) & (h < 1) | (h > 2) ^ (h < -1)).double() * h,
    "gates": lambda h: F.glu(h) + F.silu(h).chunk(2, 1)[0] + F.relu6(h)[:, :2],
    "powers": lambda h: torch.exp2(h) + h.logsumexp(1, keepdim=True) + h.clip(0, 1).cumprod(1),
}


@pytest.mark.parametrize("name", EVERYDAY)
def test_everyday_operators_are_supported(name):
    formula, draw = EVERYDAY[name], numbers(72)
    module = Formula(lambda net, x: formula(F.linear(x, net.W)).double(), W=draw(4, 6))
    x = draw(9, 6)
    target = Target.of(module, x)
    torch.testing.assert_close(target(x), module(x).detach())
    assert Graph.model_validate_json(target.graph.model_dump_json()) == target.graph


def test_what_is_viewed_may_have_gaps():
    """A product filled up to whole tiles and cut out again is not contiguous."""
    draw = numbers(73)
    module = Formula(lambda net, x: F.linear(x, net.W).view(x.shape[0], -1), W=draw(3, 6))
    x = draw(9, 5, 6)
    torch.testing.assert_close(Target.of(module, x)(x), module(x).detach())


def test_handlers_stand_in_for_calls_by_name():
    problem = make_problem("mlp-1")
    (use,) = problem.target.sites["4.weight"].uses
    seen = []

    def handler(operator, *args):
        seen.append([tuple(arg.shape) for arg in args])
        return operator(*args) + 1

    changed = problem.target.run(problem.x, {use.node: handler})
    torch.testing.assert_close(changed, problem.target(problem.x) + 1)
    assert seen == [[(9, 6), (4, 6), (4,)]]


def test_arguments_stand_for_values_constants_and_the_inputs_device():
    value, device = torch.ones(2), torch.device("cpu")
    argument = [{"node": "a"}, {"constant": "torch.float64"}, {"device": "input"}, 3, None, "s"]
    assert decode(argument, {"a": value}, device) == [value, torch.float64, device, 3, None, "s"]
    with pytest.raises(TargetError, match="not understood"):
        decode({"python": "print"}, {}, device)


def test_a_detached_value_depends_on_what_is_before_it_all_the_same():
    draw = numbers(74)
    weights, x = {"W": draw(4, 5), "V": draw(3, 4)}, draw(6, 5)
    slopes = []
    for stop in (torch.detach, torch.clone):
        module = Formula(
            lambda net, x, s=stop: F.linear(s(F.linear(x, net.W).relu()), net.V), **weights
        )
        target, at = Target.of(module, x), x.clone().requires_grad_()
        outputs = target.run(at, {})
        torch.testing.assert_close(outputs, module(x))
        slopes += torch.autograd.grad(outputs.square().sum(), at)
    torch.testing.assert_close(*slopes)
    assert slopes[0].any()
