"""Reading inputs: what is chosen, and one sentence for everything that cannot be used."""

import io
import os
import pickle
import tempfile
import zipfile

import numpy as np
import pytest
from test_cli_main import assert_one_sentence, call

import mad
from cli import closing, fitting, inputs
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


def header_of(shape: str):
    """A file whose array says to have a shape that it has not."""

    def write(path):
        said = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"
        header = said.ljust(117).encode() + b"\n"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy", b"\x93NUMPY\x01\x00\x76\x00" + header + bytes(8))

    return write


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def altered(flag: int, method: int):
    """A file whose members say to be encrypted, or packed by another method."""

    def write(path):
        save(path, x=X)
        held = bytearray(path.read_bytes())
        for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            found = held.index(start) + at
            held[found] |= flag
            held[found + 2] = method
        path.write_bytes(held)

    return write


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
    "encrypted": (altered(1, 0), "is encrypted"),
    "packed in another way": (altered(0, 98), "is not read"),
    "objects": (lambda path: save(path, x=np.array([Bomb()])), "never unpickled"),
    "no arrays": (lambda path: save(path), "no arrays"),
    "several keys": (lambda path: save(path, first=X, second=X), "first, second"),
    "negative size": (header_of("(-1, -1)"), "damaged"),
    "more than is there": (header_of("(1000000000000, 64)"), "damaged"),
    "sizes that are none": (header_of("(True, 64)"), "damaged"),
    "no header": (header_of("((("), "damaged"),
    "no names": (header_of("(3,), []: 1"), "damaged"),
    "no literal": (header_of("-" * 60 + "1"), "damaged"),
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


# --- a chunk at a time ----------------------------------------------------------------------


def rows_by_columns(path, x):
    np.savez(path, x=np.asfortranarray(x))


def compressed_by_columns(path, x):
    np.savez_compressed(path, x=np.asfortranarray(x))


def big_endian(path, x):
    np.savez(path, x=x.astype(x.dtype.newbyteorder(">")))


WRITTEN = {
    "stored": lambda path, x: np.savez(path, x=x),
    "compressed": lambda path, x: np.savez_compressed(path, x=x),
    "stored by columns": rows_by_columns,
    "compressed by columns": compressed_by_columns,
    "of another byte order": big_endian,
}


@pytest.mark.parametrize("shape", [(23,), (23, 3), (23, 2, 5)])
@pytest.mark.parametrize("how", WRITTEN)
def test_chunks_are_the_rows_however_they_were_written(how, shape, tmp_path, monkeypatch):
    x = np.random.default_rng(0).random(shape)
    WRITTEN[how](tmp_path / "inputs.npz", x)
    row = x[0].nbytes
    monkeypatch.setattr(inputs, "BYTES_AT_ONCE", 7 * row)
    found = inputs.look(tmp_path / "inputs.npz")
    assert found.shape == shape
    chunks = list(found.chunks())
    assert [len(chunk) for chunk in chunks] == [7, 7, 7, 2]
    assert np.array_equal(np.concatenate(chunks), x)
    assert np.array_equal(inputs.read(tmp_path / "inputs.npz"), x)
    monkeypatch.setattr(inputs, "BYTES_AT_ONCE", row - 1)
    assert [len(chunk) for chunk in found.chunks()] == [1] * 23


@pytest.mark.parametrize("how", WRITTEN)
def test_damage_far_into_a_file_is_noticed_when_it_is_reached(how, tmp_path, monkeypatch):
    path = tmp_path / "inputs.npz"
    WRITTEN[how](path, np.random.default_rng(0).random((6000, 4)))
    content = bytearray(path.read_bytes())
    content[150_000:150_020] = bytes(20)
    path.write_bytes(content)
    monkeypatch.setattr(inputs, "BYTES_AT_ONCE", 8192)
    chunks = inputs.look(path).chunks()
    with pytest.raises(InputError, match=r"inputs\.npz is truncated or damaged"):
        list(chunks)


def test_no_more_is_unpacked_than_a_file_says_it_holds(tmp_path, monkeypatch):
    path, written = tmp_path / "inputs.npz", []
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    content = io.BytesIO()
    np.save(content, x)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", content.getvalue() + bytes(2**20))
    whole = tempfile.TemporaryFile

    def watched():
        scratch = whole()
        written.append(scratch)
        return scratch

    monkeypatch.setattr(inputs.tempfile, "TemporaryFile", watched)
    for chunk in inputs.look(path).chunks():
        assert np.array_equal(chunk, x)
        assert os.fstat(written[0].fileno()).st_size == x.nbytes
    assert len(written) == 1


def test_whole_numbers_too_large_for_the_target_are_refused(tmp_path):
    x = np.array([[1, 2**32 + 1]])
    with pytest.raises(
        mad.InputError, match=r"inputs\.npz holds whole numbers that int32 does not"
    ):
        fitted(x, tmp_path / "inputs.npz", (2,), np.dtype(np.int32))
    assert fitted(x, tmp_path / "inputs.npz", (2,), np.dtype(np.int64))[0].tolist() == x.tolist()


def fitted(x, path, shape, dtype) -> list[np.ndarray]:
    return list(fitting.fitted(inputs.look(save(path, x=x)), shape, dtype))


def test_chunks_come_in_the_targets_precision(tmp_path):
    for dtype in (np.float16, np.float32, np.float64):
        (chunk,) = fitted(X.astype(dtype), tmp_path / "inputs.npz", (4,), F4)
        assert chunk.dtype == F4
        assert np.array_equal(chunk, X)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integers_do_not_fit_a_float_target(dtype, tmp_path):
    with pytest.raises(InputError, match=rf"{dtype} .*float32.*astype\('float32'\)"):
        fitting.fitted(inputs.look(save(tmp_path / "x.npz", x=X.astype(dtype))), (4,), F4)


def test_floats_fit_an_integer_target_where_they_are_whole(tmp_path):
    whole = np.dtype("int64")
    (chunk,) = fitted(X, tmp_path / "inputs.npz", (4,), whole)
    assert chunk.dtype == whole
    assert np.array_equal(chunk, X)
    with pytest.raises(mad.InputError, match=r"inputs\.npz holds fractions, where int64 is needed"):
        fitted(X + 0.5, tmp_path / "inputs.npz", (4,), whole)


@pytest.mark.parametrize(
    ("shape", "words"), [((5,), "5 features"), ((), "a single number"), ((2, 2), "shape 2 x 2")]
)
def test_another_shape_does_not_fit(shape, words, tmp_path):
    with pytest.raises(InputError, match=f"4 features.*takes {words}"):
        fitting.fitted(inputs.look(save(tmp_path / "x.npz", x=X)), shape, F4)


def test_many_rows_are_named_briefly():
    assert closing.few([4], 1) == "4"
    assert closing.few([0, 1, 2], 3) == "0, 1, 2"
    assert closing.few([0, 1, 2], 5) == "0, 1, 2 and 2 more"
