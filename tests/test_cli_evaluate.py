"""`apd evaluate`: scikit-learn's metrics of the detector's bits, and baselines beside them."""

import json
import zipfile

import numpy as np
import pytest
import torch
from problems import numbers
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from test_cli_inputs import header_of
from test_cli_main import assert_one_sentence, call
from torch import nn

import apd
import mad
from cli.evaluate import BASELINES, METRICS
from cli.observation import observed

TERMS = {
    *("mask_bits", "description_length", "attribution_bits", "input_bits"),
    *("output_bits", "residual_bits"),
}


@pytest.fixture(scope="module")
def saved(small_run, tmp_path_factory):
    """A run directory, and inputs of two kinds in a file beside it."""
    run, reference = small_run
    detector = mad.Detector.fit(run, reference)
    directory = tmp_path_factory.mktemp("evaluated")
    run.save(directory / "run")
    detector.save(directory / "run")
    x = np.concatenate([numbers(21)(60, 5), 1.6 * numbers(22)(25, 5)])
    x[7, 1] = np.inf
    odd = np.arange(len(x)) >= 60
    np.savez(directory / "inputs.npz", x=x, is_anomaly=odd, z=odd.astype(float), none=0 * odd)
    return directory, detector, x, odd


@pytest.fixture
def evaluate(saved, monkeypatch, capsys):
    def run(*arguments: object, file: str = "inputs.npz") -> tuple[int, str, str]:
        given = ("evaluate", file, "--run", "run", *arguments)
        return call(monkeypatch, capsys, saved[0], *given)

    return run


def test_metrics_are_scikit_learns_of_the_same_bits(evaluate, saved):
    _, detector, x, odd = saved
    code, out, err = evaluate("--json", "--alpha", "0.1")
    assert code == 0
    assert_one_sentence(err, "warning", "1 row")
    said = json.loads(out)
    result = detector.score(x)
    finite = result.finite
    truth = odd[finite]
    scores = {"bits": result.bits[finite], **{n: b[finite] for n, b in result.terms.items()}}
    for name, values in scores.items():
        fpr, tpr, _ = roc_curve(truth, values, drop_intermediate=False)
        expected = (
            roc_auc_score(truth, values),
            average_precision_score(truth, values),
            tpr[fpr <= 0.01].max(),
            tpr[fpr <= 0.001].max(),
            fpr[tpr >= 0.95].min(),
        )
        for metric, value in zip(METRICS, expected, strict=True):
            estimate = said["scores"][name][metric]
            assert estimate["value"] == pytest.approx(value, abs=1e-12)
            assert estimate["low"] <= value <= estimate["high"]
    assert (said["clean"], said["anomalies"], said["not_scored"]) == (59, 25, 1)
    flagged = (result.p_value <= 0.1)[finite]
    assert said["anomalies_flagged"] == flagged[truth].sum() > 0
    assert said["clean_flagged"] == flagged[~truth].sum()


def test_baselines_are_beside_and_know_the_profiled_inputs(evaluate, saved):
    _, detector, x, odd = saved
    scores = json.loads(evaluate("--labels", "z", "--json")[1])["scores"]
    assert set(scores) > {"bits", *TERMS}
    finite = np.isfinite(x).all(1)
    run = detector.decomposition
    outputs = run.target(run.target.prepare(x[finite])).numpy()
    energy = -np.log(np.exp(outputs).sum(1))
    assert scores["energy"]["auroc"]["value"] == pytest.approx(roc_auc_score(odd[finite], energy))
    seen = observed(run, x[finite])
    density = mad.baselines.BASELINES["input_density"](observed(run, detector.profiled))
    assert scores["input_density"]["auroc"]["value"] == pytest.approx(
        roc_auc_score(odd[finite], density.score(seen))
    )


def test_a_table_for_people_and_nothing_where_it_is_to_be_quiet(evaluate):
    code, out, _ = evaluate()
    assert code == 0
    assert all(head in out for head in METRICS.values())
    assert "25 anomalies, 59 others" in out
    assert evaluate("--quiet")[:2] == (0, "")


