"""Files as torch writes them, by both its exporters: imported, compared, traced, decomposable."""

import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from test_apd_from_onnx_operators import draw, file_of
from torch import Tensor, nn

import apd
from apd.from_onnx import Imported, load_onnx, verify

TOKENS = 11


class Attention(nn.Module):
    """A transformer's layer by hand, with two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(8), nn.LayerNorm(8)
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8, bias=name != "k") for name in "qkvo")
        self.up, self.down, self.out = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 3)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(4), -1) @ v

    def forward(self, x: Tensor) -> Tensor:
        y = self.before(x)
        heads = (f(y).view(*x.shape[:2], 2, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.o(self.mix(*heads).transpose(1, 2).reshape(x.shape))
        return self.out((x + self.down(F.gelu(self.up(self.between(x))))).mean(1))


class Causal(Attention):
    """The same over tokens and their places, each seeing those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(TOKENS, 8), nn.Embedding(6, 8)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(self.table(tokens) + self.places(torch.arange(tokens.shape[1])))


class MultiheadAttention(nn.Module):
    """Torch's own attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(x + self.attention(x, x, x, need_weights=False)[0]).mean(1))


class Unembedding(nn.Module):
    """Tokens looked up in a table, and found again with its transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(TOKENS, 8), nn.Linear(8, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.mix(self.table(tokens))), self.table.weight).amax(1)


class Tied(nn.Module):
    """A matrix and its transpose, as in toy models of superposition; and one in x @ W."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.first = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(F.silu(x @ self.first) @ self.W.T @ self.W)


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 7), nn.GELU(), nn.Dropout(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4)
    )


def images() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 9, (2, 3), padding=(1, 2), groups=3),
        nn.LeakyReLU(),
        nn.AvgPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(90, 4),
    )


def tokens(n: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(n).integers(TOKENS, size=(n, 6)))


def inputs(*shape: int):
    return lambda n: torch.from_numpy(draw(n, *shape))


LAYER = {
    **{f"{name}.weight": (8, 8) for name in "qkvo"},
    **{"up.weight": (12, 8), "down.weight": (8, 12), "out.weight": (3, 8)},
}
MULTIHEAD = {"in_proj_weight": (24, 8), "out_proj.weight": (8, 8)}
TABLE = {"table.weight": (TOKENS, 8)}
# name -> (module, inputs, the weights to be found as sites)
NETWORKS = {
    "perceptron": (
        perceptron,
        inputs(5),
        {"0.weight": (7, 5), "3.weight": (6, 7), "5.weight": (4, 6)},
    ),
    "tied": (Tied, inputs(4), {"first": (4, 5), "W": (3, 5)}),
    "images": (
        images,
        inputs(2, 12, 12),
        {"0.weight": (6, 18), "4.weight": (9, 12), "8.weight": (4, 90)},
    ),
    "attention": (Attention, inputs(5, 8), LAYER),
    "multihead": (
        MultiheadAttention,
        inputs(5, 8),
        {**{f"attention.{name}": shape for name, shape in MULTIHEAD.items()}, "out.weight": (3, 8)},
    ),
    "causal": (Causal, tokens, {**TABLE, **LAYER}),
    "unembedding": (Unembedding, tokens, {**TABLE, "mix.weight": (8, 8)}),
}
EXPORTERS = ("dynamo", "torchscript")


class Case(NamedTuple):
    """A network, what one of torch's exporters writes of it, and what is read from that."""

    name: str
    module: nn.Module
    path: Path
    imported: Imported

    def inputs(self, n: int) -> Tensor:
        return NETWORKS[self.name][1](n)

    @property
    def sites(self) -> dict[str, tuple[int, int]]:
        return NETWORKS[self.name][2]


@pytest.fixture(scope="module", params=[f"{n} by {by}" for n in NETWORKS for by in EXPORTERS])
def case(request, tmp_path_factory):
    name, _, by = request.param.partition(" by ")
    make, draw_inputs, _ = NETWORKS[name]
    torch.manual_seed(0)
    module = make().eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.1, 0.4)
    for tensor in module.buffers():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2)
    path = tmp_path_factory.mktemp(name) / f"{by}.onnx"
    export(module, draw_inputs(3), path, by)
    return Case(name, module, path, load_onnx(path))


