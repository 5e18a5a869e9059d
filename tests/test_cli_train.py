"""`apd train` and `apd toy`: what they write, what they refuse, and going on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_model
from test_cli_main import apd, assert_one_sentence, call, environment
from torch import nn

import mad
import toys
from cli import plan, settings, targets, training
from cli.errors import InputError
from cli.train import how_to_go_on

# the seconds between checkpoints, shortened so that a short training has some
IMPATIENT = (
    "import sys, apd.decomposition, cli.main; apd.decomposition.CHECKPOINT_EVERY_S = 0.1; "
    "sys.argv[0] = 'apd'; cli.main.main()"
)
PLAIN = "import sys, cli.main; sys.argv[0] = 'apd'; cli.main.main()"
STEPS = 150


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("toys") / "digits"
    toys.save(toys.make("digits"), directory)
    return directory


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, tmp_path, *arguments)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def impatient(*arguments: object, cwd: Path, script: str = IMPATIENT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_done(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_run_resumes_to_the_same_bits(digits, tmp_path):
    whole = impatient("train", digits, "--steps", STEPS, "--out", "whole", cwd=tmp_path)
    assert_done(whole)
    killed = impatient("train", digits, "--steps", STEPS, "--out", "runs/cut", cwd=tmp_path)
    wait_for(tmp_path / "runs/cut/checkpoint.safetensors", killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "runs/cut/run.json").exists()

    resumed = impatient("train", "--resume", cwd=tmp_path)
    assert_done(resumed)
    for name in ("components.safetensors", "training.safetensors"):
        assert (tmp_path / "runs/cut" / name).read_bytes() == (
            tmp_path / "whole" / name
        ).read_bytes()
    assert names(tmp_path / "runs/cut") == names(tmp_path / "whole")
    assert not any("checkpoint" in name for name in names(tmp_path / "whole"))


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.8, 1.6])
def test_an_interrupt_while_torch_is_imported_is_no_crash(digits, tmp_path, delay):
    process = impatient("train", digits, "--steps", 100_000, cwd=tmp_path, script=PLAIN)
    deadline = time.monotonic() + 60
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert time.monotonic() < deadline
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.startswith("apd: interrupted") or "\napd: interrupted" in err
    assert "Traceback" not in err


def test_an_interrupted_run_says_how_to_go_on(digits, tmp_path, here):
    process = impatient("train", digits, "--steps", 100_000, "--out", "cut", cwd=tmp_path)
    wait_for(tmp_path / "cut/checkpoint.safetensors", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "apd train --resume --out cut" in err
    assert "Traceback" not in err

    code, _, err = here("train", digits, "--out", "cut")
    assert code == 1
    assert_one_sentence(err, "unfinished", "--resume --out cut")

    code, _, err = here("train", "--resume", "--out", "cut", "--steps", "3")
    assert code == 1
    assert_one_sentence(err, "the same setting 'steps'")

    (tmp_path / "cut/train.json").unlink()
    code, _, err = here("train", "--resume", "--out", "cut")
    assert code == 1
    assert_one_sentence(err, "give the target")


def test_components_without_a_detector_go_on_only_as_they_were_begun(digits, here, tmp_path):
    assert here("train", digits, "--steps", "4", "--out", "my run")[0] == 0
    (tmp_path / "my run/detector.safetensors").unlink()
    code, _, err = here("score", digits / "inputs.npz", "--run", "my run")
    assert code == 1
    assert_one_sentence(err, "my run is not finished", "`apd train --resume --out 'my run'`")
    for other in (["--steps", "5"], ["--seed", "1"]):
        code, _, err = here("train", "--resume", "--out", "my run", *other)
        assert code == 1
        assert_one_sentence(err, f"the same setting '{other[0].strip('-')}'")
    assert "detector.safetensors" not in names(tmp_path / "my run")
    code, out, _ = here("train", "--resume", "--out", "my run")
    assert code == 0
    assert "inputs.npz --run 'my run'" in out
    assert "detector.safetensors" in names(tmp_path / "my run")


def test_what_may_execute_code_has_to_be_trusted_again(tmp_path):
    (tmp_path / "train.json").write_text("{}")
    said = how_to_go_on(tmp_path, trust=True)
    assert said == f"go on with `apd train --resume --out {tmp_path} --trust`"
    assert "--trust" not in how_to_go_on(tmp_path, trust=False)


@pytest.mark.parametrize("command", [["train", "--steps", "2"], ["toy", "tms-5-2"]])
def test_names_that_nothing_could_be_read_under_are_refused(here, tmp_path, command):
    code, _, err = here(*command, "--out", os.fsdecode(b"caf\xe9"))
    assert code == 1
    assert_one_sentence(err, "not a name in UTF-8")
    assert list(tmp_path.iterdir()) == []


def test_what_is_found_without_being_named_is_not_named(digits, here, tmp_path):
    _, out, _ = here("train", digits, "--steps", "2", "--out", "runs/mine")
    assert "--run" not in out
    _, out, _ = here("train", digits, "--steps", "2", "--out", "runs/later")
    assert "--run" not in out
    (tmp_path / "runs/mine/detector.safetensors").unlink()
    _, out, _ = here("train", "--resume", "--out", "runs/mine")
    assert "inputs.npz --run runs/mine" in out


def test_what_came_of_it_as_json_and_not_at_all(digits, here, tmp_path):
    code, out, err = here("train", digits, "--steps", "2", "--out", "told", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["run"], said["steps"]) == ("told", 2 * len(said["sites"]))
    assert 0 < said["active"] <= said["components"]
    assert said["residual"] > 0
    assert said["smallest_p_value"] == 1 / (said["calibrated"] + 1)
    assert said["sparse_error"] == mad.load(tmp_path / "told").usual.sparse_error
    assert here("train", digits, "--steps", "2", "--out", "hushed", "--quiet") == (0, "", "")


def test_components_that_leave_out_little_are_not_complained_about(monkeypatch, digits, here):
    monkeypatch.setattr("cli.outcome.MUCH", 1000.0)
    _, out, _ = here("train", digits, "--steps", "2", "--out", "run")
    assert "sparse error" in out
    assert "leave out much" not in out


def test_the_embedded_example_and_what_it_refuses_to_overwrite(monkeypatch, tmp_path, here):
    monkeypatch.setattr("cli.outcome.MUCH", 1e-4)
    code, out, err = here("train", "--steps", "5", "--components", "9", "--out", "run")
    assert (code, err) == (0, "")
    assert "embedded example" in out
    assert "apd score inputs.npz" in out
    assert mad.load(tmp_path / "run").usual.sparse_error > 1e-4
    assert "leave out much of what the network does" in out
    assert names(tmp_path) == ["inputs.npz", "run"]
    with np.load(tmp_path / "inputs.npz") as left:
        assert sorted(left.files) == ["is_anomaly", "kind", "x", "y"]

    code, _, err = here("train", "--out", "run")
    assert code == 1
    assert_one_sentence(err, "already holds a finished run", "--out")
    code, _, err = here("train", "--resume", "--out", "run")
    assert code == 1
    assert_one_sentence(err, "nothing to resume")

    np.savez(tmp_path / "inputs.npz", x=np.zeros(3))
    before = (tmp_path / "inputs.npz").read_bytes()
    code, _, err = here("train", "--steps", "5", "--out", "other")
    assert code == 1
    assert_one_sentence(err, "inputs.npz", "overwrite")
    assert names(tmp_path) == ["inputs.npz", "run"]
    assert (tmp_path / "inputs.npz").read_bytes() == before


FACTORY = """
from torch import nn

