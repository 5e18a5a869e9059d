"""The run directory: bit for bit what was saved, or refused; never half-written."""

import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import make_problem, numbers

import apd
from apd import Config, RunError
from apd.store import file_hash, history_tensors, steps_from
from apd.training.train import Step

FILES = ["components.safetensors", "run.json", "target.safetensors", "training.safetensors"]
TENSORS = [name for name in FILES if name != "run.json"]


@pytest.fixture
def saved(small_run, tmp_path) -> Path:
    small_run[0].save(tmp_path / "run")
    return tmp_path / "run"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def refusal(directory: Path) -> str:
    with pytest.raises(RunError) as caught:
        apd.load(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def manifest(directory: Path) -> dict:
    return json.loads((directory / "run.json").read_text())


def rewrite(directory: Path, content) -> None:
    (directory / "run.json").write_text(json.dumps(content))


def test_a_run_comes_back_bit_for_bit(small_run, saved):
    run, _x = small_run
    read = apd.load(saved)
    assert read.fingerprint == run.fingerprint
    assert read.target.fingerprint == run.target.fingerprint
    assert read.config == run.config
    assert read.steps == run.steps
    assert torch.equal(read.rows, run.rows)
    assert read.reference_fingerprint == run.reference_fingerprint
    assert read.sites == run.sites
    for a, b in zip(run.components.tensors(), read.components.tensors(), strict=True):
        assert torch.equal(a, b)
        assert a.dtype == b.dtype
    for name, tensor in run.target.state.items():
        assert torch.equal(read.target.state[name], tensor)


@pytest.mark.parametrize("output", ["predicted", "all", 2])
def test_a_run_read_back_answers_the_same(small_run, saved, output):
    run, x = small_run
    read, x = apd.load(saved), x[:9].numpy()
    for a, b in zip(run.explain(x, output), read.explain(x, output), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(run.outputs_on(x, [1, 3]), read.outputs_on(x, [1, 3]))


@pytest.mark.parametrize("name", ["tms-1", "matmul-1", "positions-1", "partial-1"])
def test_every_kind_of_target_comes_back(name, tmp_path):
    problem = make_problem(name)
    x = numbers(131)(40, *problem.x.shape[1:])
    sites = tuple(problem.target.sites)
    config = Config(components=5, steps=3, rank=2, sites=sites)
    run = apd.decompose(problem.target, x, config)
    run.save(tmp_path)
    read = apd.load(tmp_path)
    assert read.fingerprint == run.fingerprint
    assert torch.equal(read.target(problem.x), run.target(problem.x))


@pytest.mark.parametrize("name", ["[cls]", "!first", "*", "a?"])
def test_sites_named_like_patterns_come_back(name, tmp_path):
    module = torch.nn.Sequential()
    module.add_module(name, torch.nn.Linear(6, 4))
    module.add_module("other", torch.nn.Linear(4, 3))
    run = apd.decompose(module, numbers(134)(40, 6).float(), Config(components=5, steps=3))
    run.save(tmp_path)
    read = apd.load(tmp_path)
    assert list(read.target.sites) == [f"{name}.weight", "other.weight"]
    assert read.fingerprint == run.fingerprint


def test_infinite_constants_come_back(tmp_path):
    """Attention masks fill with -inf, which JSON has no word for."""

    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.W = torch.nn.Parameter(numbers(132)(4, 6))

        def forward(self, x):
            h = torch.nn.functional.linear(x, self.W)
            return h.masked_fill(h < 0, float("-inf")).softmax(1)

    x = numbers(133)(40, 6) + 0.5
    target = apd.Target.of(Masked(), x)
    run = apd.Run(
        target,
        apd.Components.of(
            {"W": apd.components.initialise(target, 5, 1, torch.Generator()).factors["W"]}
        ),
        2.0,
        Config(),
        torch.arange(3),
        torch.arange(3),
        "",
        [],
        {"W": "trained"},
    )
    run.save(tmp_path)
    assert torch.equal(apd.load(tmp_path).target(x).nan_to_num(7), target(x).nan_to_num(7))


def test_a_run_is_safetensors_and_json_alone(saved):
    assert names(saved) == FILES
    content = manifest(saved)
    assert content["format_version"] == 4
    assert content["seed"] == content["config"]["seed"] == 3
    for key in (
        "package_version",
        "target_fingerprint",
        "reference_fingerprint",
        "sites",
        "kinds",
        "graph",
    ):
        assert content[key]


def test_records_survive_as_float64():
    steps = [
        Step("a", 0, 0.1, 1 / 3, 1e-300, 2.5),
        Step("a", 1, float("inf"), 1e300, 0.0, 1.0),
        Step("c", 0, 0.3, 2.0, 1.0, 4.0),
    ]
    assert steps_from(history_tensors(steps), ["a", "b", "c"]) == steps
    assert steps_from(history_tensors([]), ["a"]) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, name, share):
    path = saved / name
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert str(path) in refusal(saved)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("place", [0.05, 0.6, -1])
def test_an_altered_file_is_refused(saved, name, place):
    content = bytearray((saved / name).read_bytes())
    content[place if place < 0 else int(place * len(content))] ^= 1
    (saved / name).write_bytes(content)
    assert refusal(saved) == f"{saved / name} is truncated or was altered"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(saved, name):
    (saved / name).unlink()
    message = refusal(saved)
    assert name in message or (name == "run.json" and "no finished run" in message)


def test_what_is_no_run_directory_is_refused(tmp_path):
    assert "there is no run directory" in refusal(tmp_path / "nowhere")
    assert "no finished run" in refusal(tmp_path)
    (tmp_path / "file").write_text("x")
    assert "there is no run directory" in refusal(tmp_path / "file")


@pytest.mark.parametrize("version", [0, 3, 5, "4", None])
def test_another_format_version_is_refused(saved, version):
    rewrite(saved, {**manifest(saved), "format_version": version})
    assert f"format version {version}" in refusal(saved)


def test_the_manifest_of_something_else_is_refused(saved):
    rewrite(saved, {**manifest(saved), "format": "mad detector"})
    assert "is not the manifest of a run" in refusal(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"run"', "null", "\x00\xff"])
def test_a_manifest_that_is_no_json_object_is_refused(saved, text):
    (saved / "run.json").write_bytes(text.encode("latin1"))
    assert "run.json cannot be read" in refusal(saved)


NEEDED = [
    "format",
    "format_version",
    "target_fingerprint",
    "reference_fingerprint",
    "config",
    "sites",
    "graph",
    "sha256",
]


@pytest.mark.parametrize("key", NEEDED)
def test_a_manifest_with_a_part_missing_is_refused(saved, key):
    content = manifest(saved)
    del content[key]
    rewrite(saved, content)
    refusal(saved)


@pytest.mark.parametrize("key", NEEDED)
@pytest.mark.parametrize("value", [None, [], 7, {"a": 1}])
def test_a_manifest_with_a_part_of_another_kind_is_refused(saved, key, value):
    rewrite(saved, {**manifest(saved), key: value})
    with pytest.raises(RunError):
        apd.load(saved)


def test_a_damaged_graph_is_refused_in_one_sentence(saved):
    rewrite(saved, {**manifest(saved), "graph": {"nodes": 3}})
    assert "does not describe a run" in refusal(saved)


def test_the_target_of_another_run_is_refused(saved, tmp_path):
    """Even where its hash was put into the manifest."""
    target = make_problem("mlp-1").target
    shifted = target.with_weights({"0.bias": target.state["0.bias"] + 1})
    config = Config(components=8, steps=2)
    apd.decompose(shifted, numbers(134)(40, 5), config).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "target.safetensors", saved)
    assert "target.safetensors is truncated or was altered" in refusal(saved)
    content = manifest(saved)
    content["sha256"]["target.safetensors"] = file_hash(saved / "target.safetensors")
    rewrite(saved, content)
    assert "belongs to another target" in refusal(saved)


def test_a_graph_that_calls_anything_else_is_never_run(saved, tmp_path):
    """Whoever changes the graph must change the fingerprint too, and gets no call through."""
    content = manifest(saved)
    content["graph"]["nodes"][0] |= {"op": "os.system", "args": [f"touch {tmp_path}/sprung"]}
    rewrite(saved, content)
    refusal(saved)
    assert not (tmp_path / "sprung").exists()


# --- writing --------------------------------------------------------------------------------


def test_a_run_does_not_overwrite_a_run(small_run, saved):
    before = {name: (saved / name).read_bytes() for name in FILES}
    with pytest.raises(RunError, match="already holds a run"):
        small_run[0].save(saved)
    assert {name: (saved / name).read_bytes() for name in names(saved)} == before


def test_parents_are_made(small_run, tmp_path):
    small_run[0].save(tmp_path / "a" / "b" / "run")
    assert names(tmp_path / "a" / "b" / "run") == FILES


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_way_is_kept(small_run, tmp_path, below):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(RunError, match="cannot be written"):
        small_run[0].save(tmp_path / "taken" / below)
    assert names(tmp_path) == ["taken"]
    assert (tmp_path / "taken").read_text() == "mine"


@contextmanager
def files_no_larger_than(size: int):
    """The operating system refuses to write more, as it does when a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1000, 2000])
def test_a_full_disk_leaves_no_run_and_no_scraps(small_run, tmp_path, size):
    directory = tmp_path / "run"
    with files_no_larger_than(size), pytest.raises(RunError, match="cannot be written"):
        small_run[0].save(directory)
    assert not apd.is_run(directory)
    for path in directory.iterdir():
        assert path.name in TENSORS
        assert path.stat().st_size <= size
    small_run[0].save(directory)
    assert apd.load(directory).fingerprint == small_run[0].fingerprint
