"""`apd accept`: what it changes in a run, what it says, and what it refuses."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_cli_main import apd, assert_one_sentence, call, environment

import mad

ALIKE = slice(567, None)
# a detector is read long before it is written
SLOW = (
    "import sys, time, mad, cli.main; load = mad.load; "
    "mad.load = lambda run: (load(run), time.sleep(3))[0]; sys.argv[0] = 'apd'; cli.main.main()"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A directory in which `apd train` was run on the embedded example, briefly."""
    directory = tmp_path_factory.mktemp("accepting")
    done = apd("train", "--steps", "150", "--components", "20", cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def x(trained) -> np.ndarray:
    with np.load(trained / "inputs.npz") as file:
        return file["x"]


@pytest.fixture
def run(tmp_path, trained) -> Path:
    """A copy of the run, where inputs are."""
    (made,) = (trained / "runs").iterdir()
    return Path(shutil.copytree(made, tmp_path / "runs" / "mine"))


@pytest.fixture
def here(tmp_path, run, monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, tmp_path, *arguments)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_reviewed_inputs_are_usual_from_then_on(run, x, tmp_path):
    """In processes of their own: accept half of a kind, score the other half."""
    alike = x[ALIKE]
    np.savez(tmp_path / "reviewed.npz", x=alike[::2])
    np.savez(tmp_path / "others.npz", x=alike[1::2])
    before, files = mad.load(run), contents(run)
    done = apd("accept", "reviewed.npz", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    after = mad.load(run)
    expected = before.accept(alike[::2])
    assert np.array_equal(after.score(alike).bits, expected.score(alike).bits)
    assert np.array_equal(after.score(alike).p_value, expected.score(alike).p_value)
    old, new = (np.median(detector.score(alike[1::2]).bits) for detector in (before, after))
    assert new < 0.8 * old
    was, now = (np.median(detector.score(alike[::2]).bits) for detector in (before, after))
    assert f"{was:.1f} before, {now:.1f} now (median)" in done.stdout
    assert after.accepted == len(alike[::2]) == 135
    changed = [name for name, content in contents(run).items() if content != files[name]]
    assert (changed, len(contents(run))) == (["detector.safetensors"], len(files))
    assert "135 inputs, 135 in all" in done.stdout
    assert f"profile      {len(after.profiled)} inputs" in done.stdout
    assert f"calibration  {len(after.calibrated)} inputs" in done.stdout
    flagged = []
    for directory in (None, run):
        arguments = ["--run", directory] if directory else []
        assert apd("score", "others.npz", *arguments, cwd=tmp_path).returncode == 0
        flagged.append((tmp_path / "scores.csv").read_text().count("true"))
    assert flagged[0] == flagged[1] == int(after.score(alike[1::2]).flagged(0.01).sum())


def test_accepting_again_adds_up(here, run, x, tmp_path):
    np.savez(tmp_path / "some.npz", a=x[300:310], b=x[310:330])
    assert here("accept", "some.npz", "--key", "a")[0] == 0
    code, out, _ = here("accept", "some.npz", "--key", "b", "--run", run)
    assert code == 0
    assert "20 inputs, 30 in all" in out
    assert mad.load(run).accepted == 30


def test_of_two_at_once_neither_is_lost(run, x, tmp_path):
    np.savez(tmp_path / "some.npz", a=x[300:310], b=x[310:330])
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW, "accept", "some.npz", "--key", key],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for key in "ab"
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("30 in all" in out for out, _ in said) == 1
    after = mad.load(run)
    held = {row.tobytes() for row in np.concatenate([after.profiled, after.calibrated])}
    assert after.accepted == 30
    assert held >= {row.tobytes() for row in x[300:330]}


def test_the_help_has_an_example_and_a_warning(here):
    code, out, _ = here("accept", "--help")
    assert code == 0
    assert "Example: apd accept" in out
    assert "by mistake" in out
    assert "accept" in here("--help")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nan.npz"], ["row 3"]),
        (["wide.npz"], ["65 features"]),
        (["flags.npz"], ["bool"]),
        (["missing.npz"], ["missing.npz"]),
        (["some.npz", "--key", "z"], ["'z'"]),
        (["some.npz", "--run", "nowhere"], ["nowhere"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_cannot_be_accepted_leaves_the_run_as_it_was(arguments, words, here, run, x, tmp_path):
    broken = x[:9].copy()
    broken[3, 5] = np.nan
    np.savez(tmp_path / "nan.npz", x=broken)
    np.savez(tmp_path / "wide.npz", x=np.pad(x[:9], ((0, 0), (0, 1))))
    np.savez(tmp_path / "flags.npz", x=x[:9] > 0)
    np.savez(tmp_path / "some.npz", x=x[:9])
    before = contents(run)
    code, _, err = here("accept", *arguments)
    assert code == 1
    assert_one_sentence(err, *words)
    assert contents(run) == before


def test_misuse_exits_2(here):
    for arguments in (["accept"], ["accept", "some.npz", "--nope"]):
        code, _, err = here(*arguments)
        assert code == 2
        assert "Error: " in err


def test_without_a_run_there_is_a_sentence(tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "some.npz", x=np.zeros((3, 64)))
    code, _, err = call(monkeypatch, capsys, tmp_path, "accept", "some.npz")
    assert code == 1
    assert_one_sentence(err, "no finished run under ./runs")


def test_a_full_disk_leaves_the_run_as_it_was(run, x, tmp_path):
    np.savez(tmp_path / "some.npz", x=x[:40])
    before = contents(run)
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "accept", "some.npz"],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert_one_sentence(done.stderr, "detector.safetensors", "cannot be written")
    assert contents(run) == before
