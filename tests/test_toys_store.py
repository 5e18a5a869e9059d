"""Saving and loading: everything comes back, nothing is half there, damage is named."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import toys
from toys import ToyError
from toys.toy import Labelled

FILES = ["toy.json", "weights.safetensors", "reference.npz", "inputs.npz", "mechanisms.safetensors"]


@pytest.fixture(scope="module", params=["digits", "tms-5-2", "gated-2", "boolean"])
def toy(request) -> toys.Toy:
    return toys.make(request.param, seed=2, planted=request.param in ("gated-2", "boolean"))


@pytest.fixture(scope="module")
def pentagon() -> toys.Toy:
    return toys.make("tms-5-2", seed=0)


@pytest.fixture
def saved(pentagon, tmp_path) -> Path:
    toys.save(pentagon, tmp_path / "toy")
    return tmp_path / "toy"


def test_everything_comes_back_bit_for_bit(toy, tmp_path):
    toys.save(toy, tmp_path / "new" / "toy")
    back = toys.load(tmp_path / "new" / "toy")
    assert (back.name, back.seed, back.planted) == (toy.name, toy.seed, toy.planted)
    assert type(back.model) is type(toy.model)
    assert back.model.state_dict().keys() == toy.model.state_dict().keys()
    for name, tensor in toy.model.state_dict().items():
        assert torch.equal(back.model.state_dict()[name], tensor)
    assert not back.model.training
    assert not any(parameter.requires_grad for parameter in back.model.parameters())
    for mine, theirs in [
        (toy.reference, back.reference),
        (toy.inputs.x, back.inputs.x),
        (toy.inputs.y, back.inputs.y),
        (toy.inputs.is_anomaly, back.inputs.is_anomaly),
    ]:
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)
    assert back.inputs.kind == toy.inputs.kind
    assert len(back.mechanisms) == len(toy.mechanisms)
    for mine, theirs in zip(toy.mechanisms, back.mechanisms, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_many_mechanisms_keep_their_order(pentagon, tmp_path):
    many = [{"b": torch.full((5,), float(i))} for i in range(12)]
    toys.save(
        toys.Toy(pentagon.name, 0, pentagon.model, pentagon.reference, pentagon.inputs, many),
        tmp_path / "toy",
    )
    back = toys.load(tmp_path / "toy").mechanisms
    assert [mechanism["b"][0].item() for mechanism in back] == list(range(12))


def test_what_cannot_be_written_is_said_without_how_it_is_written(pentagon, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ToyError) as caught:
        toys.save(pentagon, tmp_path / "file" / "toy")
    assert str(caught.value) == f"{tmp_path}/file/toy cannot be written: Not a directory."


def test_loading_neither_trains_nor_moves_the_random_state(saved, monkeypatch):
    monkeypatch.setattr("toys.superposition.fit", None)
    before = torch.random.get_rng_state()
    toys.load(saved)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_directory_holds_only_what_cannot_execute(toy, tmp_path):
    toys.save(toy, tmp_path)
    known = FILES if toy.mechanisms else FILES[:-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(known)
    assert json.loads((tmp_path / "toy.json").read_text()) == {
        "format_version": 2,
        "name": toy.name,
        "seed": toy.seed,
        "planted": toy.planted,
    }
    with np.load(tmp_path / "inputs.npz", allow_pickle=False) as file:
        assert set(file) == {"x", "y", "is_anomaly", "kind"}
        assert all(len(file[key]) == len(toy.inputs) for key in file)
        assert file["kind"].dtype.kind == "U"
    with np.load(tmp_path / "reference.npz", allow_pickle=False) as file:
        assert set(file) == {"x"}
        assert file["x"].dtype == np.float32
    load_file(tmp_path / "weights.safetensors")


def test_the_same_toy_makes_the_same_files(pentagon, saved, tmp_path):
    toys.save(pentagon, tmp_path / "again")
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_toy_replaces_a_toy_and_leaves_nothing_else(toy, saved):
    toys.save(toy, saved)
    assert toys.load(saved).name == toy.name
    assert (saved / "mechanisms.safetensors").exists() == bool(toy.mechanisms)
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("name", ["notes.txt", "scores.csv"])
def test_a_directory_of_something_else_is_left_as_it_is(pentagon, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ToyError, match="something other than a toy"):
        toys.save(pentagon, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_toy_with_the_users_own_files_beside_it_is_left_as_it_is(pentagon, saved):
    (saved / "scores.csv").write_text("mine")
    with pytest.raises(ToyError, match="something other than a toy"):
        toys.save(pentagon, saved)
    assert (saved / "scores.csv").read_text() == "mine"
    toys.load(saved)


def test_a_file_is_not_a_place_for_a_toy(pentagon, tmp_path):
    (tmp_path / "toy").write_text("mine")
    for directory in (tmp_path / "toy", tmp_path / "toy" / "below"):
        with pytest.raises(ToyError):
            toys.save(pentagon, directory)
    assert (tmp_path / "toy").read_text() == "mine"


def test_the_working_directory_is_not_swapped_away(pentagon, tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    for directory in (Path(), tmp_path):
        with pytest.raises(ToyError, match="working directory"):
            toys.save(pentagon, directory)


def test_a_full_disk_leaves_the_old_toy_and_no_litter(pentagon, saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(ToyError, match="No space left on device"):
        toys.save(pentagon, saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert list(saved.parent.iterdir()) == [saved]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 - 40 : len(data) // 2] = bytes(40)
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 8)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"x": 1}))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, empty, garble, pickled, folder])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(saved, name: str, damage: Callable[[Path], None]):
    damage(saved / name)
    with pytest.raises(ToyError, match=rf"{name} is damaged"):
        toys.load(saved)


@pytest.mark.parametrize("name", ["reference.npz", "inputs.npz"])
def test_a_flipped_byte_in_an_array_is_noticed(saved, name):
    flip(saved / name)
    with pytest.raises(ToyError, match=rf"{name} is damaged"):
        toys.load(saved)


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ToyError, match=rf"{name} is missing"):
        toys.load(saved)


def test_no_directory_at_all(tmp_path):
    with pytest.raises(ToyError, match="missing"):
        toys.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format_version": 1}, "format version 1; .* reads 2"),
        ({"name": "tms-5-3"}, "no toy named 'tms-5-3'"),
        ({"name": "tms-40-10"}, "weights.safetensors is damaged"),
        ({"name": ["tms-5-2"]}, "toy.json is damaged"),
        ({"seed": "0"}, "toy.json is damaged"),
        ({"planted": "0"}, "toy.json is damaged"),
    ],
)
def test_a_header_of_something_else_is_refused(saved, change, sentence):
    header = json.loads((saved / "toy.json").read_text())
    (saved / "toy.json").write_text(json.dumps(header | change))
    with pytest.raises(ToyError, match=sentence):
        toys.load(saved)


@pytest.mark.parametrize("key", ["format_version", "name", "seed", "planted"])
def test_a_header_that_lacks_something_is_refused(saved, key):
    header = json.loads((saved / "toy.json").read_text())
    del header[key]
    (saved / "toy.json").write_text(json.dumps(header))
    with pytest.raises(ToyError, match=r"toy\.json is damaged"):
        toys.load(saved)


def test_a_header_that_is_a_list_is_refused(saved):
    (saved / "toy.json").write_text('["tms-5-2"]')
    with pytest.raises(ToyError, match=r"toy\.json is damaged"):
        toys.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros((2_000, 5))},
        {"y": np.zeros(2_000)},
        {"is_anomaly": np.zeros(2_000, dtype=np.int64)},
        {"kind": np.zeros(2_000)},
        {"kind": np.array([{}] * 2_000, dtype=object)},
    ],
    ids=lambda change: " ".join(f"{key} {array.dtype}" for key, array in change.items()),
)
def test_arrays_of_another_type_are_refused(saved, change):
    with np.load(saved / "inputs.npz") as file:
        arrays = dict(file)
    np.savez(saved / "inputs.npz", **(arrays | change))
    with pytest.raises(ToyError, match=r"inputs\.npz is damaged"):
        toys.load(saved)


@pytest.mark.parametrize("array", [np.zeros((9, 5), dtype=np.float32), np.zeros(())])
def test_an_array_outside_an_archive_is_refused(saved, array):
    with (saved / "reference.npz").open("wb") as file:
        np.save(file, array)
    with pytest.raises(ToyError, match=r"reference\.npz is damaged"):
        toys.load(saved)


def test_an_array_without_rows_is_refused(saved):
    np.savez(saved / "reference.npz", x=np.float32(1))
    with pytest.raises(ToyError, match=r"reference\.npz is damaged"):
        toys.load(saved)


@pytest.mark.parametrize("key", ["x", "y", "is_anomaly", "kind"])
def test_inputs_without_one_of_their_arrays_or_rows_are_refused(saved, key):
    with np.load(saved / "inputs.npz") as file:
        arrays = dict(file)
    np.savez(saved / "inputs.npz", **(arrays | {key: arrays[key][1:]}))
    with pytest.raises(ToyError, match=r"inputs\.npz is damaged"):
        toys.load(saved)
    del arrays[key]
    np.savez(saved / "inputs.npz", **arrays)
    with pytest.raises(ToyError, match=r"inputs\.npz is damaged"):
        toys.load(saved)


def test_a_reference_of_another_shape_is_refused(saved):
    np.savez(saved / "reference.npz", x=np.zeros((9, 4), dtype=np.float32))
    with pytest.raises(ToyError, match="differ in shape"):
        toys.load(saved)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("0/W", "shape of parameter 'W'"),
        ("0/V", "shape of parameter 'V'"),
        ("1/b", "mechanisms.safetensors is damaged"),
        ("W", "mechanisms.safetensors is damaged"),
        ("one/W", "mechanisms.safetensors is damaged"),
    ],
)
def test_mechanisms_of_another_model_are_refused(saved, key, sentence):
    save_file({key: torch.zeros(5)}, saved / "mechanisms.safetensors")
    with pytest.raises(ToyError, match=sentence):
        toys.load(saved)


def test_a_saved_toys_numbers_do_not_follow_later_changes(pentagon, saved):
    back = toys.load(saved)
    back.reference.zero_()
    assert torch.equal(toys.load(saved).reference, pentagon.reference)


def test_labelled_counts_its_rows_and_knows_clean_ones():
    inputs = Labelled.clean(torch.zeros(3, 2, 4))
    assert len(inputs) == 3
    assert inputs.kind == ("clean", "clean", "clean")
    assert inputs.y.tolist() == [-1, -1, -1]
    assert not inputs.is_anomaly.any()
