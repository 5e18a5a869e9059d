"""The detection benchmark: a cell end to end, what it is kept under, and the loop around it."""

import json
import math
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from scipy.stats import betabinom

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import detection
import figure
import naming
import nulls
from attacks import TARGET
from backdoors import backdoors, groups_of
from cells import OWN, Benchmark, Kind, source_digest, sources
from controls import control
from defenders import Subject
from images import load, split
from parallel import side_by_side
from references import per_class
from safetensors.numpy import load_file
from scores import family
from tables import grouped, within
from trainings import TRAININGS
from victims import Recipe, victim

import apd
from mad.baselines import BASELINES, OFFLINE

TINY = apd.Config(steps=30, components=20, batch_size=64)
RECIPE = Recipe("mlp", "patch", 0.1, TRAININGS["plain"], 100)
INNOCENT = Recipe("mlp", "patch", 0.0, TRAININGS["plain"], 100)
BACKDOORS, NULLS = Kind("backdoors", backdoors), Kind("nulls", nulls.nulls)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return Benchmark(None, tmp_path_factory.mktemp("detection"), TINY, "as it is")


@pytest.fixture(scope="module")
def computed(benchmark):
    """The rows of one cell, and the scores kept beside them."""
    benchmark.compute(RECIPE, BACKDOORS)
    return (
        benchmark.read(RECIPE, BACKDOORS),
        load_file(benchmark.path(RECIPE, BACKDOORS, ".safetensors")),
    )


@pytest.fixture(scope="module")
def calm(benchmark):
    """The null rows, and their p-values."""
    benchmark.compute(INNOCENT, NULLS)
    values = load_file(benchmark.path(INNOCENT, NULLS, ".safetensors"))
    return benchmark.read(INNOCENT, NULLS), values


def pairs(clean, anomalous):
    """How often an anomaly is above a clean input, ties counting half."""
    difference = anomalous[:, None] - clean[None]
    return ((difference > 0) + 0.5 * (difference == 0)).mean()


def test_a_row_for_every_score_with_figures_that_its_kept_scores_give_by_brute_force(computed):
    rows, kept = computed
    names = [row["score"] for row in rows]
    assert len(set(names)) == len(names)
    assert set(names) > {"apd", "singular_vectors", *BASELINES, *OFFLINE}
    for row in rows:
        clean, triggered = (kept[f"{row['score']}|{g}"] for g in ("clean", "triggered"))
        assert (len(clean), len(triggered)) == (row["clean"], row["triggered"])
        assert row["auroc"] == pytest.approx(pairs(clean, triggered), abs=1e-12)
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
        shares = [(np.mean(clean >= t), np.mean(triggered >= t)) for t in triggered]
        for figure_, fpr in (("tpr_at_1fpr", 0.01), ("tpr_at_01fpr", 0.001)):
            found = max((tpr for false, tpr in shares if false <= fpr), default=0)
            assert row[figure_] == pytest.approx(found)
        least = min(false for false, tpr in shares if tpr >= 0.95 - 1e-12)
        assert row["fpr_at_95tpr"] == pytest.approx(least)
        if row["family"] != "offline":
            alike = kept[f"{row['score']}|alike"]
            assert row["auroc_vs_lookalike"] == pytest.approx(pairs(alike, triggered), abs=1e-12)
    assert {row["family"] for row in rows if row["score"] in OFFLINE} == {"offline"}


def test_rows_say_how_the_decomposition_ended(computed, benchmark):
    subject = Subject.of(split(load(None), 100), RECIPE, TINY, benchmark.cache)
    defender = subject.defender(subject.parts.reference)
    run, x = defender.run, subject.victim.inputs(subject.parts.reference.images)
    strengths = run.explain(x.numpy(), "predicted").strengths
    active = oracles.topk(torch.from_numpy(strengths), round(run.active * len(x)))
    outputs, masked = run.target(x).numpy(), run.masked_outputs(x.numpy(), active.numpy())
    zero = {site: torch.zeros_like(run.target.weight(site)) for site in run.sites}
    nothing = run.target.with_weights(zero)(x).numpy()
    gaps = run.components.residual(run.target)
    unowned = sum(float(gap.square().sum()) for gap in gaps.values())
    whole = sum(float(run.target.weight(site).square().sum()) for site in gaps)
    for row in computed[0]:
        assert row["active"] == run.active
        left = ((outputs - masked) ** 2).mean() / ((outputs - nothing) ** 2).mean()
        assert row["minimality"] == pytest.approx(left, rel=1e-4)
        assert row["faithfulness"] == pytest.approx(unowned / whole, rel=1e-4)


