"""A saved detector: the same scores when read back, or refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import make_problem, numbers
from safetensors import safe_open
from safetensors import torch as torch_file
from safetensors.numpy import save_file

import apd
import mad
from mad.store import FILE, digest

CONFIG = apd.Config(components=8, steps=20, batch_size=32, seed=3)


@pytest.fixture(scope="module")
def fitted(small_run):
    run, x = small_run
    return mad.Detector.fit(run, x.numpy())


@pytest.fixture(scope="module")
def another(small_run):
    """A detector of another decomposition of the same network."""
    config = CONFIG.model_copy(update={"seed": 4})
    run = apd.decompose(make_problem("mlp-1").target, small_run[1], config)
    return mad.Detector.fit(run, small_run[1].numpy())


@pytest.fixture
def saved(fitted, tmp_path) -> Path:
    fitted.save(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def x():
    return numbers(141)(200, 5).numpy()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def contents(path: Path) -> tuple[dict, dict]:
    with safe_open(path, "np") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


def forged(path: Path, arrays: dict, metadata: dict) -> None:
    """A file whose hash is that of its contents, whatever they are."""
    said = {key: text for key, text in metadata.items() if key != "digest"}
    save_file(arrays, path, {**said, "digest": digest(arrays, said)})


def refusal(directory: Path) -> str:
    with pytest.raises(mad.StoreError) as caught:
        mad.load(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("explain", ["predicted", "all", 2])
def test_a_detector_read_back_scores_the_same(fitted, tmp_path, x, explain):
    detector = fitted.explaining(explain)
    detector.save(tmp_path / "run")
    read = mad.load(tmp_path / "run")
    assert read.explains == explain
    assert type(read.explains) is type(explain)
    assert np.array_equal(read.calibration.bits, detector.calibration.bits)
    assert np.array_equal(read.profiled, detector.profiled)
    assert np.array_equal(read.calibrated, detector.calibrated)
    before, after = detector.score(x), read.score(x)
    assert np.array_equal(before.bits, after.bits)
    assert np.array_equal(before.p_value, after.p_value)
    assert np.array_equal(before.components, after.components)
    assert np.array_equal(before.component_bits, after.component_bits)
    for name, bits in before.terms.items():
        assert np.array_equal(bits, after.terms[name])


@pytest.mark.parametrize("calibration", ["pooled", "per-class"])
def test_the_calibration_and_what_was_accepted_are_read_back(
    small_run, fitted, tmp_path, x, calibration
):
    run, reference = small_run
    detector = mad.Detector.fit(run, reference, calibration=calibration).accept(2 * x[:40])
    detector.save(tmp_path / "run")
    read = mad.load(tmp_path / "run")
    assert type(read.calibration) is type(detector.calibration)
    assert np.array_equal(read.calibration.prediction, detector.calibration.prediction)
    assert read.accepted == 40
    assert isinstance(read.accepted, int)
    before, after = detector.score(x), read.score(x)
    assert np.array_equal(before.p_value, after.p_value)
    assert before.drift() == after.drift()
    assert not np.array_equal(before.bits, fitted.score(x).bits)
    assert read.explain(x, 3).explanation == detector.explain(x, 3).explanation


def test_the_digits_detector_read_back_scores_the_same(detector, digits, tmp_path):
    detector.save(tmp_path / "run")
    inputs = digits.toy.inputs.x
    before, after = detector.score(inputs), mad.load(tmp_path / "run").score(inputs)
    assert np.array_equal(before.bits, after.bits)
    assert np.array_equal(before.component_bits, after.component_bits)


def test_a_detector_read_back_can_explain_another_output(fitted, saved, x):
    assert np.array_equal(
        mad.load(saved).explaining(2).score(x).bits, fitted.explaining(2).score(x).bits
    )


def test_a_detector_is_one_safetensors_file_beside_its_run(saved):
    assert names(saved) == [
        "components.safetensors",
        "detector.safetensors",
        "run.json",
        "target.safetensors",
        "training.safetensors",
    ]


def test_a_detector_joins_the_run_that_is_there(small_run, fitted, tmp_path, x):
    small_run[0].save(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    fitted.save(tmp_path)
    assert set(names(tmp_path)) - set(before) == {FILE}
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content
    assert np.array_equal(mad.load(tmp_path).score(x).bits, fitted.score(x).bits)


def test_saving_again_replaces_the_detector(fitted, saved, x):
    fitted.explaining(1).save(saved)
    assert mad.load(saved).explains == 1
    assert FILE in names(saved)
    assert len(names(saved)) == 5


# --- what is refused ------------------------------------------------------------------------


def test_what_nothing_could_read_again_is_not_written(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(type(fitted.decomposition), "__module__", "somebodys.run")
    with pytest.raises(
        mad.StoreError, match=r"nothing was saved.* a Run again.* 'mad\.decompositions'"
    ):
        fitted.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 0.999])
def test_a_truncated_detector_is_refused(saved, share):
    path = saved / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert refusal(saved).startswith(f"{path} cannot be read: ")


def test_a_detector_of_numbers_that_numpy_has_not_is_refused(saved):
    path = saved / FILE
    torch_file.save_file({"profiled": torch.zeros(3, dtype=torch.bfloat16)}, path)
    assert refusal(saved).startswith(f"{path} ")


def test_a_missing_detector_is_refused(saved, tmp_path):
    (saved / FILE).unlink()
    for directory in (saved, tmp_path / "nowhere"):
        assert refusal(directory) == f"{directory} holds no detector"


def test_a_detector_of_another_decomposition_is_refused(saved, another, tmp_path):
    another.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / FILE, saved / FILE)
    assert "belongs to another decomposition" in refusal(saved)


def test_a_directory_of_another_decomposition_is_refused_and_kept(saved, another):
    before = {name: (saved / name).read_bytes() for name in names(saved)}
    with pytest.raises(mad.StoreError, match="holds another decomposition"):
        another.save(saved)
    assert {name: (saved / name).read_bytes() for name in names(saved)} == before


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", "apd run", "is not a saved detector"),
        ("format_version", "2", "has format version 2"),
        ("calibration", "of old", "of old"),
        ("decomposition", "nothing_installed", "needs the package 'nothing_installed'"),
        ("fingerprint", "0" * 64, "belongs to another decomposition"),
    ],
)
def test_other_metadata_is_refused(saved, key, value, said):
    arrays, metadata = contents(saved / FILE)
    forged(saved / FILE, arrays, {**metadata, key: value})
    assert said in refusal(saved)
    forged(saved / FILE, arrays, {k: v for k, v in metadata.items() if k != key})
    refusal(saved)


def test_an_altered_detector_is_refused(saved):
    """One bit of what decides the flags, or of what is said about it."""
    arrays, metadata = contents(saved / FILE)
    for name in arrays:
        changed = {**arrays, name: arrays[name].copy()}
        changed[name].reshape(-1).view(np.uint8)[0] ^= 1
        save_file(changed, saved / FILE, metadata)
        assert "was altered" in refusal(saved)
    save_file(arrays, saved / FILE, {**metadata, "explains": "3"})
    assert "was altered" in refusal(saved)


def test_a_detector_that_lacks_an_array_is_refused_by_name(saved):
    arrays, metadata = contents(saved / FILE)
    assert len(arrays) > 10
    for name in arrays:
        rest = {other: array for other, array in arrays.items() if other != name}
        forged(saved / FILE, rest, metadata)
        assert name in refusal(saved)


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_way_is_kept(fitted, tmp_path, below):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(mad.StoreError, match="taken"):
        fitted.save(tmp_path / "taken" / below)
    assert names(tmp_path) == ["taken"]
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_directory_of_something_else_is_refused_and_kept(fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(mad.StoreError):
        fitted.save(tmp_path)
    assert names(tmp_path) == ["notes.txt"]


def test_a_damaged_run_is_refused_with_its_detector(saved):
    (saved / "run.json").write_text("{")
    with pytest.raises((mad.StoreError, apd.RunError), match=r"run\.json"):
        mad.load(saved)


def test_bits_do_not_depend_on_the_number_of_threads(fitted, x):
    before = fitted.score(x).bits
    torch.set_num_threads(2)
    try:
        assert np.array_equal(fitted.score(x).bits, before)
    finally:
        torch.set_num_threads(1)