def small():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
"""


@pytest.fixture
def mine(tmp_path):
    """A factory of ours with its weights, a reference, and an apd.toml, in the directory."""
    (tmp_path / "mine.py").write_text(FACTORY)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    save_model(model, str(tmp_path / "w.safetensors"))
    x = np.random.default_rng(0).normal(size=(400, 6))
    np.savez(tmp_path / "ref.npz", x=x)
    yield tmp_path
    sys.modules.pop("mine", None)
    sys.path.remove("") if "" in sys.path else None


def test_a_factory_with_flags_over_file_over_defaults(mine, here):
    (mine / "apd.toml").write_text(
        '[train]\ntarget = "mine:small"\nreference = "ref.npz"\nweights = "w.safetensors"\n'
        'out = "from-file"\n[decomposition]\nsteps = 7\ncomponents = 4\nloss = "kl"\n'
    )
    code, out, err = here("train", "--steps", "60")
    assert code == 0
    assert_one_sentence(err, "nothing can be flagged at alpha 0.01", "400 trusted inputs")
    assert "apd score INPUTS.npz --run from-file" in out
    assert "Settings are those of apd.toml" in out
    config = json.loads((mine / "from-file/run.json").read_text())["config"]
    assert [config[name] for name in ("steps", "components", "loss", "rank")] == [60, 4, "kl", 1]
    assert plan.recorded(mine / "from-file") == plan.Plan(
        target="mine:small",
        reference=str(mine / "ref.npz"),
        weights=str(mine / "w.safetensors"),
        decomposition={"steps": 60, "components": 4, "loss": "kl"},
    )


def test_a_reference_too_small_to_flag_anything_is_warned_of(mine, here):
    """With 411 inputs a detector can flag at the default alpha; with one fewer it cannot."""
    finest = {}
    for count, warnings in {410: 1, 411: 0}.items():
        np.savez(mine / "ref.npz", x=np.random.default_rng(0).normal(size=(count, 6)))
        arguments = ("train", "mine:small", "--reference", "ref.npz", "--steps", "2")
        for more in (("--dry-run",), ("--out", str(count))):
            code, _, err = here(*arguments, *more)
            assert (code, err.count("\n")) == (0, warnings)
            assert ("by a detector of 410 trusted inputs; it takes 411." in err) == bool(warnings)
        finest[count] = mad.load(mine / str(count)).finest_alpha
    assert finest[411] == 0.01 < finest[410]


def test_a_small_reference_is_warned_of_before_training(mine, here, monkeypatch):
    def decompose(*given, **more):
        raise InputError("training began")

    monkeypatch.setattr("apd.decompose", decompose)
    code, _, err = here("train", "mine:small", "--reference", "ref.npz", "--out", "run")
    assert code == 1
    warning, began = err.splitlines(keepends=True)
    assert_one_sentence(warning, "warning: nothing can be flagged")
    assert_one_sentence(began, "training began")


def test_the_directory_that_the_settings_name_is_gone_on_with(mine, here):
    (mine / "apd.toml").write_text(
        '[train]\ntarget = "mine:small"\nreference = "ref.npz"\nweights = "w.safetensors"\n'
        'out = "from-file"\n'
        "[decomposition]\nsteps = 2\ncomponents = 4\n"
    )
    assert here("train")[0] == 0
    (mine / "from-file/detector.safetensors").unlink()
    assert here("train", "--resume")[0] == 0
    assert (mine / "from-file/detector.safetensors").is_file()
    assert_one_sentence(here("train", "--resume")[2], "no unfinished run under ./runs")


def test_a_factory_without_weights_is_said_to_be_as_made(mine, here):
    code, out, _ = here("train", "mine:small", "--reference", "ref.npz", "--steps", "2")
    assert code == 0
    assert "No --weights given: the weights are those that mine:small makes." in out


def test_a_toy_has_its_own_weights(digits, mine, here):
    code, _, err = here("train", digits, "--weights", "w.safetensors")
    assert code == 1
    assert_one_sentence(err, "has its own weights; leave out --weights")


def reference(path, x, key="x"):
    np.savez(path / "bad.npz", **{key: x})


def with_nan(path):
    x = np.zeros((500, 6))
    x[[3, 17], 2] = np.nan, np.inf
    reference(path, x)


BAD_REFERENCES = {
    "missing": (lambda path: None, "bad.npz"),
    "NaN rows": (with_nan, "3, 17"),
    "integers": (lambda path: reference(path, np.zeros((400, 6), int)), "astype('float32')"),
    "another width": (lambda path: reference(path, np.zeros((400, 5))), "5"),
    "one row": (lambda path: reference(path, np.zeros((1, 6))), "has 1 inputs; at least 78"),
    "too few rows": (lambda path: reference(path, np.zeros((77, 6))), "has 77 inputs; at least 78"),
}


@pytest.mark.parametrize("case", BAD_REFERENCES)
def test_bad_references_are_refused_before_any_training(case, mine, here):
    write, words = BAD_REFERENCES[case]
    write(mine)
    arguments = ("--reference", "bad.npz", "--out", "out", "--steps", "2")
    code, _, err = here("train", "mine:small", *arguments)
    assert code == 1
    assert_one_sentence(err, words)
    assert not (mine / "out").exists()


BAD_TARGETS = {
    "nowhere": "nowhere",
    "model.onnx": "ONNX",
    "model.pt2": "pickles",
    "model.pt": "TorchScript",
    "w.safetensors": "weights alone",
    "empty": "toy.json",
    "mine:none": "none",
    "nomodule:small": "nomodule",
    "mine:small": "--reference",
}


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_bad_targets_are_refused(target, mine, here):
    for name in ("model.onnx", "model.pt2", "model.pt"):
        (mine / name).touch()
    (mine / "empty").mkdir()
    extra = () if target == "mine:small" else ("--reference", "ref.npz")
    code, _, err = here("train", target, *extra)
    assert code == 1
    assert_one_sentence(err, BAD_TARGETS[target])
    assert not (mine / "runs").exists()


BAD_SETTINGS = {
    "not toml": ("steps 3", "not TOML"),
    "unknown section": ("[training]\n", "'training'"),
    "unknown train": ("[train]\ntargets = 'x'\n", "'targets'"),
    "unknown field": ("[decomposition]\nstepz = 3\n", "'stepz'"),
    "bad value": ("[decomposition]\nsteps = -3\n", "'steps'"),
    "not text": ("[train]\nkey = 3\n", "key"),
    "not a section": ("train = 3\n", "[train]"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings_are_refused_by_name(case, mine, here):
    text, words = BAD_SETTINGS[case]
    (mine / "apd.toml").write_text(text)
    code, _, err = here("train", "mine:small", "--reference", "ref.npz")
    assert code == 1
    assert_one_sentence(err, words)
    assert not (mine / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "no unfinished run under ./runs"),
        (["--resume", "--out", "w.safetensors"], "no unfinished run in w.safetensors"),
        (["--reference", "ref.npz"], "need a target"),
        (["--config", "other.toml"], "other.toml"),
        (["mine:small", "--reference", "ref.npz", "--device", "abacus"], "'abacus'"),
        (["mine:small", "--reference", "ref.npz", "--device", "meta"], "'meta'"),
        (["mine:small", "--reference", "ref.npz", "--out", "."], "something other than a run"),
        (["mine:small", "--reference", "ref.npz", "--weights", "ref.npz"], "ref.npz"),
        (["mine:small", "--reference", "ref.npz", "--out", "ref.npz/run", "--steps", "2"], "run"),
        (["mine:small", "--reference", "ref.npz", "--key", "z"], "'z'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_one_sentence(arguments, words, mine, here):
    before = names(mine)
    code, _, err = here("train", *arguments)
    assert code == 1
    assert_one_sentence(err.splitlines(keepends=True)[-1], words)
    assert [name for name in names(mine) if name != "__pycache__"] == before


def test_settings_without_a_target_ask_for_one(tmp_path, here):
    (tmp_path / "apd.toml").write_text("[decomposition]\nsteps = 3\n")
    code, _, err = here("train")
    assert code == 1
    assert_one_sentence(err, "apd.toml names no target")


def test_a_reference_that_repeats_inputs_is_warned_of(small_run, tmp_path, capsys):
    run, reference = small_run
    twice = np.repeat(9 * reference.numpy(), 2, axis=0)
    training.fitted(run, targets.Material(run.target, twice, None), tmp_path / "run")
    profiled, calibrated = (
        [row.tobytes() for row in getattr(mad.load(tmp_path / "run"), part)]
        for part in ("profiled", "calibrated")
    )
    count = sum(row in profiled for row in calibrated)
    said = f"apd: warning: {count} of {len(calibrated)} calibrated inputs are profiled too"
    assert said in capsys.readouterr().err


def test_paths_in_settings_are_relative_to_the_file(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "apd.toml").write_text('[train]\ntarget = "toy"\nreference = "r.npz"\nkey = "k"\n')
    assert settings.read(tmp_path / "apd.toml").train == {
        "target": str(tmp_path / "toy"),
        "reference": str(tmp_path / "r.npz"),
        "key": "k",
    }


def test_a_seed_that_no_generator_takes_is_refused(tmp_path, here):
    code, _, err = here("toy", "tms-5-2", "--out", "toy", "--seed", str(2**63))
    assert code == 2
    assert "--seed" in err
    assert not (tmp_path / "toy").exists()


def test_a_toy_can_be_written_again(tmp_path, here, monkeypatch):
    done = apd("toy", "tms-5-2", "--out", "tms", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "apd train tms" in done.stdout
    made = toys.load(tmp_path / "tms")
    monkeypatch.setattr("toys.make", lambda name, seed: made)
    assert here("toy", "tms-5-2", "--out", "tms")[0] == 0
    assert names(tmp_path) == ["tms"]


def test_only_the_sites_named_are_decomposed(digits, tmp_path, here):
    sites = ("--sites", "*", "--sites", "!2.*")
    command = ("train", digits, "--steps", "2", "--components", "4", "--out", "run", *sites)
    assert here(*command)[0] == 0
    assert mad.load(tmp_path / "run").decomposition.sites == ("0.weight", "4.weight")


def test_a_planted_toy_is_that_of_its_seed(tmp_path, here):
    assert here("toy", "gated", "--seed", "6", "--planted", "--out", "toy")[0] == 0
    made, expected = toys.load(tmp_path / "toy"), toys.make("gated", 6, planted=True)
    assert (made.seed, made.planted) == (6, expected.planted)
    assert expected.planted is not None
    assert np.array_equal(made.inputs.is_anomaly, expected.inputs.is_anomaly)
    assert made.inputs.is_anomaly.any()
