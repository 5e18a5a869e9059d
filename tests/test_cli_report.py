"""`apd score --report` and `apd report`: what they write, say and refuse."""

import csv
import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from problems import Formula, make_problem, numbers, random_components
from test_cli_main import apd, assert_one_sentence, call
from test_mad_reports_rendered import Page

import mad
from apd.sites import TransposedUse
from cli import reporting, scores_file
from cli.directions import directing
from cli.reporting import picked
from mad.reports import RENDERERS, Report

ODD = "in & <b>puts.npz"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A directory in which `apd train` was run on the embedded example, briefly."""
    directory = tmp_path_factory.mktemp("report")
    done = apd("train", "--steps", "60", "--components", "12", "--out", "run", cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def scored(trained) -> Path:
    """The same, with 700 inputs of another name, one of them NaN, scored in one process."""
    with np.load(trained / "inputs.npz") as file:
        x = file["x"][:700]
    x[9] = np.nan
    np.savez(trained / ODD, x=x)
    reports = [a for suffix in RENDERERS for a in ("--report", f"r{suffix}")]
    done = apd("score", ODD, "--run", "run", "--alpha", "0.05", *reports, cwd=trained)
    assert done.returncode == 0, done.stderr
    assert "The report is in r.html, r.md, r.json." in done.stdout
    return trained


@pytest.fixture
def here(scored, monkeypatch, capsys, tmp_path):
    """`apd ...` in a copy of that directory."""
    shutil.copytree(scored, tmp_path / "here")
    return lambda *arguments: call(monkeypatch, capsys, tmp_path / "here", *arguments)


def report_in(path: Path) -> Report:
    return Report.model_validate_json(path.read_text())


def test_the_report_counts_the_rows_of_the_scores(scored):
    with (scored / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    flagged = [row for row in rows if row["flagged"] == "true"]
    found = report_in(scored / "r.json")
    assert (found.verdict.scored, found.verdict.flagged) == (699, len(flagged))
    assert (found.verdict.not_finite, found.verdict.first_not_finite) == (1, (9,))
    flagged.sort(key=lambda row: -float(row["score_bits"]))
    assert [row.index for row in found.rows] == [int(row["index"]) for row in flagged[:300]]
    assert found.rows_left_out == max(0, len(flagged) - 300)
    assert len(found.cards) == 20
    assert found.left_out == ()
    assert found.verdict.sentence in (scored / "r.md").read_text()
    page = Page((scored / "r.html").read_text())
    assert found.verdict.sentence in page.said("p")
    assert len(page.all("article")) == 20


def test_the_cards_are_of_the_inputs_themselves(scored):
    detector = mad.load(scored / "run")
    with np.load(scored / ODD) as file:
        x = file["x"]
    card = report_in(scored / "r.json").cards[7]
    expected = detector.explain(x, card.row.index)
    assert card.outputs == tuple(expected.outputs.tolist())
    assert card.prediction_without == expected.prediction_without
    own = x[card.row.index].reshape(8, 8)
    scaled = (own - own.min()) / (own.max() - own.min())
    np.testing.assert_allclose(card.drawing.levels, 255 * scaled, atol=0.51)


def test_it_says_where_it_comes_from(scored):
    facts = {fact.name: fact.value for fact in report_in(scored / "r.json").provenance}
    assert facts["inputs"] == ODD
    assert facts["inputs sha256"] == hashlib.sha256((scored / ODD).read_bytes()).hexdigest()
    assert facts["command"].startswith(f"apd score '{ODD}' --run run --alpha 0.05 --report")
    assert facts["decomposition"] == mad.load(scored / "run").decomposition.fingerprint
    run = mad.load(scored / "run").decomposition
    assert f"seed 0, {run.components.count} components, 180 steps" in facts["training"]
    assert "torch" in facts["versions"]
    text = (scored / "r.html").read_text()
    assert "<b>puts" not in text
    assert ODD in Page(text).said("dd")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npz", "parquet"])
def test_a_report_of_a_file_is_the_report_of_the_scoring(suffix, here, scored, tmp_path):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    file = f"scores.{suffix}"
    assert here("score", ODD, "--run", "run", "--alpha", "0.05", "--out", file)[0] == 0
    more = ("--run", "run", "--inputs", ODD, "--alpha", "0.05", "--out", "again.json")
    code, out, err = here("report", file, *more)
    assert (code, err) == (0, "")
    again = report_in(tmp_path / "here" / "again.json")
    assert again.verdict.sentence in out
    first = report_in(scored / "r.json")
    assert again.model_copy(update={"provenance": first.provenance}) == first


def test_what_is_not_at_hand_is_left_out_and_said_so(here, tmp_path):
    code, out, err = here("report", "scores.csv")
    assert (code, err) == (0, "")
    page = Page((tmp_path / "here" / "report.html").read_text())
    assert not page.all("article")
    first, second, third = (text for text in page.said("li") if text.endswith("."))
    assert "--run" in first
    assert "--inputs" in second
    assert "--alpha" in third
    assert "whether the batch as a whole differs from the calibration inputs is not known" in out
    assert here("report", "scores.csv", "--run", "run", "--out", "run.json")[0] == 0
    found = report_in(tmp_path / "here" / "run.json")
    assert found.verdict.drift is not None
    assert found.scores.calibration is not None
    assert found.cards == ()
    assert len(found.left_out) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--alpha 0.5", ("at alpha 0.5", "flagged")),
        ("--run run --per-class", ("other p-values", "--per-class")),
        ("--run run --explain all", ("other p-values", "--explain")),
        ("--run run --inputs other.npz", ("do not score as", "scores.csv")),
        ("--run run --inputs few.npz", ("has 3 inputs",)),
        ("--out scores/r.html", ("no directory scores",)),
        ("--out run.html", ("is a directory",)),
    ],
)
def test_what_does_not_belong_together_is_refused(arguments, words, here, tmp_path):
    directory = tmp_path / "here"
    with np.load(directory / ODD) as file:
        x = file["x"]
    np.savez(directory / "other.npz", x=x[::-1])
    np.savez(directory / "few.npz", x=x[:3])
    (directory / "run.html").mkdir()
    before = sorted(path.name for path in directory.iterdir())
    code, _, err = here("report", "scores.csv", *arguments.split())
    assert code == 1
    assert_one_sentence(err, *words)
    assert sorted(path.name for path in directory.iterdir()) == before


def test_scores_of_some_inputs_have_no_others_to_compare_with(here, tmp_path):
    """Rows are drawn by their place among all, so a file without some would draw other inputs."""
    directory = tmp_path / "here"
    header, *rows = (directory / "scores.csv").read_text().splitlines(keepends=True)
    (directory / "some.csv").write_text(header + "".join(rows[2:]))
    code, _, err = here("report", "some.csv", "--run", "run", "--inputs", ODD)
    assert code == 1
    assert_one_sentence(err, "some.csv", "--inputs")
    assert here("report", "some.csv", "--run", "run")[0] == 0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "a,b\n1,2\n",
        "index,score_bits,p_value,flagged,prediction,status\n0,x,0.1,true,1,ok\n",
        "index,score_bits,p_value,flagged,prediction,status\n0,1\n",
        "\x00\xff",
    ],
)
def test_a_file_of_something_else_is_refused(content, here, tmp_path):
    (tmp_path / "here" / "odd.csv").write_bytes(content.encode("latin1"))
    code, _, err = here("report", "odd.csv")
    assert code == 1
    assert_one_sentence(err, "odd.csv")
    assert not (tmp_path / "here" / "report.html").exists()


@pytest.mark.parametrize("content", ['{"index": 1\n', "[1, 2]\n", ""])
@pytest.mark.parametrize("name", ["odd.jsonl", "odd.npz", "none.csv"])
def test_damaged_and_missing_files_are_refused(name, content, here, tmp_path):
    if name != "none.csv":
        (tmp_path / "here" / name).write_text(content)
    assert_one_sentence(here("report", name)[2], name)


COLUMNS = {
    "index": [0, 1],
    "score_bits": [1.0, 2.0],
    "p_value": [0.5, 0.1],
    "flagged": [False, False],
    "prediction": [3, 4],
    "status": ["ok", "ok"],
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"index": [0]}, "damaged"),
        ({name: [] for name in COLUMNS}, "holds no scores"),
        ({"component_1": [2, 2]}, "no column component_1_bits"),
        ({"p_value": [0.5, np.inf]}, "damaged"),
        ({"p_value": [0.5, 1.5]}, "damaged"),
        ({"score_bits": [-np.inf, 1]}, "damaged"),
    ],
)
def test_columns_that_do_not_belong_together_are_refused(changed, said, here, tmp_path):
    np.savez(tmp_path / "here" / "s.npz", **COLUMNS)
    assert here("report", "s.npz")[0] == 0
    np.savez(tmp_path / "here" / "s.npz", **{**COLUMNS, **changed})
    assert_one_sentence(here("report", "s.npz")[2], "s.npz", said)


def test_columns_that_are_not_in_every_row_are_refused(here, tmp_path, monkeypatch):
    monkeypatch.setattr(scores_file, "ROWS_AT_ONCE", 2)
    path, row = tmp_path / "here" / "s.jsonl", {name: own[0] for name, own in COLUMNS.items()}
    first, other = {**row, "input_bits": 1.0}, {**row, "1": 2}
    for rows, code in (
        ([first] * 4, 0),
        ([first] * 2 + [row] * 2, 1),
        ([row] * 2 + [other] * 2, 0),
    ):
        path.write_text("".join(json.dumps(each) + "\n" for each in rows))
        assert here("report", "s.jsonl")[0] == code


def test_a_table_of_arrays_is_read_some_rows_at_a_time(here, tmp_path, monkeypatch):
    np.savez(tmp_path / "s.npz", **COLUMNS)
    (whole,) = scores_file.read(tmp_path / "s.npz")
    monkeypatch.setattr(scores_file, "ROWS_AT_ONCE", 1)
    parts = list(scores_file.read(tmp_path / "s.npz"))
    assert len(parts) == len(whole["index"]) > 1
    for name, column in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts]), column)


def test_json_too_deep_to_read_is_damage(here, tmp_path):
    (tmp_path / "here" / "s.jsonl").write_text("[" * 100_000)
    assert_one_sentence(here("report", "s.jsonl")[2], "s.jsonl", "damaged")


def test_a_file_that_went_through_a_spreadsheet_is_read(here, tmp_path):
    path = tmp_path / "here" / "scores.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert here("report", "scores.csv")[0] == 0


def test_scores_explained_as_their_run_does_are_reported_without_saying_so(here, tmp_path):
    directory = tmp_path / "here"
    mad.load(directory / "run").explaining(3).save(directory / "run")
    assert here("score", ODD, "--run", "run", "--out", "third.csv")[0] == 0
    assert here("score", ODD, "--run", "run", "--out", "same.csv", "--explain", "3")[0] == 0
    assert (directory / "third.csv").read_bytes() == (directory / "same.csv").read_bytes()
    arguments = ("--run", "run", "--inputs", ODD, "--out", "r.json")
    assert here("report", "third.csv", *arguments)[0] == 0
    assert here("score", ODD, "--run", "run", "--out", "own.csv", "--explain", "predicted")[0] == 0
    assert (directory / "third.csv").read_bytes() != (directory / "own.csv").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["report"],
        ["report", "s.xlsx"],
        ["report", "s.csv", "--out", "r.pdf"],
        ["report", "s.csv", "--inputs", "x.npz"],
        ["report", "s.csv", "--alpha", "2"],
        ["score", "x.npz", "--report", "r.pdf"],
    ],
    ids=" ".join,
)
def test_misuse_exits_2(arguments, tmp_path, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, tmp_path, *arguments)
    assert code == 2
    assert "Error: " in err
    assert list(tmp_path.iterdir()) == []


def test_reports_never_overwrite_what_is_read_or_written(here, tmp_path):
    for name in ("here.md", "scores.json"):
        shutil.copy(tmp_path / "here" / ODD, tmp_path / "here" / name)
        code, _, err = here("score", name, "--run", "run", "--report", name)
        assert code == 1
        assert_one_sentence(err, name, "needed for something else")


@pytest.mark.parametrize("suffix", [".html", ".md", ".json"])
def test_reports_replace_reports_and_nothing_else(suffix, here, tmp_path):
    out = tmp_path / "here" / f"page{suffix}"
    assert here("report", "scores.csv", "--out", out)[0] == 0
    assert here("report", "scores.csv", "--out", out)[0] == 0
    out.write_text("notes of mine")
    for command in (["report", "scores.csv", "--out"], ["score", ODD, "--run", "run", "--report"]):
        code, _, err = here(*command, out)
        assert code == 1
        assert_one_sentence(err, out.name, "is there already and is no report")
        assert out.read_text() == "notes of mine"


@pytest.mark.parametrize("name", ["run.json", "train.json"])
def test_reports_never_overwrite_a_run(name, here, tmp_path):
    before = (tmp_path / "here" / "run" / name).read_bytes()
    (tmp_path / "here" / "link.json").symlink_to(tmp_path / "here" / "run" / name)
    for path in (f"run/{name}", "link.json"):
        for command in (["score", ODD, "--run", "run", "--report"], ["report", "s.csv", "--out"]):
            code, _, err = here(*command, path)
            assert code == 1
            assert_one_sentence(err, path, "part of a run")
    assert (tmp_path / "here" / "run" / name).read_bytes() == before


def test_names_in_no_encoding_are_reported(here, tmp_path):
    odd = os.fsdecode(b"caf\xe9.npz")
    shutil.copy(tmp_path / "here" / ODD, tmp_path / "here" / odd)
    reports = [part for suffix in RENDERERS for part in ("--report", f"odd{suffix}")]
    out = os.fsdecode(b"caf\xe9.csv")
    arguments = ("score", odd, "--run", "run", "--out", out, *reports)
    done = apd(*arguments, cwd=tmp_path / "here", PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 0, done.stderr
    assert r"caf\udce9.csv" in done.stdout
    facts = {fact.name: fact.value for fact in report_in(tmp_path / "here/odd.json").provenance}
    assert facts["inputs"] == r"caf\udce9.npz"


def test_a_page_without_jinja_is_refused_before_scoring(here, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "jinja2" else find(name)
    )
    code, _, err = here("score", ODD, "--run", "run", "--out", "s.csv", "--report", "x.html")
    assert code == 1
    assert_one_sentence(err, "pip install jinja2")
    assert not (tmp_path / "here" / "s.csv").exists()
    assert here("report", "scores.csv", "--out", "x.md")[0] == 0


def test_discoveries_and_stdout(here, tmp_path):
    code, out, err = here(
        "score", ODD, "--run", "run", "--fdr", "0.05", "--out", "-", "--report", "fdr.json"
    )
    assert code == 0
    assert "The report is in fdr.json." in err
    assert "The report" not in out
    found = report_in(tmp_path / "here" / "fdr.json")
    rows = list(csv.DictReader(out.splitlines()))
    assert found.verdict.flagged == sum(row["flagged"] == "true" for row in rows)
    assert found.verdict.flagging.fdr == 0.05
    assert "scores" not in {fact.name for fact in found.provenance}


def test_suffixes_are_those_of_the_renderers_and_writers():
    from cli.report import SCORES
    from cli.rows import WRITERS

    assert tuple(RENDERERS) == reporting.SUFFIXES
    assert tuple(WRITERS) == SCORES == tuple(scores_file.READERS)


def test_picked_rows_are_those_of_all_chunks():
    x = np.arange(40).reshape(20, 2)
    chunks = [x[:3], x[3:3], x[3:11], x[11:]]
    rows = [0, 2, 3, 10, 11, 19]
    found = picked(iter(chunks), rows)
    assert list(found) == rows
    for row in rows:
        np.testing.assert_array_equal(found[row], x[row])


def test_directions_are_leading_singular_vectors(problem):
    """Of the component's weights at the first site, formed and taken apart by numpy."""
    directed = directing(SimpleNamespace(components=problem.components, target=problem.target))
    for c in range(problem.components.count):
        site, weights = next(iter(problem.components.component(c).items()))
        by_rows = isinstance(problem.target.sites[site].uses[0], TransposedUse)
        applied = weights.numpy().T if by_rows else weights.numpy()
        left, values, right = np.linalg.svd(applied)
        found = directed(c)
        if not applied.any():
            assert found is None
            continue
        read = found.read.ravel()
        assert found.site == site
        assert found.write @ applied @ read == pytest.approx(values[0], rel=1e-9)
        assert abs(read @ right[0]) == pytest.approx(1, rel=1e-9)
        assert abs(found.write @ left[:, 0]) == pytest.approx(1, rel=1e-9)
        assert read[np.abs(read).argmax()] > 0


