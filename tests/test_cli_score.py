"""`apd score` and `apd inspect`: what they write, say and refuse."""

import csv
import importlib.util
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_cli_main import apd, assert_one_sentence, call, environment

import mad
from cli.rows import Rows, write

TERMS = [
    *("mask_bits", "attribution_bits", "input_bits", "output_bits", "residual_bits"),
    "description_length",
]
COMPONENTS = [f"component_{k}{part}" for k in range(1, 6) for part in ("", "_bits")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A directory in which `apd train` was run on the embedded example, briefly."""
    directory = tmp_path_factory.mktemp("first-use")
    done = apd("train", "--steps", "150", "--components", "20", cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def here(tmp_path, trained, monkeypatch, capsys):
    """`apd ...` in a directory that has the trained run and a few inputs."""
    (tmp_path / "runs").symlink_to(trained / "runs")
    with np.load(trained / "inputs.npz") as file:
        np.savez(tmp_path / "inputs.npz", x=file["x"][280:320])
    return lambda *arguments: call(monkeypatch, capsys, tmp_path, *arguments)


def run_of(directory: Path) -> Path:
    (run,) = (directory / "runs").iterdir()
    return run


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def x_of(directory: Path) -> np.ndarray:
    with np.load(directory / "inputs.npz") as file:
        return file["x"]


def test_first_use_in_two_processes(trained):
    done = apd("score", "inputs.npz", cwd=trained)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(trained) == ["inputs.npz", "runs", "scores.csv"]
    assert len(read(trained / "scores.csv")) == len(x_of(trained))
    assert "\x1b" not in done.stdout
    assert "scores.csv" in done.stdout
    shown = apd("inspect", cwd=trained)
    assert (shown.returncode, shown.stderr) == (0, "")
    for word in ("0.weight", "64x64", "faithfulness", "residual", "rate"):
        assert word in shown.stdout


def test_rows_are_the_detectors_numbers(here, tmp_path, trained):
    code, _, err = here("score", "inputs.npz")
    assert (code, err) == (0, "")
    rows = read(tmp_path / "scores.csv")
    result = mad.load(run_of(trained)).score(x_of(tmp_path))
    terms = list(result.terms)
    assert sorted(terms) == sorted(TERMS)
    head = ["index", "score_bits", "p_value", "flagged", "prediction"]
    assert list(rows[0]) == [*head, *terms, "status", *COMPONENTS]
    for name, numbers in {
        "score_bits": result.bits,
        "p_value": result.p_value,
        **result.terms,
        "component_1_bits": result.component_bits[:, 0],
    }.items():
        assert [float(row[name]) for row in rows] == numbers.tolist()
    assert [row["flagged"] for row in rows] == [str(f).lower() for f in result.flagged(0.01)]
    assert [int(row["index"]) for row in rows] == list(range(len(rows)))
    assert [int(row["prediction"]) for row in rows] == result.prediction.tolist()
    assert {row["status"] for row in rows} == {"ok"}


def test_the_summary_as_json_and_not_at_all(here, tmp_path, trained):
    code, out, err = here("score", "inputs.npz", "--json", "--alpha", "0.1")
    assert (code, err) == (0, "")
    said = json.loads(out)
    result = mad.load(run_of(trained)).score(x_of(tmp_path))
    assert (said["scored"], said["not_scored"], said["alpha"]) == (40, 0, 0.1)
    assert said["flagged"] == result.flagged(0.1).sum() > 0
    assert said["drift_p_value"] == result.drift().p_value
    worst = said["most_surprising"][0]
    assert (worst["index"], worst["bits"]) == (int(result.bits.argmax()), result.bits.max())
    rows = (tmp_path / "scores.csv").read_bytes()
    assert here("score", "inputs.npz", "--quiet", "--alpha", "0.1") == (0, "", "")
    assert (tmp_path / "scores.csv").read_bytes() == rows
    code, out, err = here("score", "inputs.npz", "--json", "--out", "-")
    assert (code, out) == (2, "")
    assert "--json" in err


def test_an_input_gets_the_same_bits_whatever_comes_with_it(here, tmp_path):
    here("score", "inputs.npz")
    together = read(tmp_path / "scores.csv")
    np.savez(tmp_path / "inputs.npz", x=x_of(tmp_path)[7:8])
    here("score", "inputs.npz")
    (alone,) = read(tmp_path / "scores.csv")
    assert {**alone, "index": "7"} == together[7]


def test_every_format_says_the_same(here, tmp_path):
    x = x_of(tmp_path)
    x[3] = np.nan
    np.savez(tmp_path / "inputs.npz", x=x)
    for name in ("scores.csv", "scores.jsonl", "scores.npz"):
        assert here("score", "inputs.npz", "--out", name)[0] == 0
    rows = read(tmp_path / "scores.csv")
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    with np.load(tmp_path / "scores.npz") as file:
        arrays = dict(file)
    assert list(rows[0]) == list(lines[0]) == list(arrays)
    for i, (row, line) in enumerate(zip(rows, lines, strict=True)):
        assert float(row["score_bits"] or "nan") == pytest.approx(
            arrays["score_bits"][i], rel=0, abs=0, nan_ok=True
        )
        assert line["score_bits"] == (float(row["score_bits"]) if i != 3 else None)
        assert line["flagged"] is bool(arrays["flagged"][i])
        assert line["status"] == row["status"] == str(arrays["status"][i])
    assert rows[3]["status"] == "non-finite"
    assert rows[3]["flagged"] == "false"
    assert rows[3]["score_bits"] == rows[3]["component_1"] == ""
    assert arrays["prediction"][3] == arrays["component_1"][3] == -1


@pytest.mark.parametrize("how", ["compressed", "by columns", "with other arrays"])
def test_however_the_inputs_are_packed_the_rows_are_the_same(how, here, tmp_path, trained):
    with np.load(trained / "inputs.npz") as file:
        x = file["x"][:700]
    np.savez(tmp_path / "plain.npz", x=x)
    if how == "compressed":
        np.savez_compressed(tmp_path / "packed.npz", x=x)
    elif how == "by columns":
        np.savez_compressed(tmp_path / "packed.npz", x=np.asfortranarray(x))
    else:
        np.savez(tmp_path / "packed.npz", a=x[:3], x=x, y=np.zeros(len(x), dtype=int))
    for name in ("plain", "packed"):
        assert here("score", f"{name}.npz", "--out", f"{name}.csv")[0] == 0
    assert (tmp_path / "packed.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()


@pytest.mark.parametrize("suffix", ["npz", "jsonl", "parquet"])
def test_more_rows_than_a_block_holds_are_all_there(suffix, here, tmp_path, trained):
    if suffix == "parquet":
        pq = pytest.importorskip("pyarrow.parquet")
    with np.load(trained / "inputs.npz") as file:
        np.savez(tmp_path / "inputs.npz", x=file["x"][:700])
    for name in ("scores.csv", f"scores.{suffix}"):
        assert here("score", "inputs.npz", "--out", name)[0] == 0
    rows = read(tmp_path / "scores.csv")
    path = tmp_path / f"scores.{suffix}"
    if suffix == "npz":
        with np.load(path) as file:
            found = {name: file[name].tolist() for name in file.files}
    elif suffix == "jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found = {name: [line[name] for line in lines] for name in lines[0]}
    else:
        found = pq.read_table(path).to_pydict()
    assert list(found) == list(rows[0])
    assert found["index"] == list(range(700))
    for name in ("score_bits", "p_value", "component_1", "component_5_bits"):
        assert found[name] == [float(row[name]) for row in rows]
    assert found["status"] == ["ok"] * 700


def test_damage_found_while_scoring_leaves_what_was_there(here, tmp_path, trained):
    with np.load(trained / "inputs.npz") as file:
        np.savez(tmp_path / "inputs.npz", x=file["x"])
    assert here("score", "inputs.npz")[0] == 0
    old = (tmp_path / "scores.csv").read_bytes()
    content = bytearray((tmp_path / "inputs.npz").read_bytes())
    content[-5000:-4990] = bytes(range(10))
    (tmp_path / "inputs.npz").write_bytes(content)
    code, _, err = here("score", "inputs.npz")
    assert code == 1
    assert_one_sentence(err, "inputs.npz", "damaged")
    assert (tmp_path / "scores.csv").read_bytes() == old
    assert names(tmp_path) == ["inputs.npz", "runs", "scores.csv"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".npz", ".parquet"])
def test_scores_are_replaced_and_nothing_else(suffix, here, tmp_path):
    pytest.importorskip("pyarrow")
    out = tmp_path / f"out{suffix}"
    out.touch()
    assert here("score", "inputs.npz", "--out", out)[0] == 0
    assert here("score", "inputs.npz", "--out", out)[0] == 0
    np.savez(tmp_path / "mine.npz", x=np.arange(3.0))
    others = {".npz": (tmp_path / "mine.npz").read_bytes()}
    for other in (b"patient,age\n1,2\n", others.get(suffix, b"[1, 2]")):
        out.write_bytes(other)
        code, _, err = here("score", "inputs.npz", "--out", out)
        assert code == 1
        assert_one_sentence(err, out.name, "is there already and is no scores file")
        assert out.read_bytes() == other


def test_what_is_said_of_many_inputs_is_what_their_rows_say(here, tmp_path, trained):
    """More inputs than one block holds, the odd ones in all of them."""
    with np.load(trained / "inputs.npz") as file:
        x = np.concatenate([file["x"], file["x"]])
    x[[1, 700, 1300], 0] = np.nan
    np.savez(tmp_path / "inputs.npz", x=x)
    _, out, err = here("score", "inputs.npz")
    assert "rows 1, 700, 1300 hold NaN" in err
    rows = read(tmp_path / "scores.csv")
    assert [int(row["index"]) for row in rows] == list(range(len(x)))
    flagged = [row for row in rows if row["flagged"] == "true"]
    assert f"scored   {len(x) - 3} inputs" in out
    assert f"flagged  {len(flagged)} at alpha" in out
    worst = sorted(flagged, key=lambda row: -float(row["score_bits"]))[:5]
    shown = [line.split() for line in out.split("components (bits)")[-1].splitlines()[1:6]]
    assert [line[:2] for line in shown] == [
        [row["index"], f"{float(row['score_bits']):,.1f}"] for row in worst
    ]
    unused = [float(row["residual_bits"]) >= float(row["component_1_bits"]) for row in worst]
    assert [line[4] for line in shown] == [
        "unused" if more else row["component_1"] for more, row in zip(unused, worst, strict=True)
    ]
    assert ("unused: weights that no trusted input uses" in out) == any(unused)
    assert any(unused)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is an extra")
def test_parquet(here, tmp_path):
    import pyarrow.parquet as pq

    assert here("score", "inputs.npz", "--out", "scores.parquet")[0] == 0
    assert here("score", "inputs.npz")[0] == 0
    table = pq.read_table(tmp_path / "scores.parquet")
    rows = read(tmp_path / "scores.csv")
    assert table.column_names == list(rows[0])
    assert table["score_bits"].to_pylist() == [float(row["score_bits"]) for row in rows]


def test_parquet_has_every_row_once_and_blanks_as_nulls(tmp_path, monkeypatch):
    """In groups that are filled by several tables."""
    import pyarrow.parquet as pq

    monkeypatch.setattr("cli.rows.GROUP", 5)
    known = np.array([True, False, True])

    def table(first: int) -> Rows:
        columns = {
            "index": first + np.arange(3),
            "score_bits": np.array([1.0, np.nan, 2.0]),
            "prediction": np.array([4, -1, 5]),
            "status": np.where(known, "ok", "non-finite"),
        }
        return Rows(columns, known)

    write((table(3 * k) for k in range(5)), tmp_path / "scores.parquet")
    found = pq.read_table(tmp_path / "scores.parquet")
    assert found["index"].to_pylist() == list(range(15))
    assert found["prediction"].to_pylist() == [4, None, 5] * 5
    assert found["score_bits"].to_pylist() == [1.0, None, 2.0] * 5
    assert found["status"].to_pylist() == ["ok", "non-finite", "ok"] * 5
    assert pq.ParquetFile(tmp_path / "scores.parquet").num_row_groups == 3


def test_parquet_without_pyarrow_is_refused_before_scoring(here, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = here("score", "inputs.npz", "--out", "scores.parquet")
    assert code == 1
    assert_one_sentence(err, "pip install pyarrow")


def test_rows_on_stdout_and_everything_else_on_stderr(trained, tmp_path):
    done = apd("score", "inputs.npz", "--out", "-", cwd=trained)
    assert done.returncode == 0
    (tmp_path / "rows.csv").write_text(done.stdout)
    assert len(read(tmp_path / "rows.csv")) == len(x_of(trained))
    assert "flagged" in done.stderr


def test_unscorable_rows_are_named_marked_and_anomalies_where_that_matters(here, tmp_path):
    x = x_of(tmp_path)
    x[[2, 5], 0] = np.nan, np.inf
    np.savez(tmp_path / "inputs.npz", x=x)
    code, _, err = here("score", "inputs.npz", "--alpha", "0.0001")
    assert code == 0
    first, second = err.splitlines()
    assert "rows 2, 5 " in first
    assert "nothing can be flagged" in second
    assert here("score", "inputs.npz", "--alpha", "0.0001", "--fail-on-anomaly")[0] == 3
    x[:] = np.nan
    np.savez(tmp_path / "inputs.npz", x=x)
    code, _, err = here("score", "inputs.npz")
    assert code == 0
    assert "9 and 30 more hold NaN" in err


def test_anomalies_fail_only_where_asked(here, tmp_path):
    np.savez(tmp_path / "odd.npz", x=100 * x_of(tmp_path))
    assert here("score", "odd.npz")[0] == 0
    code, out, _ = here("score", "odd.npz", "--fail-on-anomaly")
    assert code == 3
    assert "Most surprising" in out
    assert (tmp_path / "scores.csv").exists()


def test_a_gate_that_cannot_close_fails(here, tmp_path):
    """What there is to say is said and written all the same."""
    code, out, err = here("score", "inputs.npz", "--alpha", "0.0001", "--fail-on-anomaly")
    assert code == 1
    assert err.splitlines()[-1] == (
        "apd: --fail-on-anomaly finds nothing where nothing can be flagged."
    )
    assert "No input was flagged." in out
    assert len(read(tmp_path / "scores.csv")) == 40


# --- budgets, classes and the batch as a whole --------------------------------------------------


def flags(path: Path) -> list[bool]:
    return [row["flagged"] == "true" for row in read(path)]


def test_an_alarm_budget_is_an_alpha(here, tmp_path, trained):
    _, out, _ = here("score", "inputs.npz", "--alarms-per-day", "5", "--inputs-per-day", "50")
    assert "at alpha 0.1; of as many trusted inputs, at most 4 on average" in out
    expected = mad.load(run_of(trained)).score(x_of(tmp_path)).flagged(0.1)
    assert flags(tmp_path / "scores.csv") == expected.tolist()
    assert 0 < expected.sum() < len(expected)


def test_discoveries_are_those_of_the_whole_file(trained, tmp_path):
    """More than one block, in a process of its own; rows that cannot be scored are none."""
    x = np.concatenate([x_of(trained), x_of(trained)[:500]])
    x[7] = np.nan
    np.savez(tmp_path / "inputs.npz", x=x)
    (tmp_path / "runs").symlink_to(trained / "runs")
    done = apd("score", "inputs.npz", "--fdr", "0.2", "--out", "s.jsonl", cwd=tmp_path)
    assert done.returncode == 0
    assert "row 7 " in done.stderr
    result = mad.load(run_of(trained)).score(x)
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    found = [row["flagged"] for row in rows]
    assert found == result.discoveries(0.2).tolist()
    assert found != result.flagged(0.2).tolist()
    assert f"flagged  {sum(found)} at a false discovery rate of 0.2" in done.stdout
    again = apd("score", "inputs.npz", "--fdr", "0.2", "--fail-on-anomaly", cwd=tmp_path)
    assert again.returncode == 3


def test_how_many_must_be_discovered_together_is_said(here, tmp_path, trained):
    """Of 297 clean inputs none is, and the smallest p-value is 1/193: 297/193/0.01 = 153.9."""
    clean = x_of(trained)[:297]
    np.savez(tmp_path / "inputs.npz", x=clean)
    code, out, err = here("score", "inputs.npz", "--fdr", "0.01", "--fail-on-anomaly")
    assert code == 0
    assert "flagged  0 at a false discovery rate of 0.01" in out
    assert_one_sentence(err, "fewer than 154 cannot be flagged", "0.00518")
    told = json.loads(here("score", "inputs.npz", "--fdr", "0.01", "--json")[1])
    assert (told["flagged"], told["unreachable"]) == (0, 0)


def test_p_values_can_be_per_class(here, tmp_path, trained):
    """Some classes are small, so twice as many may be flagged: 2 * 0.03 * 40."""
    code, out, err = here("score", "inputs.npz", "--per-class", "--alpha", "0.03")
    assert code == 0
    assert "of as many trusted inputs, at most 2.4 on average" in out
    detector = mad.load(run_of(trained)).calibrating("per-class")
    result = detector.score(x_of(tmp_path))
    rows = read(tmp_path / "scores.csv")
    assert [float(row["p_value"]) for row in rows] == result.p_value.tolist()
    assert flags(tmp_path / "scores.csv") == (result.p_value <= 0.03).tolist()
    unreachable = int((detector.calibration.finest(result.prediction) > 0.03).sum())
    assert 0 < unreachable < len(rows)
    assert_one_sentence(err, f"{unreachable} of 40 inputs cannot be flagged at alpha 0.03")


def test_a_budget_per_class_is_half_of_it_as_twice_as_many_may_be_flagged(here):
    budget = ("--alarms-per-day", "5", "--inputs-per-day", "50", "--json")
    for arguments, alpha in (((), 0.1), (("--per-class",), 0.05)):
        out = here("score", "inputs.npz", *arguments, *budget)[1]
        assert json.loads(out)["alpha"] == pytest.approx(alpha)


def test_a_detector_saved_per_class_scores_so(here, tmp_path, trained):
    shutil.copytree(run_of(trained), tmp_path / "copy")
    mad.load(tmp_path / "copy").calibrating("per-class").save(tmp_path / "copy")
    for arguments in (["--run", "copy", "--out", "a.csv"], ["--per-class", "--out", "b.csv"]):
        assert here("score", "inputs.npz", "--alpha", "0.1", *arguments)[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_drift_is_one_line_about_all_inputs(here, tmp_path, trained):
    detector = mad.load(run_of(trained))
    x = x_of(trained)
    for rows, direction in ((slice(0, 297), "like"), (slice(297, None), "more surprising than")):
        np.savez(tmp_path / "inputs.npz", x=x[rows])
        _, out, _ = here("score", "inputs.npz")
        (line,) = [line for line in out.splitlines() if line.startswith("drift")]
        found = detector.score(x[rows]).drift()
        assert line.startswith(f"drift    as a whole {direction} the calibration inputs")
        assert f"(p = {found.p_value:.2g})" in line
        assert f"(p = {found.share_p_value:.2g})" in line
        said = json.loads(here("score", "inputs.npz", "--json")[1])
        assert said["drift_direction"] == found.direction
        assert said["drift_p_value"] == found.p_value
        assert said["prediction_drift_p_value"] == found.share_p_value
    np.savez(tmp_path / "inputs.npz", x=np.full_like(x[:3], np.nan))
    assert "drift    unknown, because nothing was scored" in here("score", "inputs.npz")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        "--alpha 0.1 --fdr 0.1",
        "--alpha 0.1 --alarms-per-day 1 --inputs-per-day 9",
        "--fdr 0.1 --alarms-per-day 1 --inputs-per-day 9",
        "--alarms-per-day 1",
        "--inputs-per-day 9",
        "--alpha 0.1 --inputs-per-day 9",
        "--alarms-per-day 9 --inputs-per-day 9",
        "--alarms-per-day 0 --inputs-per-day 9",
        "--alarms-per-day nan --inputs-per-day 9",
        "--fdr 0",
        "--fdr 1.5",
        "--fdr 1e-320",
        "--alpha nan",
        "--alpha 1e-320",
        "--alarms-per-day 1e-300 --inputs-per-day 9",
    ],
)
def test_budgets_that_exclude_each_other_or_are_none_are_misuse(arguments, here, tmp_path):
    before = names(tmp_path)
    code, _, err = here("score", "inputs.npz", *arguments.split())
    assert code == 2
    assert "Error: " in err
    assert "Traceback" not in err
    assert names(tmp_path) == before


@pytest.mark.parametrize("output", ["all", "3"])
def test_another_output_can_be_explained(output, here, tmp_path, trained):
    assert here("score", "inputs.npz", "--explain", output)[0] == 0
    named = int(output) if output.isdecimal() else output
    expected = mad.load(run_of(trained)).explaining(named).score(x_of(tmp_path)).bits
    assert [float(row["score_bits"]) for row in read(tmp_path / "scores.csv")] == expected.tolist()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wide.npz"], "65 features"),
        (["whole.npz"], "astype('float32')"),
        (["flags.npz"], "bool"),
        (["inputs.npz", "--key", "z"], "'z'"),
        (["inputs.npz", "--explain", "10"], "10"),
        (["inputs.npz", "--run", "nowhere"], "nowhere"),
        (["inputs.npz", "--run", "."], "no finished run"),
        (["inputs.npz", "--out", "nowhere/scores.csv"], "nowhere"),
        (["inputs.npz", "--out", "inputs.npz"], "needed for something else"),
        (["inputs.npz", "--out", "folder.csv"], "directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_scored_leaves_everything_as_it_was(arguments, words, here, tmp_path):
    x = x_of(tmp_path)
    np.savez(tmp_path / "wide.npz", x=np.pad(x, ((0, 0), (0, 1))))
    np.savez(tmp_path / "whole.npz", x=x.astype(np.int64))
    np.savez(tmp_path / "flags.npz", x=x > 0)
    (tmp_path / "folder.csv").mkdir()
    before = names(tmp_path), (tmp_path / "inputs.npz").read_bytes()
    code, _, err = here("score", *arguments)
    assert code == 1
    assert_one_sentence(err, words)
    assert (names(tmp_path), (tmp_path / "inputs.npz").read_bytes()) == before


def test_without_a_run_there_is_a_sentence(tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "inputs.npz", x=np.zeros((3, 64)))
    for arguments in (["score", "inputs.npz"], ["inspect"]):
        code, _, err = call(monkeypatch, capsys, tmp_path, *arguments)
        assert code == 1
        assert_one_sentence(err, "no finished run under ./runs", "apd train")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def alter_manifest(path: Path, **changes: object) -> None:
    manifest = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**manifest, **changes}))


DAMAGE = {
    "components": lambda run: truncate(run / "components.safetensors"),
    "target": lambda run: truncate(run / "target.safetensors"),
    "manifest": lambda run: truncate(run / "run.json"),
    "detector": lambda run: truncate(run / "detector.safetensors"),
    "no detector": lambda run: (run / "detector.safetensors").unlink(),
    "format version": lambda run: alter_manifest(run, format_version=99),
    "another target": lambda run: alter_manifest(run, target_fingerprint="0" * 64),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_runs_are_refused(damage, here, tmp_path, trained):
    shutil.copytree(run_of(trained), tmp_path / "copy")
    DAMAGE[damage](tmp_path / "copy")
    code, _, err = here("score", "inputs.npz", "--run", "copy")
    assert code == 1
    assert_one_sentence(err, "copy")
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npz"])
def test_a_full_disk_leaves_what_was_there(suffix, trained, tmp_path):
    shutil.copy(trained / "inputs.npz", tmp_path)
    run, before = run_of(trained), (f"scores.{suffix}", "inputs.npz")
    command = ("score", "inputs.npz", "--out", before[0], "--run", run)
    assert apd(*command, cwd=tmp_path).returncode == 0
    old = (tmp_path / before[0]).read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *command],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert_one_sentence(done.stderr, before[0], "cannot be written")
    assert names(tmp_path) == sorted(before)
    assert (tmp_path / before[0]).read_bytes() == old
