"""`apd train` and `apd score` on networks people bring: several inputs, tokens, .pt2, bad ones."""

import json
import sys
from threading import Lock

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_apd_from_onnx_operators import draw, file_of
from test_cli_main import assert_one_sentence, call
from torch import nn
from torch.nn import functional as F

import apd
import mad
from cli.whole_numbers import looks_up

SOURCE = """
import torch
from torch import nn

class Texts(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.readout = nn.Embedding(11, 8), nn.Linear(8, 3)

    def forward(self, ids, age, mask=None, y=None):
        h = self.tokens(ids)
        h = h if mask is None else h * mask[..., None]
        return {"logits": self.readout(torch.relu(h.sum(1) * age[:, None])), "hidden": h}

class Forward(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(6, 5), function

    def forward(self, x):
        return self.function(self.layer(x))

def fix(module):
    torch.manual_seed(0)
    return module()

def texts():
    return fix(Texts)

def tokens():
    return fix(lambda: nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(24, 3)))

class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.layer = nn.Parameter(torch.randn(11, 4)), nn.Linear(24, 3)

    def forward(self, x):
        return self.layer(self.table[x, :].flatten(1))

def table():
    return fix(Table)

def plain():
    return fix(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3)))

def normalised():
    return fix(lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))).train()

def not_a_number():
    module = plain()
    module[3].weight.data[1, 2] = float("nan")
    return module

def branching():
    return Forward(lambda h: h if h.sum() > 0 else -h)

def looping():
    def halved(h):
        while h.norm() > 1:
            h = h / 2
        return h
    return Forward(halved)

def dropping():
    return Forward(lambda h: nn.functional.dropout(h, 0.5, training=True))

def batch_normalising():
    return Forward(lambda h: nn.functional.batch_norm(h, None, None, training=True))

def cubing():
    return Forward(lambda h: torch.linalg.svdvals(h[:, None] * h[..., None]))
"""
N = 200
SHORT = ("--steps", "10", "--components", "6", "--out", "run")


@pytest.fixture
def mine(tmp_path):
    """The networks, and inputs for each kind of them."""
    (tmp_path / "own.py").write_text(SOURCE)
    np.savez(tmp_path / "x.npz", x=draw(N, 6))
    np.savez(tmp_path / "tokens.npz", x=tokens(N))
    np.savez(tmp_path / "texts.npz", **texts(N))
    yield tmp_path
    sys.modules.pop("own", None)
    sys.path.remove("") if "" in sys.path else None


@pytest.fixture
def here(mine, monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, mine, *arguments)