def test_a_component_that_is_zero_there_has_no_directions(problem):
    from apd import Components
    from apd.sites import Factors

    zero = {n: Factors(0 * f.U, f.V) for n, f in problem.components.factors.items()}
    nothing = SimpleNamespace(components=Components.of(zero), target=problem.target)
    assert directing(nothing)(0) is None


@pytest.mark.parametrize("applied", [lambda x, W: x @ W, lambda x, W: W[x.argmax(1)]])
def test_a_weight_that_is_applied_from_the_left_is_read_by_rows(applied):
    """W [7, 5]: what is read has 7 numbers, whatever the call."""
    from apd import Target
    from apd.components import Components

    draw = numbers(31)
    module = Formula(lambda net, x: applied(x, net.W).tanh(), W=draw(7, 5))
    target = Target.of(module, draw(3, 7))
    components: Components = random_components(target, 4, 1, draw)
    found = directing(SimpleNamespace(components=components, target=target))(2)
    assert (found.read.shape, found.write.shape) == ((7,), (5,))


def test_what_a_convolution_reads_has_the_shape_of_a_patch():
    problem = make_problem("conv-1")
    site = next(iter(problem.components.factors))
    found = directing(SimpleNamespace(components=problem.components, target=problem.target))(2)
    assert found.read.shape == problem.module.get_parameter(site).shape[1:]
    assert found.read.ndim == 3


def test_the_schema_is_what_the_report_keeps_to(scored):
    """Every field that a report has is in the published schema, part by part."""
    from mad.reports.json import SCHEMA

    published = json.loads(SCHEMA.read_text())
    found = json.loads((scored / "r.json").read_text())
    for part, example in (("Card", found["cards"][0]), ("Row", found["rows"][0])):
        assert set(published["$defs"][part]["properties"]) == set(example)