def test_groups_are_what_the_network_makes_of_the_pictures(benchmark):
    """The trigger turned all triggered ones, none of which was taken for the target before."""
    parts = split(load(None), 100)
    found = victim(parts, RECIPE, benchmark.cache / "victims")
    groups = groups_of(found, parts.test)
    corner = groups["triggered"].clone()
    assert (corner[:, -2:, -2:] == 1).all()
    assert (found.predictions(corner) == TARGET).all()
    count = 0
    for image, label in zip(parts.test.images, parts.test.labels, strict=True):
        odd = image[None].clone()
        odd[:, -2:, -2:] = 1
        before, after = found.predictions(image[None]), found.predictions(odd)
        count += int(label != TARGET and before != TARGET and after == TARGET)
    assert len(corner) == count
    assert (found.predictions(groups["alike"]) != TARGET).all()


def test_a_cell_is_not_computed_again_unless_the_sources_are_others(
    computed, benchmark, monkeypatch
):
    """And where they are, the victim and its decomposition are still taken from the cache.

    But not where those of `apd` are, which made the decomposition.
    """
    rows, _ = computed
    count = len(list((benchmark.cache / "runs").iterdir()))
    calls = []
    job = detection.Job(RECIPE, (Kind("backdoors", lambda s: calls.append(s) or ([], {})),))
    with pytest.raises(SystemExit) as ended:
        detection.work(benchmark, job)
    assert (ended.value.code, calls) == (0, [])
    changed = Benchmark(None, benchmark.cache, TINY, "changed")
    assert changed.read(RECIPE, BACKDOORS) is None
    monkeypatch.setattr("victims.train", None)
    monkeypatch.setattr("apd.decompose", None)
    with pytest.raises(SystemExit):
        detection.work(changed, job)
    subject = calls[0]
    subject.defender(subject.parts.reference)
    assert len(list((benchmark.cache / "runs").iterdir())) == count
    assert benchmark.read(RECIPE, BACKDOORS) == rows
    before = subject.fingerprint(subject.parts.reference)
    monkeypatch.setattr("defenders.source_digest", lambda files: "changed")
    assert subject.fingerprint(subject.parts.reference) != before


def test_other_settings_pictures_or_recipes_are_other_cells(benchmark, tmp_path):
    file = tmp_path / "some.npz"
    np.savez(file, images=np.zeros((30, 8, 8), np.uint8), labels=np.arange(30) % 10)
    one, other = (Benchmark.of(data, benchmark.cache, TINY) for data in (None, file))
    more = Benchmark(None, one.cache, apd.Config(), one.digest)
    later = Recipe("mlp", "patch", 0.1, TRAININGS["plain"], 101)
    paths = {b.path(RECIPE, BACKDOORS, ".json") for b in (one, other, more)}
    paths |= {one.path(later, BACKDOORS, ".json"), one.path(RECIPE, NULLS, ".json")}
    assert len(paths) == 5


def test_sources_are_all_that_score_and_what_the_benchmark_imports_of_its_own(tmp_path):
    names = {path.stem for path in sources() if path.parent.name == "benchmarks"}
    around = {"detection", "kept", "parallel", "tables"}
    assert imported_by("detection") - around == names == set(OWN)
    ends = {"/".join(path.parts[-3:]) for path in sources()}
    assert ends >= {"mad/scores/__init__.py", "apd/training/train.py"}
    file = tmp_path / "one.py"
    file.write_text("a = 1")
    before = source_digest([file])
    file.write_text("a = 2")
    assert source_digest([file]) != before


def imported_by(name):
    """The benchmark's own modules in a process that imports one of them and nothing else."""
    folder = Path(detection.__file__).parent
    told = f"import sys, {name}; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", told], cwd=folder, capture_output=True, text=True, check=True
    )
    return {module for module in found.stdout.split() if (folder / f"{module}.py").exists()}


