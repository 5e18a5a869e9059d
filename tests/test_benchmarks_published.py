"""The published rows of the detection benchmark: what is kept, and the page's tables out of it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import published
from kept import keep
from scores import family

VICTIMS = [("patch", 0), ("patch", 1), ("warp", 0)]
TOLD = [score for scores in published.COLUMNS.values() for score in scores]
SCORES = [*TOLD, "random_components/input_bits", "confidence"]


@pytest.fixture
def rows():
    """As the benchmark writes them, of three victims; the best baseline is confidence."""
    rng = np.random.default_rng(0)
    return [
        {
            "table": "backdoors",
            "architecture": "mlp",
            "attack": attack,
            "poison": 0.02,
            "training": "plain",
            "seed": seed,
            "side": 28,
            "steps": 5000,
            "success": 0.9,
            "active": 40.0 + seed,
            "minimality": 0.003,
            "faithfulness": 0.01,
            "score": score,
            "family": family(score),
            **dict(zip(published.FIGURES, rng.uniform(0.5, 0.9, 4), strict=True)),
            **({"auroc": 0.95} if score == "confidence" else {}),
        }
        for attack, seed in VICTIMS
        for score in SCORES
    ]


def kept(rows, tmp_path):
    path = tmp_path / "folder" / "rows.csv"
    published.write(path, published.worth_keeping(rows))
    return path


def test_what_is_kept_is_read_again_to_four_digits(rows, tmp_path):
    path = kept(rows, tmp_path)
    expected = [row for row in rows if row["score"] != "random_components/input_bits"]
    found = published.read(path)
    assert len(found) == len(expected) == len(path.read_text().splitlines()) - 1
    for row, own in zip(found, expected, strict=True):
        assert {name: row[name] for name in (*published.NAMES, "family")} == {
            name: own[name] for name in (*published.NAMES, "family")
        }
        for name in published.NUMBERS:
            assert row[name] == pytest.approx(own[name], abs=5.1e-5)


def test_failed_attacks_and_other_tables_are_not_kept(rows):
    failed = [{**row, "success": 0.69} for row in rows]
    other = [{**row, "table": "nulls"} for row in rows]
    assert published.worth_keeping(failed + other) == []


@pytest.mark.parametrize(("name", "value"), [("side", 8), ("steps", 1000)])
def test_rows_of_other_pictures_or_settings_are_refused(rows, name, value):
    other = [{**row, name: value} for row in rows]
    with pytest.raises(ValueError, match="2 kinds of pictures or of settings"):
        published.added(published.worth_keeping(rows), other)


def test_a_victim_asked_again_takes_its_own_place(rows):
    again = [{**row, "auroc": 1.0} for row in rows if row["attack"] == "warp"]
    kept = published.worth_keeping(rows)
    found = published.added(kept, again)
    assert len(found) == len(kept)
    new = [row["auroc"] for row in found if row["attack"] == "warp"]
    assert new == [1.0] * len(published.worth_keeping(again))
    others = [row for row in kept if row["attack"] == "patch"]
    assert [row for row in found if row["attack"] == "patch"] == others
    lost = [{**row, "success": 0.1, "score": "none"} for row in again[:1]]
    assert published.added(kept, lost) == others


def test_a_cell_is_the_mean_over_victims_and_the_worst_is_one_of_them(rows):
    *lines, last = published.attack_table(rows)
    _, _, patch, warp = lines
    ours = [row for row in rows if row["score"] == "apd" and row["attack"] == "patch"]
    (one,) = [row for row in rows if row["score"] == "apd" and row["attack"] == "warp"]
    least = min(ours, key=lambda row: row["auroc"])
    mean = [
        (a + b) / 2
        for a, b in zip(*([row[n] for n in published.CELL] for row in ours), strict=True)
    ]
    form = "{:.3f} / {:.2f} / {:.2f}".format
    worst = form(*(least[n] for n in published.CELL))
    assert patch.split(" | ")[1:4] == ["0.90", worst, form(*mean)]
    assert warp.split(" | ")[2] == warp.split(" | ")[3] == form(*(one[n] for n in published.CELL))
    everyone = [row for row in rows if row["score"] == "ted"]
    assert form(*(np.mean([row[n] for row in everyone]) for n in published.CELL)) in last


def test_of_the_monitors_each_victims_best_counts(rows):
    best = {0: "mahalanobis_last_layer", 1: "typicality_first_layer"}
    for row in rows:
        if row["attack"] == "patch" and row["score"] == best[row["seed"]]:
            row["auroc"], row["tpr_at_1fpr"] = 0.96, 0.5 + row["seed"] / 4
    column = list(published.COLUMNS).index("best other monitor of activations")
    patch = list(published.cells([row for row in rows if row["attack"] == "patch"]))[column]
    assert patch.startswith("0.960 / 0.62 / ")


def test_ted_is_no_other_monitor_and_ours_and_gradients_are_none():
    assert {"mahalanobis_first_layer", "typicality_all_layers"} < set(published.MONITORS)
    others = {"ted", "apd", "mahalanobis_neuron_effects", "class_mahalanobis_input_effects"}
    assert not others & set(published.MONITORS)


def test_the_summary_counts_who_is_near_the_best_baseline(rows):
    for row in rows:
        if row["score"] == "apd":
            row["auroc"] = 0.9451 if row["seed"] == 0 else 0.9449
    *_, line = published.summary_table({("mlp", "plain", 0.02): rows})
    cells = line.strip("| ").split(" | ")
    assert cells[0] == "MLPs in plain sight, 2 % of pictures poisoned: 3"
    assert cells[1:3] == ["0.945", "0.945"]
    assert cells[6:8] == ["2 of 3", "40 to 41"]


@pytest.mark.parametrize(
    ("table", "page"),
    [
        ("Of these:\n\n| a |\n|---|\n| 3 |", "Of these:\n\n| a |\n|---|\n| 3 |\n\nText | b |\n"),
        ("| a |\n|---|\n| 3 |", "Of these:\n\n| a |\n|---|\n| 3 |\n\nText | b |\n"),
        ("Text | b |\n| 3 |", "Of these:\n\n| a |\n|---|\n| 1 |\n| 2 |\n\nText | b |\n| 3 |\n"),
    ],
)
def test_a_table_takes_the_place_of_the_one_that_begins_alike(table, page):
    before = "Of these:\n\n| a |\n|---|\n| 1 |\n| 2 |\n\nText | b |\n"
    assert published.placed(before, table) == page
    for other in ("Of those:\n\n| a |", "| 1"):
        with pytest.raises(ValueError, match="0 places"):
            published.placed(before, other)
    with pytest.raises(ValueError, match="2 places"):
        published.placed(2 * before, table)


def test_the_pages_tables_are_those_of_the_rows():
    page = published.PAGE.read_text()
    for table in published.tables(published.read(published.KEPT)):
        assert published.placed(page, table) == page


@dataclass(frozen=True)
class Kept:
    seed: int
    found: float


def test_rows_are_kept_whole_in_directories_that_are_made(tmp_path):
    path = tmp_path / "not" / "there" / "rows.json"
    victim = Kept(2, 0.5)
    for rows in ([victim], [victim, {"seed": 3, "found": None}]):
        keep(path, rows)
        assert json.loads(path.read_text())[0] == {"seed": 2, "found": 0.5}
    assert len(json.loads(path.read_text())) == 2
    assert [each.name for each in path.parent.iterdir()] == ["rows.json"]
    keep(None, [victim])