def export(module: nn.Module, x: Tensor, path: Path, by: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if by == "dynamo":
            axes = ({0: torch.export.Dim.DYNAMIC},)
            torch.onnx.export(module, (x,), path, dynamic_shapes=axes, verbose=False)
        else:
            names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
            torch.onnx.export(module, (x,), path, dynamo=False, **names)


def test_the_network_is_what_it_was_before_it_was_exported(case):
    for n in (2, 7):
        x = case.inputs(n)
        torch.testing.assert_close(case.imported(x), case.module(x), rtol=1e-5, atol=1e-5)
        assert verify(case.imported, case.path, x.numpy()) == ("onnxruntime", n)


def test_weights_come_back_under_their_own_names(case):
    own, imported = dict(case.module.named_parameters()), dict(case.imported.named_parameters())
    for name, shape in case.sites.items():
        assert imported[name].flatten(1).shape == shape
        if case.name != "images":  # batch norm is folded into a convolution
            torch.testing.assert_close(imported[name], own[name], rtol=0, atol=0)


def test_its_weights_are_sites_for_any_number_of_inputs(case):
    target = apd.Target.of(case.imported, case.inputs(3))
    assert {site.name: site.shape for site in target.sites.values()} == case.sites
    x = case.inputs(6)
    torch.testing.assert_close(target(x), case.imported(x), rtol=1e-5, atol=1e-5)


def test_names_that_are_none_of_a_modules_are_made_so(tmp_path):
    body = "a = MatMul (x, half) b = MatMul (a, layers) y = Add (b, c)"
    constants = {"half": draw(4, 5), "layers": draw(5, 6), "c": draw(6)}
    path = file_of(tmp_path / "model.onnx", "4", body, constants)
    model = onnx.load(path)
    new = {"half": "half", "layers": "scope/dense:0", "c": "scope"}
    for tensor in model.graph.initializer:
        tensor.name = new[tensor.name]
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = new.get(name, name)
    onnx.save(model, path)
    imported = load_onnx(path)
    assert list(dict(imported.named_parameters())) == ["half_", "scope.dense_0"]
    assert list(dict(imported.named_buffers())) == ["scope_"]
    verify(imported, path, draw(3, 4))


@pytest.mark.parametrize("name", ["input_dtype", "_calls", "_ends", "/", "..", "forward"])
def test_a_weight_may_have_any_name(tmp_path, name):
    path = file_of(tmp_path / "model.onnx", "4", "y = MatMul (x, w)", {"w": draw(4, 5)})
    model = onnx.load(path)
    model.graph.initializer[0].name = name
    model.graph.node[0].input[1] = name
    onnx.save(model, path)
    imported = load_onnx(path)
    assert len(list(imported.parameters())) == 1
    verify(imported, path, draw(3, 4))


def test_weights_in_a_file_beside_it_are_read(tmp_path):
    path = file_of(tmp_path / "model.onnx", "4", "y = MatMul (x, w)", {"w": draw(4, 5)})
    split = tmp_path / "split.onnx"
    onnx.save(onnx.load(path), split, save_as_external_data=True, location="w", size_threshold=0)
    x = torch.from_numpy(draw(3, 4))
    assert (tmp_path / "w").is_file()
    torch.testing.assert_close(load_onnx(split)(x), load_onnx(path)(x), rtol=0, atol=0)


def test_functions_of_the_files_own_are_written_out(tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20, "mine": 1]>'
        "g (float[n, 4] x) => (float[n, 4] y) { y = mine.twice (x) }"
        '<opset_import: ["": 20], domain: "mine"> twice (a) => (b) { b = Add (a, a) }'
    )
    onnx.save(model, tmp_path / "model.onnx")
    x = torch.from_numpy(draw(3, 4))
    torch.testing.assert_close(load_onnx(tmp_path / "model.onnx")(x), 2 * x)


def test_what_is_constant_is_folded_into_a_weight(tmp_path):
    body = "k = DequantizeLinear (q, s) w = Transpose (k) y = MatMul (x, w)"
    constants = {"q": np.array([[1, -3, 5, 2], [7, 0, 2, -1]], np.int8), "s": np.float32(0.5)}
    constants = {name: np.asarray(array) for name, array in constants.items()}
    imported = load_onnx(file_of(tmp_path / "model.onnx", "4", body, constants))
    (weight,) = imported.parameters()
    torch.testing.assert_close(
        weight.detach(), torch.from_numpy(constants["q"].T * np.float32(0.5))
    )


def test_truth_values_are_verified_and_then_refused_as_no_outputs(tmp_path):
    path = file_of(tmp_path / "model.onnx", "4", "y = Greater (x, c)", {"c": draw(4)})
    model = onnx.load(path)
    truth = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.BOOL, ["n", 4])
    model.graph.output[0].CopyFrom(truth)
    onnx.save(model, path)
    imported = load_onnx(path)
    verify(imported, path, draw(3, 4))
    with pytest.raises(apd.TargetError, match=r"torch\.bool .*one vector of floats per input"):
        apd.Target.of(imported, torch.from_numpy(draw(3, 4)))