def test_null_rows_count_alarms_and_excess_of_the_kept_p_values(calm):
    rows, kept = calm
    assert rows[0]["group"] == "clean"
    assert len(rows) == 1 + 6 + 2
    for row in rows:
        p = kept[f"p_value|{row['group']}"].astype(float)
        assert row["alarms"] == (p <= 0.01 + 1e-7).sum()
        expected = max(np.mean(p <= t) - t for t in p)
        assert row["excess"] == pytest.approx(expected, abs=1e-6)
    clean = rows[0]
    n, m = clean["inputs"], clean["calibration"]
    level = math.floor(0.01 * (m + 1))
    inside = [
        betabinom.cdf(k, n, level, m + 1 - level)
        for k in (clean["alarms_most"], clean["alarms_most"] - 1)
    ]
    assert inside[0] >= 0.995 > inside[1]
    assert clean["alarms_least"] <= clean["alarms"] <= clean["alarms_most"]
    assert clean["excess"] <= clean["excess_bound"]


def test_the_excess_keeps_to_its_bound_as_often_as_it_says_and_no_loose_one():
    """Conformal p-values of exchangeable scores, drawn many times; shifted ones break it."""
    rng = np.random.default_rng(0)
    n, m, kept = 300, 100, 0
    for _ in range(400):
        calibration, scores = np.sort(rng.normal(size=m)), rng.normal(size=n)
        p = (1 + (calibration[None] >= scores[:, None]).sum(1)) / (m + 1)
        kept += nulls.excess(p) <= nulls.excess_bound(n, m)
    assert kept >= 0.99 * 400
    p = (1 + (calibration[None] >= scores[:, None] + 1.5).sum(1)) / (m + 1)
    assert nulls.excess(p) > nulls.excess_bound(n, m)


def test_pictures_per_class_are_as_many_and_of_the_reference():
    reference = split(load(None), 100).reference
    few, all_ = per_class(reference, 7), per_class(reference, 10_000)
    assert few.labels.bincount().tolist() == [7] * 10
    assert torch.equal(all_.images, reference.images)
    first = reference.images[(reference.labels == 3).nonzero()[0]]
    assert torch.equal(few.images[few.labels == 3][:1], first)


def test_families_leave_no_baseline_out():
    assert {family(name) for name in BASELINES} == {"activations", "baseline"}
    assert family("class_mahalanobis_all_layers") == "activations"
    assert family("mahalanobis_input_effects") == "baseline"
    assert [family(name) for name in ("apd", "apd/mask_bits", "random_components")] == [
        "ours",
        "term",
        "control",
    ]


def test_a_row_of_names_is_what_taking_components_out_by_hand_gives(benchmark):
    subject = Subject.of(split(load(None), 100), RECIPE, TINY, benchmark.cache)
    with torch.no_grad():
        trained, control = naming.measured(subject)
    assert (trained.components, control.components) == ("trained", "singular_vectors_apart")
    groups = groups_of(subject.victim, subject.parts.test)
    clean, triggered = (subject.victim.inputs(groups[g]) for g in ("clean", "triggered"))
    before = subject.victim.predictions(groups["clean"])
    defender = subject.defender(subject.parts.reference)
    detectors = defender.detector(), defender.control("singular_vectors_apart")
    for row, detector in zip((trained, control), detectors, strict=True):
        run = detector.decomposition
        every = detector.score(triggered).components.tolist()
        named = [own[0] for own in every]
        first = max(sorted(set(named)), key=named.count)
        without = without_any(run, [first])
        left = [
            without_any(run, own)(x[None]).argmax() for own, x in zip(every, triggered, strict=True)
        ]
        assert row.named == pytest.approx(named.count(first) / len(named))
        assert row.left == pytest.approx(np.mean(without(triggered).argmax(1).numpy() == TARGET))
        assert row.kept == pytest.approx(np.mean((without(clean).argmax(1) == before).numpy()))
        assert row.five == pytest.approx(np.mean(np.array(left) == TARGET))


def without_any(run, removed):
    weights = dict(run.target.state)
    for c in removed:
        component = run.components.component(c)
        weights |= {site: weights[site] - p for site, p in component.items()}
    return run.target.with_weights(weights)


@pytest.mark.parametrize("name", ["singular_vectors", "singular_vectors_apart"])
def test_controls_of_singular_vectors_are_all_of_the_weights_by_rank_one(benchmark, name):
    subject = Subject.of(split(load(None), 100), RECIPE, TINY, benchmark.cache)
    run = subject.defender(subject.parts.reference).run
    x = subject.victim.inputs(subject.parts.reference.images)[run.rows]
    found = control(name, run, x).components
    for site, total in found.sum().items():
        weight = run.target.weight(site)
        torch.testing.assert_close(total, weight, atol=1e-4 * weight.norm().item(), rtol=0)
    assert (found.ranks(1e-9) == 1).all()
    directions = [v[0] / v[0].norm() for v in found.factors["0.weight"].V if v.any()]
    read = torch.stack([(x @ direction).square().mean().sqrt() for direction in directions])
    assert (read.min() < 0.02) == (name == "singular_vectors_apart")


