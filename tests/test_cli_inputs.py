"""Reading inputs: what is chosen, and one sentence for everything that cannot be used."""

import pickle
import zipfile

import numpy as np
import pytest
from test_cli_main import assert_one_sentence, call

from cli import inputs
from cli.errors import InputError

F4 = np.dtype("float32")
X = np.arange(12, dtype=np.float32).reshape(3, 4)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def truncated(path):
    save(path, x=np.random.default_rng(0).random((100, 4)))
    path.write_bytes(path.read_bytes()[:1500])


def flipped(path):
    np.savez_compressed(path, x=np.random.default_rng(0).random((100, 4)))
    content = bytearray(path.read_bytes())
    content[200:220] = bytes(20)
    path.write_bytes(content)


def foreign_member(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", b"hello")


def plain_npy(path):
    with path.open("wb") as stream:
        np.save(stream, X)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


# what is there -> words of the sentence
BAD = {
    "missing": (lambda path: None, "no file"),
    "directory": (lambda path: path.mkdir(), "directory"),
    "empty file": (lambda path: path.touch(), "not an .npz file"),
    "text": (lambda path: path.write_text("1,2,3\n"), "not an .npz file"),
    "npy": (plain_npy, "not an .npz file"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "not an .npz file"),
    "not a zip": (lambda path: path.write_bytes(b"PK\x03\x04 no zip"), "damaged"),
    "truncated": (truncated, "truncated"),
    "bits flipped": (flipped, "damaged"),
    "objects": (lambda path: save(path, x=np.array([Bomb()])), "never unpickled"),
    "no arrays": (lambda path: save(path), "no arrays"),
    "several keys": (lambda path: save(path, first=X, second=X), "first, second"),
    "not an array": (foreign_member, "other than an array"),
    "empty array": (lambda path: save(path, x=X[:0]), "empty"),
    "no features": (lambda path: save(path, x=X[:, :0]), "empty"),
    "a number": (lambda path: save(path, x=np.float32(1)), "single number"),
    "text array": (lambda path: save(path, x=np.array(["a", "b"])), "text"),
    "complex": (lambda path: save(path, x=X.astype(np.complex64)), "complex"),
    "records": (lambda path: save(path, x=np.zeros(3, dtype=[("a", "f4")])), "records"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_sentence(case, tmp_path, monkeypatch, capsys):
    write, words = BAD[case]
    write(tmp_path / "inputs.npz")
    before = sorted(tmp_path.iterdir())
    code, out, err = call(monkeypatch, capsys, tmp_path, "score", "inputs.npz")
    assert code == 1
    assert_one_sentence(err, "inputs.npz", words)
    assert out == ""
    assert sorted(tmp_path.iterdir()) == before


def test_a_key_that_is_not_there_is_refused_and_the_others_are_named(tmp_path):
    path = save(tmp_path / "inputs.npz", first=X, second=X)
    with pytest.raises(InputError, match=r"'third'.* first, second"):
        inputs.read(path, "third")


@pytest.mark.parametrize(
    ("arrays", "key", "chosen"),
    [
        (["x"], None, "x"),
        (["only"], None, "only"),
        (["y", "x", "is_anomaly"], None, "x"),
        (["x", "other"], "other", "other"),
    ],
)
def test_the_array_is_the_key_else_x_else_the_only_one(arrays, key, chosen, tmp_path):
    numbered = {name: X + i for i, name in enumerate(arrays)}
    path = save(tmp_path / "inputs.npz", **numbered)
    assert np.array_equal(inputs.read(path, key), numbered[chosen])


def test_fitting_inputs_are_not_copied(tmp_path):
    assert inputs.fit(X, tmp_path, (4,), F4) is X
    assert inputs.fit(X.astype(np.float64), tmp_path, (4,), F4).dtype == F4


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integers_do_not_fit_a_float_target(dtype, tmp_path):
    with pytest.raises(InputError, match=rf"{dtype} .*float32.*astype\('float32'\)"):
        inputs.fit(X.astype(dtype), tmp_path, (4,), F4)


def test_floats_do_not_fit_an_integer_target(tmp_path):
    with pytest.raises(InputError, match=r"float32 .*int64"):
        inputs.fit(X, tmp_path, (4,), np.dtype("int64"))


@pytest.mark.parametrize(
    ("shape", "words"), [((5,), "5 features"), ((), "a single number"), ((2, 2), "shape 2 x 2")]
)
def test_another_shape_does_not_fit(shape, words, tmp_path):
    with pytest.raises(InputError, match=f"4 features.*takes {words}"):
        inputs.fit(X, tmp_path, shape, F4)


def test_many_rows_are_named_briefly():
    assert inputs.few(np.arange(3)) == "0, 1, 2"
    assert inputs.few(np.arange(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
