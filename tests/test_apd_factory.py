"""Making a module from its name, and filling it with weights."""

import sys

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from apd import TargetError, load_factory
from apd.from_torch.factory import load_weights

SOURCE = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4))

def number():
    return 3

def speechless():
    raise ValueError

def broken():
    raise KeyError("no such size")

LATER = None
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    (tmp_path / "somebodys.py").write_text(SOURCE)
    (tmp_path / "unparsable.py").write_text("def net(:\n")
    (tmp_path / "failing.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "leaving.py").write_text("import sys; sys.exit()\n")
    (tmp_path / "script.py").write_text("raise SystemExit(2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("somebodys", "unparsable", "failing", "script", "leaving"):
        sys.modules.pop(name, None)


def saved(path) -> nn.Module:
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4))
    save_model(net, path)
    return net


def test_a_factory_is_called_and_its_weights_are_loaded(tmp_path):
    net = saved(tmp_path / "weights.safetensors")
    made = load_factory("somebodys:net", tmp_path / "weights.safetensors")
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])


def test_without_weights_the_factorys_own_are_kept():
    assert isinstance(load_factory("somebodys:net", None), nn.Sequential)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:net", "'nowhere:net' cannot be imported: No module named 'nowhere'"),
        ("somebodys:nothing", "'somebodys:nothing' cannot be imported: .*'nothing'"),
        ("somebodys", "'somebodys' cannot be imported"),
        (":net", "':net' cannot be imported"),
        ("somebodys:number", "somebodys:number returned int"),
        ("somebodys:broken", "somebodys:broken failed: 'no such size'"),
        ("somebodys:LATER", "somebodys:LATER failed: .*NoneType"),
        ("unparsable:net", "unparsable"),
        ("failing:net", "failing:net.*no licence"),
        ("script:net", r"script:net.*cannot be imported: it exits \(2\)"),
        ("leaving:net", r"leaving:net.*cannot be imported: it exits$"),
        ("somebodys:speechless", "somebodys:speechless failed: ValueError$"),
    ],
)
def test_what_is_no_factory_is_refused_by_name(name, said):
    with pytest.raises(TargetError, match=said) as caught:
        load_factory(name, None)
    assert "\n" not in str(caught.value)


def assert_weights_refused(path, said):
    with pytest.raises(TargetError, match=said) as caught:
        load_factory("somebodys:net", path)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    assert_weights_refused(path, rf"^there are no weights at {path}$")
    assert_weights_refused(tmp_path, rf"^the weights {tmp_path} do not fit the target: ")


def test_damaged_weights_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    saved(path)
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert_weights_refused(path, rf"^{path} is no whole safetensors file \(")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"2.bias": None}, r"they lack 2\.bias$"),
        ({"4.weight": torch.zeros(3, 4)}, r"the target has no 4\.weight$"),
        ({"0.weight": torch.zeros(7, 6)}, r"0\.weight is \(7, 6\), the target's \(7, 5\)$"),
        ({"0.weight": torch.zeros(7, 5).long()}, r"0\.weight holds torch\.int64"),
        (
            dict.fromkeys(("0.weight", "0.bias", "2.weight", "2.bias")) | {"a": torch.zeros(3)},
            r"they lack 0\.weight; they lack 0\.bias; they lack 2\.weight \(and 2 more\)$",
        ),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, change, said):
    path = tmp_path / "weights.safetensors"
    state = {**saved(path).state_dict(), **change}
    save_file({name: tensor for name, tensor in state.items() if tensor is not None}, path)
    assert_weights_refused(path, rf"^the weights {path} do not fit the target: .*{said}")


class Tied(nn.Module):
    """One tensor under two names."""

    def __init__(self):
        super().__init__()
        self.table, self.readout = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.readout.weight = self.table.weight


@pytest.mark.parametrize("names", [["table"], ["readout"], ["readout", "table"]])
def test_tied_weights_are_given_under_any_of_their_names(tmp_path, names):
    weight = torch.arange(15.0).view(5, 3)
    save_file({f"{name}.weight": weight.clone() for name in names}, tmp_path / "w.safetensors")
    module = Tied()
    load_weights(module, tmp_path / "w.safetensors")
    assert torch.equal(module.table.weight, weight)
    assert module.readout.weight is module.table.weight


def test_weights_of_another_precision_are_taken_in_the_modules_own(tmp_path):
    path = tmp_path / "weights.safetensors"
    state = saved(path).state_dict()
    save_file({name: tensor.half() for name, tensor in state.items()}, path)
    made = load_factory("somebodys:net", path)
    for name, tensor in made.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, state[name].half().float())
