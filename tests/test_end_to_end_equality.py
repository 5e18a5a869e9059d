"""Whichever way inputs are scored, the same rows get the same bits."""

import csv
import math

import numpy as np
import onnxruntime
import pytest
import torch
from problems import numbers
from test_cli_main import call

import apd
import mad
from mad.adapters import cupbearer, pytorch_ood, sklearn

ROWS = 1000
EVERY = 50  # rows that are asked about one by one


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run directory, its reference, and rows to score in a file."""
    torch.manual_seed(0)
    layers = (torch.nn.Linear(5, 9), torch.nn.ReLU(), torch.nn.Linear(9, 4))
    reference = numbers(13)(300, 5).float()
    config = apd.Config(components=8, steps=20, batch_size=32, seed=3)
    directory = tmp_path_factory.mktemp("equality")
    run = apd.decompose(
        torch.nn.Sequential(*layers), reference, config, directory=directory / "run"
    )
    mad.Detector.fit(run, reference).save(directory / "run")
    x = np.concatenate([numbers(21)(ROWS - 300, 5), 2 * numbers(22)(300, 5)]).astype(np.float32)
    np.savez(directory / "inputs.npz", x=x)
    return directory, run, reference.numpy(), x


@pytest.fixture(scope="module")
def expected(saved):
    directory, _, _, x = saved
    bits = mad.load(directory / "run").score(x).bits
    assert bits.std() > 1
    return bits


def by_command(saved, tmp_path, monkeypatch, capsys):
    given = ("score", saved[0] / "inputs.npz", "--run", saved[0] / "run", "--out", "scores.csv")
    assert call(monkeypatch, capsys, tmp_path, *given)[0] == 0
    with (tmp_path / "scores.csv").open(newline="") as file:
        return np.array([float(row["score_bits"]) for row in csv.DictReader(file)])


def by_service(saved):
    client = pytest.importorskip("fastapi.testclient", exc_type=ImportError)
    from cli.service import service

    served = client.TestClient(service(mad.load(saved[0] / "run"), 0.01))
    rows = served.post("/score", json={"x": saved[3].tolist()}).json()["rows"]
    return np.array([row["score_bits"] for row in rows])


def by_scikit_learn(saved):
    _, run, reference, x = saved
    return -sklearn.MechanisticOutlierDetector(run).fit(reference).score_samples(x)


def by_pytorch_ood(saved):
    detector = mad.load(saved[0] / "run")
    return pytorch_ood.MechanisticDetector.of(detector)(torch.from_numpy(saved[3])).numpy()


def by_cupbearer(saved):
    _, run, reference, x = saved
    ours = cupbearer.MechanisticDetector(run)
    ours.train(list(reference))
    return ours.compute_scores(torch.from_numpy(x)).numpy()


def by_pyod(saved):
    pytest.importorskip("pyod")
    from mad.adapters.pyod import MechanisticDetector

    _, run, reference, x = saved
    return MechanisticDetector(run).fit(reference).decision_function(x)


def by_inspect(saved):
    pytest.importorskip("inspect_ai")
    import asyncio

    from inspect_ai.scorer import Target
    from inspect_ai.solver import TaskState

    from mad.adapters.inspect_ai import mechanistic

    score = mechanistic(str(saved[0] / "run"))

    def state(row):
        return TaskState("mockllm", 0, 0, "?", [], metadata={"x": row})

    async def all_rows():
        return [(await score(state(row), Target("?"))).value for row in saved[3][::EVERY]]

    return np.array(asyncio.run(all_rows()))


WAYS = (by_service, by_scikit_learn, by_pytorch_ood, by_cupbearer, by_pyod)


def test_the_command_gives_the_bits_of_python(saved, expected, tmp_path, monkeypatch, capsys):
    assert by_command(saved, tmp_path, monkeypatch, capsys).tolist() == expected.tolist()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_harnesses_give_the_bits_of_python(saved, expected, way):
    assert way(saved).tolist() == expected.tolist()


@pytest.mark.filterwarnings("default")
def test_inspect_gives_the_bits_of_python(saved, expected):
    assert by_inspect(saved).tolist() == expected[::EVERY].tolist()


def test_the_exported_scorer_gives_them_up_to_rounding(
    saved, expected, tmp_path, monkeypatch, capsys
):
    given = ("export", saved[0] / "run", "--out", "scorer.onnx")
    assert call(monkeypatch, capsys, tmp_path, *given)[0] == 0
    session = onnxruntime.InferenceSession(tmp_path / "scorer.onnx")
    (bits,) = session.run(["bits"], {"x": saved[3]})
    close = np.isclose(bits, expected, rtol=1e-4, atol=1e-4)
    # a component within rounding of the strength from which it is active may be so for one alone
    assert close.sum() >= math.floor(0.999 * ROWS)
