"""`apd train model.onnx`: imported, tried out, and then trained as any network is."""

import json

import numpy as np
import pytest
from test_apd_from_onnx_operators import by_onnxruntime, draw, file_of
from test_cli_main import assert_one_sentence, call

import apd

PERCEPTRON = "h = Gemm <transB = 1> (x, first, b) r = Relu (h) y = MatMul (r, last)"


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, tmp_path, *arguments)


@pytest.fixture
def mine(tmp_path):
    """A file with a perceptron, and a reference."""
    constants = {"first": draw(7, 4), "b": draw(7), "last": draw(7, 3)}
    file_of(tmp_path / "model.onnx", "4", PERCEPTRON, constants)
    np.savez(tmp_path / "ref.npz", x=draw(300, 4).astype(np.float64))
    return tmp_path


def test_a_file_is_imported_verified_decomposed_and_scored(mine, here):
    code, out, err = here(
        "train", "model.onnx", "--reference", "ref.npz", "--out", "run", "--steps", "20"
    )
    assert code == 0
    assert_one_sentence(err, "nothing can be flagged at alpha 0.01")
    assert (
        "on 64 of these inputs it computes what onnxruntime computes" in out.partition("Wrote")[0]
    )
    assert json.loads((mine / "run/run.json").read_text())["sites"] == ["first", "last"]
    x = draw(5, 4)
    run = apd.load(mine / "run")
    np.testing.assert_allclose(
        run.target(run.target.prepare(x)), by_onnxruntime(mine / "model.onnx", x), rtol=1e-5
    )
    assert here("score", "ref.npz", "--run", "run")[0] == 0


def test_nothing_is_trained_that_computes_something_else(mine, here, monkeypatch):
    monkeypatch.setattr("apd.from_onnx.verification.TOLERANCE", -1.0)
    code, _, err = here("train", "model.onnx", "--reference", "ref.npz", "--out", "run")
    assert code == 1
    assert_one_sentence(err, "model.onnx gives other outputs here than in onnxruntime")
    assert not (mine / "run").exists()


BAD_ARGUMENTS = {
    "no reference": ([], "--reference"),
    "weights": (["--reference", "ref.npz", "--weights", "w.safetensors"], "leave out --weights"),
    "width": (["--reference", "wide.npz"], "inputs of shape (5,)"),
    "integers": (["--reference", "whole.npz"], "astype('float32')"),
    "no such file": (["--reference", "none.npz"], "none.npz"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_what_does_not_fit_the_file_is_refused(case, mine, here):
    np.savez(mine / "wide.npz", x=draw(300, 5))
    np.savez(mine / "whole.npz", x=np.zeros((300, 4), int))
    arguments, words = BAD_ARGUMENTS[case]
    code, _, err = here("train", "model.onnx", *arguments, "--out", "run")
    assert code == 1
    assert_one_sentence(err, words)
    assert not (mine / "run").exists()
