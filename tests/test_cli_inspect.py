"""What `apd inspect` says of a run, and of known mechanisms where its target is a toy."""

import dataclasses
import json
import math

import oracles
import pytest
import torch
from test_cli_main import call

import apd
import mad
import toys
from apd import Components
from apd.sites import Factors
from cli.plan import Plan, record
from cli.recovered import recovery_of, toy_in


def merged(mechanisms, first, second):
    """The mechanisms with two of them, which are as long as each other, as one."""
    both = {site: mechanisms[first][site] + mechanisms[second][site] for site in mechanisms[0]}
    return [both, *(m for k, m in enumerate(mechanisms) if k not in (first, second))]


def padded(components, count):
    """The same components and as many dead ones as make up the count."""
    missing = (0, 0, 0, 0, 0, count - components.count)
    return Components.of(
        {
            site: Factors(*(torch.nn.functional.pad(tensor, missing) for tensor in factors))
            for site, factors in components.factors.items()
        }
    )


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """Four hand-coded functions, in a directory, and a run on them that has hardly begun."""
    toy = toys.make("gated")
    directory = tmp_path_factory.mktemp("gated") / "toy"
    toys.save(toy, directory)
    run = apd.decompose(toy.model, toy.reference, apd.Config(components=7, steps=1, batch_size=32))
    return toy, directory, dataclasses.replace(run, active=2.0)


def facts_of(run, plan, directory):
    record(plan, directory)
    return recovery_of(run, toy_in(directory, run))


def test_the_truth_is_said_to_be_recovered(gated, tmp_path):
    toy, target, run = gated
    truth = padded(oracles.whole(toy.mechanisms), 7)
    found = facts_of(dataclasses.replace(run, components=truth), Plan(target=str(target)), tmp_path)
    assert found == {
        "mechanisms recovered": "4 of 4",
        "distinct components": "4",
        "MMCS of mechanisms": "1.0000",
        "ML2R of mechanisms": "1.0000",
    }


def test_mechanisms_in_one_component_are_not(gated, tmp_path):
    toy, target, run = gated
    components = oracles.whole(merged(toy.mechanisms, 1, 2))
    found = facts_of(
        dataclasses.replace(run, components=components), Plan(target=str(target)), tmp_path
    )
    assert found["mechanisms recovered"] == "2 of 4"
    assert found["distinct components"] == "3"
    assert found["MMCS of mechanisms"] == f"{(2 + 2 * math.sqrt(0.5)) / 4:.4f}"
    assert found["ML2R of mechanisms"] == f"{(2 + 2 * math.sqrt(2)) / 4:.4f}"


def test_nothing_is_said_where_no_mechanisms_are_known(gated, tmp_path):
    _, target, run = gated
    assert toy_in(tmp_path, run) is None
    assert recovery_of(run, None) is None
    assert facts_of(run, Plan(target="module:factory"), tmp_path) is None
    weights = {site: 2 * run.target.weight(site) for site in run.sites}
    other = dataclasses.replace(run, target=run.target.with_weights(weights))
    assert facts_of(other, Plan(target=str(target)), tmp_path) is None


def test_nothing_is_said_where_the_toy_is_damaged(gated, tmp_path):
    toy, _, run = gated
    toys.save(toy, tmp_path / "toy")
    (tmp_path / "toy" / "reference.npz").unlink()
    record(Plan(target=str(tmp_path / "toy")), tmp_path)
    assert toy_in(tmp_path, run) is None


def test_of_superposition_the_published_figures_are_shown_too(tms, tmp_path):
    toys.save(tms.toy, tmp_path / "toy")
    found = facts_of(tms.run, Plan(target=str(tmp_path / "toy")), tmp_path)
    assert list(found)[:2] == ["MMCS", "ML2R"]
    assert float(found["MMCS"]) >= 0.998
    assert 0.95 <= float(found["ML2R"]) <= 1.05
    assert found["mechanisms recovered"] == "5 of 5"