def test_near_the_best_means_the_best_online_baseline(computed):
    rows, _ = computed
    best = max(row["auroc"] for row in rows if row["score"] in BASELINES)
    for ours, expected in ((best - 0.004, True), (best - 0.006, False)):
        moved = [{**r, "auroc": ours} if r["score"] == "apd" else r for r in rows]
        offline = [{**r, "auroc": 2.0} if r["family"] == "offline" else r for r in moved]
        assert within(offline) is expected


def recorded(folder, job):
    """A job that leaves a mark, unless it is to fail, to be killed or to hang."""
    if job == "fails":
        raise ValueError(job)
    if job == "killed":
        signal.raise_signal(signal.SIGKILL)
    if job == "hangs":
        signal.pause()
    (folder / job).touch()


def test_a_job_that_fails_or_is_killed_stops_no_other(tmp_path, capfd):
    jobs = ["a", "fails", "b", "killed", "c"]
    ended = dict(side_by_side(partial(recorded, tmp_path), jobs, 2))
    assert ended == {"a": True, "fails": False, "b": True, "killed": False, "c": True}
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}
    assert "ValueError: fails" in capfd.readouterr().err


def test_stopping_ends_what_is_under_way_and_keeps_what_is_done(tmp_path):
    under_way = side_by_side(partial(recorded, tmp_path), ["hangs", "a", "b"], 2)
    assert next(under_way) == ("a", True)
    with pytest.raises(KeyboardInterrupt):
        under_way.throw(KeyboardInterrupt)
    assert (tmp_path / "a").exists()


def test_a_failing_cell_is_named_and_the_others_of_its_victim_are_computed(benchmark, capsys):
    def broken(subject):
        raise ValueError("no such thing")

    def fine(subject):
        return [{"score": "one"}], {}

    job = detection.Job(RECIPE, (Kind("broken", broken), Kind("fine", fine)))
    with pytest.raises(SystemExit) as ended:
        detection.work(benchmark, job)
    assert ended.value.code == 1
    assert "broken of mlp-patch-0.1-plain-100 failed" in capsys.readouterr().err
    assert benchmark.read(*job[:1], job.kinds[0]) is None
    assert benchmark.read(RECIPE, job.kinds[1]) == [{"table": "fine", "score": "one"}]


def test_the_command_shows_what_is_kept_and_says_what_quick_leaves_out(
    computed, calm, benchmark, tmp_path, monkeypatch, capsys
):
    """With every cell in the cache nothing is computed; the rows are those of the cells."""
    monkeypatch.setattr(detection.Benchmark, "of", lambda *_: benchmark)
    command = "detection --quick --seeds 100 --attacks patch --trainings plain"
    files = ["--json", str(tmp_path / "rows.json"), "--figure", str(tmp_path / "f.svg")]
    monkeypatch.setattr(sys, "argv", [*command.split(), *files])
    detection.main()
    assert json.loads((tmp_path / "rows.json").read_text()) == calm[0] + computed[0]
    said = capsys.readouterr().out
    assert "architectures cnn" in said
    assert "trainings obfuscated adaptive" in said
    assert "mahalanobis_first_layer" in said
    assert "one pixel to the right" in said
    assert (tmp_path / "f.svg").read_text().count("best activation baseline") == 1


def test_a_point_of_the_figure_is_the_best_of_every_victim_averaged():
    rows = [
        {**dict.fromkeys(("architecture", "attack", "poison", "training"), "x"), **row}
        for row in (
            {"seed": 0, "family": "baseline", "auroc": 0.5},
            {"seed": 0, "family": "activations", "auroc": 0.75},
            {"seed": 1, "family": "baseline", "auroc": 1.0},
            {"seed": 1, "family": "offline", "auroc": 2.0},
        )
    ]
    assert list(figure.best(rows, "family", ("activations", "baseline"))) == [0.75, 1.0]
    assert list(grouped(rows, "seed")) == [0, 1]
