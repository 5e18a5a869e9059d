"""Several named inputs as the rows of one tensor, and as the target's graph takes them apart."""

import numpy as np
import oracles
import pytest
import torch
from problems import Problem, numbers, random_components
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from apd import Components, Target, TargetError
from apd.attribution import rms_attributions
from apd.graph import Graph, Part
from apd.hooks import capture
from apd.inputs import names_taken, pack, packed_type, parts_of, tensor_of, unpack

N, P = 5, 6


def ids(n: int, rows: int = 11) -> torch.Tensor:
    return torch.randint(rows, (n, P), generator=torch.Generator().manual_seed(1))


def mask(n: int) -> torch.Tensor:
    """Of texts of different lengths, none empty."""
    return torch.arange(P) <= torch.arange(n)[:, None] % P


NAMED = {
    "ids": ids(N),
    "mask": mask(N),
    "image": numbers(191)(N, 2, 3).float(),
    "age": numbers(192)(N).float(),
    "kind": ids(N)[:, 0],
    "known": mask(N)[:, 0],
}

SELECTIONS = [
    ("ids", "mask", "image", "age"),
    ("image", "ids"),
    ("age",),
    ("ids",),
    ("mask", "ids"),
    ("kind",),
    ("known", "age", "kind"),
]


@pytest.mark.parametrize("names", SELECTIONS, ids="-".join)
def test_what_is_packed_is_unpacked_again(names):
    named = {name: NAMED[name] for name in names}
    parts = parts_of(named)
    packed = pack(parts, named)
    assert packed.shape == (N, sum(tensor[0].numel() for tensor in named.values()))
    again = unpack(parts, packed)
    assert list(again) == list(names)
    for name, tensor in named.items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor)
    arrays = {name: tensor.numpy() for name, tensor in named.items()} | {"other": np.zeros(3)}
    assert torch.equal(pack(parts, arrays), packed)
    assert torch.equal(pack(parts, {name: t[2:4] for name, t in named.items()}), packed[2:4])


@pytest.mark.parametrize(
    "change", [lambda x: x[::-1][::-1], np.asfortranarray, ">f8", "longdouble"]
)
def test_arrays_mean_the_same_in_whatever_order_they_are_held(change):
    x = numbers(193)(3, 5).numpy()
    other = x.astype(change) if isinstance(change, str) else change(x)
    assert torch.equal(tensor_of(other), torch.tensor(x))
    assert torch.equal(tensor_of(other[::-1]), torch.tensor(x).flip(0))
    part = parts_of({"x": torch.tensor(x)})
    assert torch.equal(pack(part, {"x": other}), torch.tensor(x))


def test_what_may_not_be_written_to_is_copied(recwarn):
    x = np.arange(6.0).reshape(2, 3)
    x.flags.writeable = False
    tensor_of(x)[0, 0] = 7
    assert x[0, 0] == 0
    assert not recwarn.list


def test_rows_of_several_lengths_are_refused():
    with pytest.raises(TargetError, match="not all of one shape"):
        tensor_of([[1.0, 2.0], [3.0]])


def test_what_is_no_number_is_refused():
    with pytest.raises(TargetError, match="the inputs are <U1, which torch has no type for"):
        tensor_of(np.array(["a", "b"]))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["torch.int64", "torch.bool"], torch.int64),
        (["torch.int64", "torch.float32"], torch.float32),
        (["torch.float32", "torch.float64", "torch.int64"], torch.float64),
    ],
)
def test_whole_numbers_stay_whole_where_all_are(dtypes, expected):
    parts = [Part(name=str(k), shape=(2,), dtype=dtype) for k, dtype in enumerate(dtypes)]
    assert packed_type(parts) == expected