def tokens(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(11, size=(n, 6))


def texts(n: int) -> dict[str, np.ndarray]:
    age = np.linspace(0.5, 2, n, dtype=np.float32)
    return {
        "ids": tokens(n).astype(np.int32),
        "age": age,
        "mask": tokens(n) > 3,
        "y": np.arange(n),
    }


def test_several_inputs_are_taken_under_the_networks_own_names(mine, here):
    arguments = ("own:texts", "--reference", "texts.npz", "--output", "logits", *SHORT)
    assert here("train", *arguments)[0] == 0
    assert here("score", "texts.npz", "--run", "run", "--out", "s.npz")[0] == 0
    run, detector = apd.load(mine / "run"), mad.load(mine / "run")
    assert [part.name for part in run.target.graph.parts] == ["ids", "age", "mask"]
    x = run.pack(texts(N))
    with np.load(mine / "s.npz") as scores:
        np.testing.assert_array_equal(scores["score_bits"], detector.score(x).bits)
    assert len(detector.profiled) + len(detector.calibrated) == N * 0.6


def test_an_input_left_to_its_default_is_left_out(mine, here):
    arrays = texts(N)
    np.savez(mine / "fewer.npz", ids=arrays["ids"], age=arrays["age"])
    arguments = ("own:texts", "--reference", "fewer.npz", "--output", "logits", *SHORT)
    assert here("train", *arguments)[0] == 0
    parts = apd.load(mine / "run").target.graph.parts
    assert [part.name for part in parts] == ["ids", "age"]


BAD_TEXTS = {
    "missing": ({"mask": None}, (), "has no array named 'mask'"),
    "another length": ({"ids": tokens(N)[:, :5]}, (), "has ids of 5 features"),
    "another number": ({"age": draw(N - 1)}, (), "200 of ids, 199 of age, 200 of mask"),
    "another kind": ({"ids": draw(N, 6)}, (), "holds fractions, where int32 is needed"),
    "a key": ({}, ("--key", "ids"), "leave out --key"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_several_inputs_that_do_not_fit_are_refused_by_name(case, several, tmp_path, here):
    change, extra, words = BAD_TEXTS[case]
    arrays = {name: a for name, a in {**texts(N), **change}.items() if a is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    code, _, err = here("score", "bad.npz", "--run", several, *extra)
    assert code == 1
    assert_one_sentence(err, "bad.npz", words)
    assert not (tmp_path / "scores.csv").exists()


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A run of the network with several inputs."""
    namespace = {}
    exec(SOURCE, namespace)
    names = ("ids", "age", "mask")
    arrays = {name: a for name, a in texts(N).items() if name in names}
    config = apd.Config(steps=10, components=6, output="logits")
    directory = tmp_path_factory.mktemp("several") / "run"
    run = apd.decompose(namespace["texts"](), arrays, config, directory=directory)
    mad.Detector.fit(run, run.pack(arrays)).save(directory)
    return directory


@pytest.mark.parametrize("name", ["tokens", "table"])
def test_tokens_are_scored_as_the_whole_numbers_they_are(name, mine, here):
    assert here("train", f"own:{name}", "--reference", "tokens.npz", *SHORT)[0] == 0
    assert here("score", "tokens.npz", "--run", "run", "--out", "s.npz")[0] == 0
    run = apd.load(mine / "run")
    assert run.target.input_dtype == torch.int64
    with np.load(mine / "s.npz") as scores:
        expected = mad.load(mine / "run").score(tokens(N)).bits
        np.testing.assert_array_equal(scores["score_bits"], expected)


class Asked(nn.Module):
    """Does with its inputs what it is told to."""

    def __init__(self, function):
        super().__init__()
        self.table, self.matrix = nn.Parameter(torch.ones(7, 3)), nn.Parameter(torch.ones(5, 3))
        self.asked, self.function = 0, function

    def forward(self, x, mask=None):
        self.asked += 1
        return self.function(self, x, mask)


@pytest.mark.parametrize(
    ("function", "whole"),
    [
        (lambda net, x, mask: net.table[x, :].sum(1), True),
        (lambda net, x, mask: F.embedding(x, net.table).sum(1) * mask[:, :1], True),
        (lambda net, x, mask: x @ net.matrix, False),
        (lambda net, x, mask: x.float() @ net.matrix, False),
    ],
)
def test_a_network_is_asked_whether_it_looks_whole_numbers_up(function, whole):
    """Those that it has no row for too, and without changing it."""
    x, mask = np.full((4, 5), 9, np.uint16), np.ones((4, 5), bool)
    module = Asked(function)
    assert looks_up(module, {"x": x, "mask": mask}) == whole
    assert module.asked == 0


def exported(module: nn.Module, path) -> None:
    free = ({0: torch.export.Dim.AUTO},)
    example = (torch.zeros(3, 6),)
    torch.export.save(torch.export.export(module.eval(), example, dynamic_shapes=free), path)


@pytest.mark.filterwarnings("ignore")
def test_a_pt2_is_read_where_it_is_trusted_and_only_there(mine, here):
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3))
    exported(module, mine / "model.pt2")
    arguments = ("train", "model.pt2", "--reference", "x.npz", *SHORT)
    code, _, err = here(*arguments)
    assert code == 1
    assert_one_sentence(err, "model.pt2", "pickles", "--trust")
    assert not (mine / "run").exists()

    assert here(*arguments, "--trust")[0] == 0
    run = apd.load(mine / "run")
    x = torch.from_numpy(draw(7, 6))
    torch.testing.assert_close(run.target(x), module(x).detach())
    assert "trust" not in (mine / "run/train.json").read_text()

    (mine / "model.pt2").write_bytes((mine / "model.pt2").read_bytes()[:900])
    code, _, err = here(*arguments[:-1], "other", "--trust")
    assert code == 1
    assert_one_sentence(err, "model.pt2 cannot be loaded by torch.export")


def test_a_dry_run_says_what_it_takes_and_writes_nothing(mine, here):
    before = sorted(path.name for path in mine.iterdir())
    arguments = ("own:plain", "--reference", "x.npz", "--components", "9", "--rank", "2")
    code, out, err = here("train", *arguments, "--dry-run")
    assert code == 0
    assert_one_sentence(err, "a detector of 200 trusted inputs")
    assert "45 in 2 sites" in out
    assert "18 to start with, of rank 2" in out
    assert "256 inputs" in out
    assert "MB beside Python and torch" in out
    assert "for 10,000 steps" in out
    code, out, err = here("train", *arguments, "--dry-run", "--json")
    assert code == 0
    assert_one_sentence(err, "a detector of 200 trusted inputs")
    said = json.loads(out)
    assert (said["parameters"], said["components"], said["rank"]) == (45, 2 * 9, 2)
    assert said["seconds"] == said["steps"] * said["step_s"] > 0
    after = [path.name for path in mine.iterdir() if path.name != "__pycache__"]
    assert sorted(after) == before

    code, _, err = here("train", "own:not_a_number", "--reference", "x.npz", "--dry-run")
    assert code == 1
    assert_one_sentence(err, "3.weight holds NaN")


def with_weights_of_another_size(path):
    state = {"0.weight": torch.zeros(5, 7), "0.bias": torch.zeros(5)}
    state |= {"3.weight": torch.zeros(3, 5), "3.bias": torch.zeros(3)}
    save_file(state, path / "w.safetensors")
    return "own:plain", "--weights", "w.safetensors"


def corrupt(path):
    (path / "m.onnx").write_bytes(b"\x08\x0a garbage")
    return ("m.onnx",)


def unknown(path):
    file_of(path / "m.onnx", "6", "h = Acosh (x) y = MatMul (h, w)", {"w": draw(6, 3)})
    return ("m.onnx",)


BAD_MODELS = {
    "corrupt ONNX": (corrupt, "m.onnx is not an ONNX file"),
    "unknown ONNX operator": (unknown, "uses Acosh"),
    "unknown operator": (lambda _: ("own:cubing",), "svd"),
    "branches": (lambda _: ("own:branching",), "branches or loops on the values"),
    "loops": (lambda _: ("own:looping",), "branches or loops on the values"),
    "weights that do not fit": (with_weights_of_another_size, "0.weight is (5, 7)"),
    "NaN weights": (lambda _: ("own:not_a_number",), "3.weight holds NaN or infinity"),
    "random": (lambda _: ("own:dropping",), "random"),
    "batch statistics": (lambda _: ("own:batch_normalising",), "batch"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_bad_model_is_refused_in_one_sentence_before_any_training(case, mine, here):
    make, words = BAD_MODELS[case]
    code, _, err = here("train", *make(mine), "--reference", "x.npz", "--out", "run")
    assert code == 1
    assert_one_sentence(err, words)
    assert not (mine / "run").exists()


@pytest.mark.parametrize(("name", "what"), [("normalised", "batch norm"), ("plain", "dropout")])
def test_modules_left_in_training_mode_are_taken_in_evaluation(name, what, mine, here):
    code, out, _ = here("train", f"own:{name}", "--reference", "x.npz", *SHORT)
    assert code == 0
    assert f"The network is in training mode; {what} will be as in evaluation." in out
    namespace = {}
    exec(SOURCE, namespace)
    x = torch.from_numpy(draw(7, 6))
    expected = namespace[name]().eval()(x).detach()
    torch.testing.assert_close(apd.load(mine / "run").target(x), expected)


def test_a_network_that_cannot_be_copied_is_not_asked():
    """That it cannot be is said where it is frozen."""
    module = nn.Linear(6, 3)
    module.lock = Lock()
    assert not looks_up(module, {"x": np.arange(12).reshape(2, 6)})