def test_kinds_of_inputs_are_told_apart(evaluate, saved):
    directory, detector, x, odd = saved
    kinds = np.where(odd, "odd", np.where(np.arange(len(x)) < 20, "early", "late"))
    np.savez(directory / "kinds.npz", x=x, is_anomaly=odd, kind=kinds)
    _, out, _ = evaluate("--alpha", "0.1", file="kinds.npz")
    flagged = detector.score(x).flagged(0.1)
    for kind, count in {"early": 19, "late": 40, "odd": 25}.items():
        line = next(line for line in out.splitlines() if line.startswith(f"flagged, {kind}"))
        assert line.split()[-3:] == [str(flagged[kinds == kind].sum()), "of", str(count)]
    assert "flagged, " not in evaluate()[1]
    for strange in (kinds.astype(object), kinds[1:], odd):
        np.savez(directory / "kinds.npz", x=x, is_anomaly=odd, kind=strange)
        code, out, _ = evaluate(file="kinds.npz")
        assert code == 0
        assert "flagged, " not in out
    np.savez(directory / "kinds.npz", x=x, is_anomaly=odd)
    with zipfile.ZipFile(directory / "kinds.npz", "a") as file:
        file.writestr("kind", "no array")
    assert evaluate(file="kinds.npz")[0] == 0
    for shape in ("(2L, 3", "(10000000000000000000000000000000,)"):
        np.savez(directory / "kinds.npz", x=x, is_anomaly=odd)
        header_of(shape)(directory / "other.npz")
        with zipfile.ZipFile(directory / "other.npz") as other:
            content = other.read("x.npy")
        with zipfile.ZipFile(directory / "kinds.npz", "a") as file:
            file.writestr("kind.npy", content)
        assert evaluate(file="kinds.npz")[0] == 0


def test_kinds_are_shown_as_what_can_be_printed(evaluate, saved):
    """They are any text, which a terminal would take for orders."""
    directory, _, x, odd = saved
    kinds = np.where(odd, "odd\x1b[2J\x07\rflagged  0\n\u202eodd", "plain 直 é")
    np.savez(directory / "kinds.npz", x=x, is_anomaly=odd, kind=kinds)
    _, out, _ = evaluate(file="kinds.npz")
    lines = [line for line in out.split("\n") if line.startswith("flagged, ")]
    assert [line.rpartition("  ")[0].rstrip() for line in lines] == [
        r"flagged, odd\x1b[2J\x07\rflagged  0\n\u202eodd",
        "flagged, plain 直 é",
    ]
    assert all(c.isprintable() or c == "\n" for c in out)


@pytest.mark.parametrize("width", [1, 12, 13])
def test_no_terminal_is_too_narrow(evaluate, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert evaluate()[0] == 0


def test_where_nothing_can_be_scored_it_says_so(evaluate, saved):
    directory, _, x, odd = saved
    np.savez(directory / "lost.npz", x=np.full_like(x, np.nan), is_anomaly=odd)
    code, _, err = evaluate(file="lost.npz")
    assert code == 1
    assert_one_sentence(err, "no input of lost.npz could be scored")


@pytest.mark.parametrize(("width", "metrics"), [(40, 1), (50, 2), (80, 5), (200, 5)])
def test_scores_keep_their_names_in_a_narrow_terminal(evaluate, monkeypatch, width, metrics):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = evaluate()
    table, _, hidden = out.partition("\n\n")[2].partition("Not shown: ")
    head, *rows = table.splitlines()
    assert max(map(len, (head, *rows))) <= width
    assert head.startswith("score")
    names = list(METRICS.values())
    assert [name for name in names if name in head] == names[:metrics]
    assert hidden == (f"{', '.join(names[metrics:])}.\n" if metrics < len(names) else "")
    assert all(f"\n{name}" in out for name in TERMS)
    firsts = [row.split(" ")[0] for row in rows if not row.startswith(" ")]
    parts = {part for name in BASELINES for part in name.split("_")}
    assert parts <= {part for first in firsts for part in first.split("_")}


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("nope", ["nope", "is_anomaly"]),
        ("x", ["0 or 1", "--labels"]),
        ("none", ["is clean by 'none'"]),
    ],
)
def test_labels_that_say_nothing_are_refused(evaluate, labels, words):
    code, _, err = evaluate("--labels", labels)
    assert code == 1
    assert_one_sentence(err.splitlines(keepends=True)[-1], "inputs.npz", *words)


