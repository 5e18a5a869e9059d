"""Files that are whole or absent."""

import json
import math
import os

import pytest
import torch

from apd import RunError
from apd.files import (
    read_json,
    read_metadata,
    read_tensors,
    write_json,
    write_tensors,
    write_whole,
)


def test_tensors_and_strings_come_back_exactly(tmp_path):
    path = tmp_path / "deep" / "tensors.safetensors"
    whole = {
        "a": torch.randn(3, 4, dtype=torch.float64),
        "view": torch.arange(12).reshape(3, 4).T,
        "empty": torch.zeros(0, 2),
        "scalar": torch.tensor(1.5, dtype=torch.bfloat16),
    }
    whole["shared"] = whole["a"][1:]
    write_tensors(path, whole, {"kind": "test"})
    read = read_tensors(path)
    assert read.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype
    assert read_metadata(path) == {"kind": "test"}


def test_tensors_come_back_aligned_as_torch_aligns_its_own(tmp_path):
    for length in range(1, 17):
        write_tensors(tmp_path / "t", {"x" * length: torch.ones(3)}, {"k": "v" * length})
        (tensor,) = read_tensors(tmp_path / "t").values()
        assert tensor.data_ptr() % 64 == 0


def test_floats_in_json_come_back_exactly(tmp_path):
    content = {"third": 1 / 3, "tiny": 5e-324, "pi": math.pi, "nested": {"list": [1, None, "ü"]}}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json") == content


def test_a_failed_write_keeps_what_was_there(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})

    def half(scratch):
        scratch.write_text('{"new"')
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"x\.json cannot be written: No space left on device"):
        write_whole(path, half)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_who_may_read_a_file_is_for_the_umask_to_say(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "x.json", {})
        write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(3)})
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o666 & ~mask}


def test_a_write_replaces_the_file(tmp_path):
    for value in (1, 2):
        write_json(tmp_path / "x.json", {"value": value})
    assert read_json(tmp_path / "x.json") == {"value": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("read", [read_tensors, read_metadata, read_json])
def test_what_cannot_be_read_is_refused_by_name(tmp_path, read):
    garbage, folder = tmp_path / "garbage", tmp_path / "folder"
    garbage.write_bytes(b"\x93NUMPY\x00\xff" * 9)
    folder.mkdir()
    for path in (tmp_path / "missing", garbage, folder):
        with pytest.raises(RunError, match=f"{path} cannot be read: ") as caught:
            read(path)
        assert "\n" not in str(caught.value)
