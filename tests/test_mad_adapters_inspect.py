"""The Inspect scorer end to end, on Inspect's mock model; skipped where it is not installed."""

import importlib
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
from problems import numbers

import mad
from mad.metrics import auroc

pytest.importorskip("inspect_ai", reason="inspect-ai is not installed")

# Inspect's own dependencies warn of what is to come.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def saved(small_run, tmp_path_factory):
    run, reference = small_run
    directory = tmp_path_factory.mktemp("runs") / "run"
    run.save(directory)
    detector = mad.Detector.fit(run, reference)
    detector.save(directory)
    return directory, detector


def mock():
    """Inspect's mock model with its tokens counted: counting would fetch a vocabulary."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def answer(*_):
        output = ModelOutput.from_content("mockllm", "?")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    return get_model("mockllm/model", custom_outputs=answer)


def evaluate(samples, scorer, directory):
    from inspect_ai import Task, eval

    task = Task(dataset=samples, scorer=scorer)
    (log,) = eval(task, model=mock(), display="none", log_dir=str(directory / "logs"))
    assert log.status == "success", log.error
    return log


def test_samples_get_the_detectors_bits_and_the_evaluation_its_auroc(saved, tmp_path):
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import Score

    from mad.adapters.inspect_ai import mechanistic

    directory, detector = saved
    x = np.concatenate([numbers(21)(6, 5), 3 * numbers(22)(5, 5), np.full((1, 5), np.inf)])
    odd = [n >= 6 for n in range(12)]
    samples = [
        Sample(input="?", id=n, metadata={"row": n, "is_anomaly": odd[n]}) for n in range(12)
    ]
    scorer = mechanistic(str(directory), lambda state: x[state.metadata["row"]], alpha=0.1)
    log = evaluate(samples, scorer, tmp_path)
    result = detector.score(x)
    (scores,) = ([sample.scores[name] for sample in log.samples] for name in log.samples[0].scores)
    assert isinstance(scores[0], Score)
    assert [score.value for score in scores[:11]] == result.bits[:11].tolist()
    assert [score.metadata["flagged"] for score in scores[:11]] == (
        (result.p_value[:11] <= 0.1).tolist()
    )
    assert [score.answer for score in scores[:11]] == [str(k) for k in result.prediction[:11]]
    assert scores[0].metadata["terms"] == {name: b[0] for name, b in result.terms.items()}
    assert math.isnan(scores[11].value)
    found = {name.split("/")[-1]: m.value for name, m in log.results.scores[0].metrics.items()}
    assert found["auroc"] == auroc(result.bits[:6], result.bits[6:11])
    assert np.isclose(found["mean"], result.bits[:11].mean())


@pytest.mark.parametrize("metadata", [{}, {"is_anomaly": False}])
def test_inputs_can_be_in_metadata_and_labels_may_lack(saved, tmp_path, metadata):
    from inspect_ai.dataset import Sample

    from mad.adapters.inspect_ai import mechanistic

    directory, detector = saved
    x = [[1, 0, -2, 0, 3], [0, 0, 1, 0, 0]]
    samples = [Sample(input="?", metadata={"x": row, **metadata}) for row in x]
    log = evaluate(samples, mechanistic(str(directory)), tmp_path)
    bits = [next(iter(sample.scores.values())).value for sample in log.samples]
    assert bits == detector.score(np.array(x, dtype=np.float64)).bits.tolist()
    (value,) = (m.value for n, m in log.results.scores[0].metrics.items() if "auroc" in n)
    assert math.isnan(value)


def test_a_log_that_is_there_is_scored_too(saved, tmp_path):
    from inspect_ai import score
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import includes

    from mad.adapters.inspect_ai import mechanistic

    directory, detector = saved
    x = [[1, 0, -2, 0, 3], [0, 0, 1, 0, 0]]
    samples = [Sample(input="?", target="!", metadata={"x": row}) for row in x]
    log = score(evaluate(samples, includes(), tmp_path), mechanistic(str(directory)))
    bits = [sample.scores["mechanistic"].value for sample in log.samples]
    assert bits == detector.score(np.array(x, dtype=np.float64)).bits.tolist()


def test_inspect_is_told_where_the_scorer_is():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())[
        "project"
    ]
    named = project["entry-points"]["inspect_ai"][project["name"]]
    assert callable(importlib.import_module(named).mechanistic)
