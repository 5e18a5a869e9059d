"""`apd export`: one file that scores as the run does, wherever there is onnxruntime."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from test_cli_main import assert_one_sentence, call
from test_imports import ROOT, imports
from torch import nn

import apd
import mad
from cli import agreement
from cli import export as command
from mad.scores import SCORES

EXAMPLE = ROOT / "examples/onnx_scorer.py"
OUTPUTS = {"bits", "p_value", "prediction", "component_bits", *SCORES}


def perceptron() -> nn.Module:
    layers = (nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 7))
    return nn.Sequential(*layers, nn.Sigmoid(), nn.Linear(7, 4))


def images() -> nn.Module:
    first = (nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    second = (nn.Conv2d(6, 8, 2, stride=2, groups=2), nn.ReLU(), nn.AvgPool2d(2, 1))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(8, 5))


# name -> (network, shape of one input, calibration)
NETWORKS = {
    "perceptron": (perceptron, (6,), "per-class"),
    "images": (images, (2, 8, 7), "pooled"),
}


def draw(n: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


@pytest.fixture(scope="module", params=NETWORKS)
def saved(request, tmp_path_factory) -> tuple[Path, mad.Detector]:
    """A run directory and the detector in it, of a network that was never trained."""
    make, shape, calibration = NETWORKS[request.param]
    torch.manual_seed(0)
    module, directory = make().eval(), tmp_path_factory.mktemp(request.param) / "run"
    for tensor in module.buffers():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2)
    reference = draw(300, shape, 1)
    config = apd.Config(steps=20, components=9, rank=2, batch_size=64)
    run = apd.decompose(module, reference, config, directory=directory)
    detector = mad.Detector.fit(run, reference, calibration=calibration)
    detector.save(directory)
    return directory, detector


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, tmp_path, *arguments)


def decided(detector: mad.Detector, x: np.ndarray) -> np.ndarray:
    """The rows on which no component is within rounding of the strength from which it is active."""
    strength = detector.evidence(x).strengths
    return (np.abs(strength / float(detector.profile.threshold) - 1) > 1e-5).all(1)


def test_the_file_scores_as_the_run_does_at_any_batch_size(saved, here, tmp_path):
    directory, detector = saved
    code, out, err = here("export", directory, "--out", "scorer.onnx", "--alpha", "0.05")
    assert (code, err) == (0, "")
    assert "trusted inputs" in out
    session = onnxruntime.InferenceSession(tmp_path / "scorer.onnx")
    names = [output.name for output in session.get_outputs()]
    assert set(names) == OUTPUTS
    x = 1.5 * draw(1000, detector.decomposition.input_shape, 2)
    expected, sure = detector.score(x), decided(detector, x)
    assert sure.mean() > 0.99
    assert expected.bits.std() > 1
    for n in (1, 7, 1000):
        got = dict(zip(names, session.run(names, {"x": x[:n]}), strict=True))
        rows = np.flatnonzero(sure[:n])
        for name, bits in {"bits": expected.bits, **expected.terms}.items():
            most = 1e-3 if name in ("bits", "output_bits", "residual_bits") else 1e-4
            np.testing.assert_allclose(got[name][rows], bits[rows], rtol=most, atol=most)
        named = np.take_along_axis(got["component_bits"], expected.components[:n], 1)[rows]
        np.testing.assert_allclose(named, expected.component_bits[rows], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(got["prediction"][rows], expected.prediction[rows])
        prediction = got["prediction"].astype(np.int64)
        p = detector.calibration.p_values(got["bits"], prediction)
        np.testing.assert_array_equal(got["p_value"], p)


@pytest.mark.parametrize("name", ["bits", "p_value", "prediction", "component_bits", "mask_bits"])
def test_a_file_that_scores_otherwise_is_not_written(saved, here, tmp_path, monkeypatch, name):
    """One number of one output is off by a tenth, of it or of one bit."""
    directory, detector = saved
    rows = np.flatnonzero(decided(detector, detector.calibrated[: agreement.ROWS]))
    evaluated = agreement.evaluated

    def otherwise(content, given):
        got = evaluated(content, given)
        row = got[name][rows[-1]]
        changed = (
            (row + 0.1 * np.maximum(np.abs(row), 1)) if name != "prediction" else (row + 1) % 2
        )
        got[name][rows[-1]] = changed
        return got

    monkeypatch.setattr("cli.agreement.evaluated", otherwise)
    code, _, err = here("export", directory, "--out", "scorer.onnx", "--alpha", "0.05")
    assert code == 1
    assert "nothing was written" in " ".join(err.split())
    assert_one_sentence(err)
    assert not (tmp_path / "scorer.onnx").exists()


def test_a_scorer_is_replaced_and_nothing_else(saved, here, tmp_path):
    directory, _ = saved
    path = tmp_path / "network.onnx"
    for other in (onnx.ModelProto(ir_version=8).SerializeToString(), b"no model at all"):
        path.write_bytes(other)
        code, _, err = here("export", directory, "--out", path)
        assert code == 1
        assert_one_sentence(err, "network.onnx", "is no scorer")
        assert path.read_bytes() == other
    path.unlink()
    for _ in range(2):
        code, _, err = here("export", directory, "--out", path)
        assert code == 0
        assert_one_sentence(err, "nothing can be flagged at alpha 0.01")


def test_rows_that_are_not_finite_are_marked(saved, here, tmp_path):
    directory, detector = saved
    assert here("export", directory)[0] == 0
    x = draw(5, detector.decomposition.input_shape, 3)
    x[1].flat[2], x[3].flat[0] = np.nan, -np.inf
    session = onnxruntime.InferenceSession(tmp_path / "scorer.onnx")
    bits, p, prediction = session.run(["bits", "p_value", "prediction"], {"x": x})
    expected = detector.score(x)
    np.testing.assert_allclose(bits, expected.bits, rtol=1e-4)
    assert np.isnan(p).tolist() == np.isnan(bits).tolist() == [False, True, False, True, False]
    np.testing.assert_array_equal(prediction, expected.prediction)


def test_the_file_says_how_to_use_it(saved, here, tmp_path):
    directory, detector = saved
    assert here("export", directory, "--alpha", "0.05")[0] == 0
    says = {e.key: e.value for e in onnx.load(tmp_path / "scorer.onnx").metadata_props}
    run = detector.decomposition
    assert says["package_version"] == version("apd")
    assert says["target_fingerprint"] == run.target.fingerprint
    assert says["decomposition_fingerprint"] == run.fingerprint
    assert says["reference_fingerprint"] == run.reference_fingerprint
    assert json.loads(says["alpha"]) == 0.05
    assert json.loads(says["finest_alpha"]) == detector.finest_alpha
    shape = ["n", *run.input_shape]
    assert json.loads(says["input"]) == {"name": "x", "type": "float32", "shape": shape}
    assert set(json.loads(says["outputs"])) == OUTPUTS
    assert "p_value is at most alpha" in says["usage"]
    np.testing.assert_array_equal(json.loads(says["calibration_bits"]), detector.calibration.bits)


def test_it_takes_numpy_and_onnxruntime_alone(saved, here, tmp_path):
    assert imports(EXAMPLE) == {"__future__", "argparse", "json", "pathlib", "numpy", "onnxruntime"}
    directory, detector = saved
    assert here("export", directory)[0] == 0
    x = 3 * draw(40, detector.decomposition.input_shape, 4)
    np.savez(tmp_path / "new.npz", x=x)
    done = subprocess.run(
        [sys.executable, EXAMPLE, "scorer.onnx", "new.npz", "--alpha", "0.05"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    result = detector.score(x)
    worst = int(result.bits.argmax())
    assert f"{int((result.p_value <= 0.05).sum())} of 40 inputs are flagged" in done.stdout
    row, bits, _, _, component, *_ = done.stdout.splitlines()[4].split()
    assert (int(row), int(component)) == (worst, result.components[worst, 0])
    assert float(bits) == pytest.approx(result.bits[worst], abs=0.06)


@pytest.mark.parametrize("saved", ["perceptron"], indirect=True)
def test_the_example_says_what_it_cannot_score(saved, here, tmp_path):
    directory, detector = saved
    assert here("export", directory)[0] == 0
    x = draw(20, detector.decomposition.input_shape, 4)
    x[[3, 8], 1] = np.nan, np.inf
    np.savez(tmp_path / "lost.npz", x=x)
    np.savez(tmp_path / "wide.npz", x=np.pad(x, ((0, 0), (0, 1))))
    np.savez(tmp_path / "one.npz", x=np.float32(3))
    lost, *refused = (
        subprocess.run(
            [sys.executable, EXAMPLE, "scorer.onnx", name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        for name in ("lost.npz", "wide.npz", "one.npz")
    )
    assert lost.returncode == 0
    assert "2 could not be scored" in lost.stdout
    for done, said in zip(refused, ("wide.npz has inputs of shape (7,)", "one.npz"), strict=True):
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert done.stderr.endswith("(6,) is needed.\n")
        assert done.stderr.count("\n") == 1


BAD_ARGUMENTS = {
    "nothing there": (["nowhere"], 1, "nowhere"),
    "no runs": ([], 1, "no finished run"),
    "suffix": (["nowhere", "--out", "scorer.json"], 2, ".onnx"),
    "directory": (["nowhere", "--out", "there/scorer.onnx"], 1, "no directory there"),
    "alpha": (["nowhere", "--alpha", "2"], 2, "between 0 and 1"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_what_cannot_be_done_is_said(case, here, tmp_path):
    arguments, expected, words = BAD_ARGUMENTS[case]
    code, _, err = here("export", *arguments)
    assert code == expected
    assert words in " ".join(err.split())
    if expected == 1:
        assert_one_sentence(err)
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_nothing_is_checked_and_so_nothing_written(here, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    code, _, err = here("export")
    assert code == 1
    assert_one_sentence(err, "pip install onnxruntime")


def tampered(model: onnx.ModelProto) -> None:
    """Other numbers for the largest of its constants."""
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    array = 2 * onnx.numpy_helper.to_array(largest) + np.float32(0.1)
    largest.CopyFrom(onnx.numpy_helper.from_array(array, largest.name))


def broken(model: onnx.ModelProto) -> None:
    """A call of nothing."""
    model.graph.node[0].input[0] = "nothing"


@pytest.mark.parametrize("saved", ["perceptron"], indirect=True)
@pytest.mark.parametrize(
    ("harm", "words"), [(tampered, "off by"), (broken, "onnxruntime cannot run it")]
)
def test_a_file_that_is_wrong_is_not_kept(saved, harm, words, here, monkeypatch, tmp_path):
    original = command.model_of

    def harmed(detector, alpha):
        model = original(detector, alpha)
        harm(model)
        return model

    monkeypatch.setattr(command, "model_of", harmed)
    code, _, err = here("export", saved[0])
    assert code == 1
    assert_one_sentence(err, "nothing was written", words)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_other_operators_is_refused_by_name(here, tmp_path):
    reference = draw(200, (5,), 6)
    module = nn.Sequential(nn.Linear(5, 4), nn.Softplus(), nn.Linear(4, 3))
    config = apd.Config(steps=3, components=4)
    run = apd.decompose(module, reference, config, directory=tmp_path / "run")
    mad.Detector.fit(run, reference).save(tmp_path / "run")
    code, _, err = here("export", "run")
    assert code == 1
    assert_one_sentence(err, "aten.softplus.default", "aten.relu.default")
    assert not (tmp_path / "scorer.onnx").exists()