def test_whole_numbers_that_a_float_does_not_hold_are_refused():
    parts = parts_of({"ids": NAMED["ids"], "age": NAMED["age"]})
    good, bad = ids(N), ids(N)
    good[2, 3], bad[2, 3] = 2**24, 2**24 + 1
    age = NAMED["age"]
    assert torch.equal(unpack(parts, pack(parts, {"ids": good, "age": age}))["ids"], good)
    with pytest.raises(TargetError, match=r"ids holds whole numbers too large for torch\.float32"):
        pack(parts, {"ids": bad, "age": age})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": None, "age": None}, "the inputs lack ids, age; the target takes ids, mask, image"),
        ({"ids": ids(N)[:, :4]}, r"ids has shape \(4,\); the target takes \(6,\)"),
        ({"image": ids(N)}, r"image has shape \(6,\); the target takes \(2, 3\)"),
        ({"ids": ids(N).float()}, r"ids is torch\.float32; the target takes torch\.int64"),
        ({"age": torch.zeros(N).long()}, r"age is torch\.int64; the target takes torch\.float32"),
        ({"age": torch.zeros(4)}, "the inputs differ in number: there are 5 of ids, 5 of mask, 5"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(change, said):
    arrays = {name: t for name, t in {**NAMED, **change}.items() if t is not None}
    with pytest.raises(TargetError, match=said) as caught:
        pack(parts_of(NAMED), arrays)
    assert "\n" not in str(caught.value)


# --- targets ----------------------------------------------------------------------------------


class Texts(nn.Module):
    """A text classifier as people have them: ids, which of them are padding, what else is known."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 9, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.readout = nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask=None, age=None, unused=None):
        h = self.encoder(self.tokens(input_ids), src_key_padding_mask=~attention_mask)
        h = (h * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        if age is not None:
            h = h * age[:, None].tanh()
        return {"logits": self.readout(h), "hidden": h}


def texts(n: int) -> dict[str, torch.Tensor]:
    age = numbers(193)(n).float()
    return {"attention_mask": mask(n), "age": age, "input_ids": ids(n)}


def outputs(module: nn.Module, named: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the module itself says, one input at a time."""
    module = module.eval()
    with torch.no_grad():
        rows = [{k: v[n : n + 1] for k, v in named.items()} for n in range(len(named["age"]))]
        return torch.cat([module(**row)["logits"] for row in rows])


def test_a_target_of_named_inputs_computes_what_the_module_computes():
    module, named = Texts(), texts(9)
    target = Target.of(module, {k: v[:2] for k, v in named.items()}, output="logits")
    assert target.input_shape == (P + 1 + P,)
    torch.testing.assert_close(target(target.prepare(named)), outputs(module, named))
    assert set(target.sites) == {n for n, p in module.named_parameters() if p.ndim > 1}
    again = Graph.model_validate_json(target.graph.model_dump_json())
    assert again == target.graph
    assert [part.name for part in again.parts] == list(named)


class Unpacking(nn.Module):
    """The same, of packed inputs."""

    def __init__(self, parts):
        super().__init__()
        self.texts, self.parts = Texts(), parts

    def forward(self, x):
        return self.texts(**unpack(self.parts, x))["logits"]


def test_attributions_of_named_inputs_are_derivatives_along_components():
    named = texts(4) | {"age": numbers(193)(4)}
    target = Target.of(Texts().double(), named, output="logits")
    x = target.prepare(named)
    components = random_components(target, 7, 2, numbers(195))
    fast = rms_attributions(*capture(target, x), components)
    module = Unpacking(target.graph.parts).double().eval()
    renamed = Components.of({f"texts.{s}": f for s, f in components.factors.items()})
    other = Target.of(module, x)
    assert list(other.sites) == list(renamed.factors)
    problem = Problem(module, other, renamed, x, torch.zeros(4, dtype=torch.int64))
    with sdpa_kernel(SDPBackend.MATH):
        slow = oracles.rms_over_outputs(oracles.effects(problem).sum(1))
    torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-11)


def test_one_input_may_be_given_by_name_as_well():
    module, x = nn.Linear(4, 3), numbers(194)(N, 4).float()
    target = Target.of(module, {"input": x})
    assert target.input_shape == (4,)
    torch.testing.assert_close(target(target.prepare({"input": x})), oracles.forward(module, x))


def test_names_that_the_module_does_not_know_are_refused():
    with pytest.raises(TargetError, match=r"fails on x \(5, 4\): .*unexpected keyword argument"):
        Target.of(nn.Linear(4, 3), {"x": torch.zeros(N, 4)})


def test_the_names_a_module_takes_are_known():
    names = ("age", "labels", "input_ids", "self")
    assert names_taken(Texts(), names) == ["age", "input_ids"]


def test_graphs_of_one_input_say_nothing_of_parts():
    target = Target.of(nn.Linear(4, 3), torch.zeros(2, 4) + 1)
    assert "parts" not in target.graph.model_dump()
    assert "parts" not in target.graph.model_dump_json()


def test_whole_numbers_that_a_network_does_not_hold_are_refused():
    parts = [Part(name="ids", shape=(2,), dtype="torch.int32")]
    held = torch.tensor([[2**31 - 1, -(2**31)]])
    assert torch.equal(unpack(parts, pack(parts, {"ids": held}))["ids"], held.int())
    with pytest.raises(TargetError, match=r"ids holds whole numbers too large for torch\.int32"):
        pack(parts, {"ids": held + 1})