def test_as_many_labels_as_inputs(saved, tmp_path, monkeypatch, capsys):
    directory, _, x, odd = saved
    np.savez(tmp_path / "short.npz", x=x, is_anomaly=odd[:-1])
    given = ("evaluate", "short.npz", "--run", directory / "run")
    code, _, err = call(monkeypatch, capsys, tmp_path, *given)
    assert code == 1
    assert_one_sentence(err, "85 inputs", "84 labels")


def test_what_is_observed_is_what_a_network_does():
    """Hidden layers as weights meet them, and gradients of the predicted output."""
    torch.manual_seed(0)
    first, last = nn.Linear(6, 9), nn.Linear(9, 4)
    model = nn.Sequential(first, nn.ReLU(), last).double()
    reference = numbers(3)(150, 6)
    config = apd.Config(components=4, steps=1, batch_size=32)
    seen = observed(apd.decompose(model, reference, config), reference[:70].numpy())
    x = reference[:70].clone().requires_grad_()
    hidden = first(x).relu()
    hidden.retain_grad()
    outputs = last(hidden)
    outputs.max(1).values.sum().backward()
    torch.testing.assert_close(torch.from_numpy(seen.outputs), outputs.detach())
    assert seen.prediction.tolist() == outputs.argmax(1).tolist()
    (layer,), (effects,) = seen.activations, seen.neuron_effects
    torch.testing.assert_close(torch.from_numpy(layer), hidden.detach())
    torch.testing.assert_close(torch.from_numpy(effects), (hidden * hidden.grad).detach())
    torch.testing.assert_close(torch.from_numpy(seen.input_gradient), x.grad)


def test_an_input_that_two_weights_read_is_no_hidden_layer():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.value, self.head = (nn.Linear(*s) for s in ((6, 5), (6, 5), (5, 4)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.gate(x).sigmoid() * self.value(x))

    x = numbers(3)(150, 6)
    config = apd.Config(components=4, steps=1, batch_size=32)
    seen = observed(apd.decompose(Gated().double(), x, config), x[:9].numpy())
    assert [layer.shape for layer in seen.activations] == [(9, 5)]


def test_tokens_have_no_gradient_and_a_single_layer_no_hidden_one():
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(11, 6), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(x).mean(1))

    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 11, (150, 4), generator=generator)
    config = apd.Config(components=4, steps=1, batch_size=32)
    seen = observed(apd.decompose(Bag(), tokens, config), tokens[:9].numpy())
    assert not seen.input_gradient.any()
    assert seen.activations[0].shape == (9, 6)
    x = numbers(3)(150, 6)
    alone = observed(apd.decompose(nn.Linear(6, 3).double(), x, config), x[:9].numpy())
    assert np.array_equal(alone.activations[0], alone.inputs)


def test_the_array_named_is_evaluated(saved, tmp_path, monkeypatch, capsys):
    directory, detector, _, odd = saved
    arrays = {"x": numbers(23)(85, 5).numpy(), "other": numbers(24)(85, 5).numpy()}
    np.savez(tmp_path / "two.npz", is_anomaly=odd, **arrays)
    found = {}
    for key in arrays:
        given = ("evaluate", "two.npz", "--run", directory / "run", "--key", key, "--json")
        said = json.loads(call(monkeypatch, capsys, tmp_path, *given)[1])
        found[key] = said["scores"]["bits"]["auroc"]["value"]
    assert found == {
        key: pytest.approx(roc_auc_score(odd, detector.score(x).bits)) for key, x in arrays.items()
    }
    assert found["x"] != found["other"]


def test_an_alpha_that_flags_nothing_is_warned_of(evaluate):
    code, _, err = evaluate("--alpha", "0.0001")
    assert code == 0
    assert "nothing can be flagged at alpha 0.0001" in err
    assert "it takes 9,999 calibration inputs" in err  # 1 / (9,999 + 1) = 0.0001
    assert "nothing can be flagged" not in evaluate("--alpha", "0.1")[2]