@pytest.fixture
def inspected(small_run, tmp_path, monkeypatch, capsys):
    """A detector in a run directory, and `apd inspect` of it."""
    run, reference = small_run
    detector = mad.Detector.fit(run, reference)
    run.save(tmp_path / "run")
    detector.save(tmp_path / "run")
    return detector, lambda *options: call(
        monkeypatch, capsys, tmp_path, "inspect", "run", *options
    )


def test_a_run_as_json_is_what_the_detector_knows(inspected):
    detector, inspect = inspected
    code, out, err = inspect("--json")
    assert (code, err) == (0, "")
    said, run = json.loads(out), detector.decomposition
    assert [step["faithfulness"] for step in said["losses"]] == [s.faithfulness for s in run.steps]
    assert said["settings"]["steps"] == 20
    assert [c["component"] for c in said["components"]] == list(range(run.components.count))
    evidence = detector.evidence(detector.profiled)
    assert said["sparse_error"] == evidence.sparse_error
    assert said["active_per_input"] == evidence.active.sum(1).mean()
    assert said["residual"] == pytest.approx(
        apd.recovery.faithfulness(run.target, run.components).overall
    )
    for component in said["components"]:
        c = component["component"]
        strength = evidence.strengths[:, c]
        assert strength[component["strongest_inputs"]].tolist() == sorted(strength)[:-4:-1]
        assert component["rate"] == detector.rates[c]


def test_a_run_for_people_names_what_it_used_and_where_it_is_strongest(inspected):
    _, inspect = inspected
    said = json.loads(inspect("--json")[1])
    out = inspect()[1]
    assert "active per input" in out[: out.index("Sites")]
    assert f"sparse error      {said['sparse_error']:.2g} of the outputs' variance" in out
    first = ", ".join(map(str, said["components"][0]["strongest_inputs"]))
    assert first in out
    losses = out[out.index("Losses") : out.index("Settings")].splitlines()
    sites = [line.split()[-1] for line in losses[2:] if line.strip()]
    assert sites == ["0.weight", "2.weight", "4.weight"]
    assert inspect("--quiet") == (0, "", "")


def test_settings_that_are_not_given_are_not_shown(small_run, tmp_path, monkeypatch, capsys):
    run, reference = small_run
    config = run.config.model_copy(update={"hidden": ("0", "2"), "components": None})
    mad.Detector.fit(dataclasses.replace(run, config=config), reference).save(tmp_path / "run")
    out = call(monkeypatch, capsys, tmp_path, "inspect", "run")[1]
    shown = dict(line.split(maxsplit=1) for line in out.partition("Settings\n")[2].splitlines())
    expected = {
        name: str(value)
        for name, value in config.model_dump().items()
        if name not in ("components", "active", "projections", "output")
    }
    assert shown == expected | {"sites": "*", "hidden": "0, 2"}


def test_a_site_says_of_what_kind_its_parts_are(small_run, tmp_path, monkeypatch, capsys):
    run, reference = small_run
    kinds = {"0.weight": "rows", "2.weight": "trained", "4.weight": "sources"}
    run = dataclasses.replace(run, kinds=kinds)
    mad.Detector.fit(run, reference).save(tmp_path / "run")
    out = call(monkeypatch, capsys, tmp_path, "inspect", "run")[1]
    sites = out[out.index("Sites") : out.index("Components")].splitlines()[2:]
    assert dict(line.split()[:1:-1] for line in sites if line) == kinds
    said = json.loads(call(monkeypatch, capsys, tmp_path, "inspect", "run", "--json")[1])
    assert said["parts"] == kinds


@pytest.mark.parametrize(("width", "sites"), [(50, 0), (60, 1), (80, 3)])
def test_a_narrow_terminal_shows_fewer_sites_and_breaks_no_line(
    inspected, monkeypatch, width, sites
):
    monkeypatch.setenv("COLUMNS", str(width))
    detector, inspect = inspected
    out = inspect()[1]
    names = list(detector.decomposition.sites)
    table = out[out.index("Components") : out.index("Losses")].splitlines()
    assert table[1].split()[3:-2] == names[:sites]
    assert all(line.split()[0].isdigit() for line in table[2:-2])
    assert f"Sites not shown: {len(names) - sites}." in table or len(names) == sites
