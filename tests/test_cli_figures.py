"""`apd inspect --figures`: what is drawn, which figures a run has, and the files."""

import dataclasses
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import oracles
import pytest
import torch
from matplotlib.figure import Figure
from test_cli_main import assert_one_sentence, call

import apd
import mad
import toys
from apd import Components
from apd.recovery import Losses
from apd.sites import Factors
from cli import plan
from cli.errors import InputError, OutputError
from cli.figures import features, folder, losses, neurons, responses, scrubbed, usage, vectors
from cli.figures.alone import alone
from cli.figures.powers import DEEPEST, bottom, by_powers
from cli.figures.subject import Subject
from cli.figures.svg import svg
from cli.figures.table import FIGURES
from cli.figures.words import LONGEST, words
from cli.figures.written import write_figures
from toys import residual_mlp, superposition

# The toys' references repeat inputs of nothing but zeros, as the inputs do.
pytestmark = pytest.mark.filterwarnings("ignore:.*profiled too:mad.CalibrationWarning")

DEAD, BATCH = 2, 64
SVG = "{http://www.w3.org/2000/svg}"


def superposed(hidden, n):
    """Five features, each a mechanism, in so many dimensions, and inputs of one feature each."""
    model = superposition.TMS(5, hidden).eval().requires_grad_(False)
    angles = 2 * torch.pi * torch.arange(5) / 5
    model.W.copy_(torch.eye(hidden, 5) if hidden > 2 else torch.stack([angles.cos(), angles.sin()]))
    model.b.fill_(-0.35)  # more than the cosine of neighbours, which so do not answer
    generator = torch.Generator().manual_seed(1)
    size = 0.5 + torch.rand(n, 1, generator=generator) / 2
    reference = size * torch.eye(5)[torch.randint(5, (n,), generator=generator)]
    inputs = toys.Labelled.clean(reference[:20])
    return toys.Toy("tms-5-2", 0, model, reference, inputs, superposition.mechanisms(model.W))


def residual(n):
    """Six functions of seven neurons in two blocks, with random weights."""
    model = residual_mlp.architecture(6, 13, [4, 3], seed=0).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    reference = residual_mlp.sample(6, n, generator)
    inputs = toys.Labelled.clean(reference[:20])
    mechanisms = residual_mlp.mechanisms(model)
    return toys.Toy("cross-layer-2", 0, model, reference, inputs, mechanisms)


def perfect(toy, active):
    """A subject whose components are the mechanisms, and two dead ones.

    Args:
        toy: the target and its mechanisms.
        active: how many components an input may use on average.
    """
    config = apd.Config(components=3, steps=1, batch_size=BATCH)
    run = apd.decompose(toy.model, toy.reference, config)
    factors = {
        site: Factors(*(torch.nn.functional.pad(f, (0, 0, 0, 0, 0, DEAD)) for f in both))
        for site, both in oracles.whole(toy.mechanisms).factors.items()
    }
    steps = [apd.Step("W", i, 0.5 / (i + 1), 0.3, 1.0 + i, active) for i in range(7)]
    run = dataclasses.replace(run, components=Components.of(factors), active=active, steps=steps)
    return Subject(run, mad.Detector.fit(run, toy.reference), toy)


@pytest.fixture(scope="module")
def tms():
    return perfect(superposed(2, 1500), 1.0)


@pytest.fixture(scope="module")
def mlp():
    return perfect(residual(900), 2.0)


def texts(figure):
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def axes_of(figure):
    return [axis for axis in figure.axes if axis.axison]


def of_svg(content):
    return ElementTree.fromstring(content)


# --- losses ---------------------------------------------------------------------------------


def test_losses_are_the_records():
    steps = [apd.Step("W", i, 1 / (i + 1), 0.1 + i, 2.0, 3.0 - i / 100) for i in range(50)]
    upper, lower = losses.of_steps(steps).axes
    drawn = {line.get_label(): line for line in upper.lines}
    assert list(drawn) == ["faithfulness", "minimality", "simplicity"]
    for name, line in drawn.items():
        assert list(line.get_xdata()) == [step.step + 1 for step in steps]
        assert list(line.get_ydata()) == [getattr(step, name) for step in steps]
    assert list(lower.lines[0].get_ydata()) == [step.active for step in steps]
    assert upper.get_yscale() == "log"


def test_of_a_long_training_the_last_step_is_drawn_and_not_too_many():
    steps = [apd.Step("W", i, 1.0, 1.0, 1.0, 1.0) for i in range(2 * losses.POINTS + 1)]
    figure = losses.of_steps(steps)
    numbers = figure.axes[0].lines[0].get_xdata()
    assert len(numbers) <= losses.POINTS
    assert numbers[-1] == len(steps)
    assert "one in 3" in figure.axes[1].get_xlabel()


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_losses_that_are_no_ordinary_numbers_are_drawn(value):
    """One step, too: with marks, since a line needs two."""
    steps = [apd.Step("W", 0, value, value, value, 1.0)]
    for more in ([], [apd.Step("W", 1, 0.5, value, 1.0, 1.0)]):
        assert svg(lambda more=more: losses.of_steps([*steps, *more]), "losses")
    assert losses.of_steps(steps).axes[0].lines[0].get_marker() == "o"


# --- vectors --------------------------------------------------------------------------------


def test_every_live_component_has_a_panel_of_an_arrow_per_feature(tms):
    figure = vectors.draw(tms)
    panels = axes_of(figure)
    assert len(panels) == 2 + 5
    weight = tms.run.target.weight("W")
    shown = [weight, weight, *(weight * one for one in torch.eye(5))]
    by_title = {axis.get_title(): axis for axis in panels}
    titles = ["target", "sum of all components", *(f"component {c}" for c in range(5))]
    for title, columns in zip(titles, shown, strict=True):
        (arrows,) = by_title[title].collections
        assert arrows.N == 5
        np.testing.assert_allclose([arrows.U, arrows.V], columns.numpy(), atol=1e-6)


def test_of_too_many_components_the_smallest_are_left_out_and_it_says_so():
    weight = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    components = Components.of({"W": Factors(torch.ones(40, 1, 2), torch.ones(40, 1, 5))})
    figure = vectors.arrows(weight, components, list(range(40)))
    assert len(axes_of(figure)) == vectors.PANELS
    assert f"{40 - vectors.PANELS + 2} smaller ones are not drawn" in texts(figure)


def test_in_more_dimensions_cosines_are_shown():
    subject = perfect(superposed(5, 300), 1.0)
    (image,) = vectors.draw(subject).axes[0].images
    np.testing.assert_allclose(image.get_array(), np.eye(5), atol=1e-6)


# --- neurons --------------------------------------------------------------------------------


def test_neuron_contributions_are_read_times_write(mlp):
    """By the formula of the paper, with explicit weights and loops."""
    model, run = mlp.toy.model, mlp.run
    found = neurons.of_target(model)
    ours = neurons.of_components(model, run.components, [1, 0, 2, 3, 4, 4])
    for i, c in enumerate([1, 0, 2, 3, 4, 4]):
        weights = run.components.component(c)
        neuron = 0
        for b, block in enumerate(model.blocks):
            for h in range(len(block.W_in)):
                whole = (block.W_in @ model.W_E[i])[h] * (model.W_U[i] @ block.W_out)[h]
                w_in, w_out = weights[f"blocks.{b}.W_in"], weights[f"blocks.{b}.W_out"]
                part = (w_in @ model.W_E[i])[h] * (model.W_U[i] @ w_out)[h]
                torch.testing.assert_close(found[i, neuron], whole)
                torch.testing.assert_close(ours[i, neuron], part, atol=1e-6, rtol=1e-4)
                neuron += 1


def test_every_pair_of_feature_and_neuron_is_a_dot_and_a_cell(mlp):
    figure = neurons.draw(mlp)
    dots = figure.axes[0].collections[0].get_offsets()
    assert dots.shape == (6 * 7, 2)
    target, ours = (axis.images[0].get_array() for axis in figure.axes[1:3])
    assert target.shape == ours.shape == (7, 6)
    np.testing.assert_allclose(dots, np.stack([target.T.flatten(), ours.T.flatten()], 1))
    np.testing.assert_allclose(target, ours, atol=1e-5)  # mechanisms as they are
    assert "correlation 1.000" in texts(figure)


# --- scrubbed -------------------------------------------------------------------------------


def counted(figure):
    """By name, how many inputs are in the bins and how many are said to be below them."""
    found = {}
    for stairs in figure.axes[0].patches:
        name, _, rest = stairs.get_label().partition(":")
        words = rest.replace(";", " ").split()
        below = int(words[words.index("inputs") - 1]) if "below" in words else 0
        found[name] = int(stairs.get_data().values.sum()), below
    return found


def test_every_input_is_in_a_bin_or_said_to_be_below(tms):
    for name, (inside, below) in counted(scrubbed.draw(tms)).items():
        assert inside + below == len(tms.x), name


def test_bins_hold_what_they_are_given():
    values = torch.logspace(-6, 0, 40)
    some = torch.cat([torch.zeros(10), values])
    figure = scrubbed.histograms(Losses(some, some * 2, some * 3, torch.zeros(50)), 3, 1.0)
    assert counted(figure) == {
        "sparse": (40, 10),
        "scrubbed": (40, 10),
        "anti-scrubbed": (40, 10),
        "adversarial": (0, 50),
    }
    nothing = torch.zeros(4)
    empty = scrubbed.histograms(Losses(nothing, nothing, nothing, nothing), 1, 0.0)
    assert set(counted(empty).values()) == {(0, 4)}


def test_only_the_active_components_are_missed(tms):
    found = scrubbed.losses_of(tms, 1)
    torch.testing.assert_close(found.sparse, tms.sparse_losses)
    for loss in (found.sparse, found.scrubbed, found.adversarial):
        assert float(loss.max()) < 1e-10
    torch.testing.assert_close(found.anti_scrubbed, tms.run.target(tms.x).square().mean(1))


# --- features -------------------------------------------------------------------------------


def test_alone_is_with_no_other():
    exercised = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    expected = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    assert torch.equal(alone(exercised), expected)
    always = exercised.any(1, keepdim=True)
    with_layer = torch.cat([exercised, always], 1)
    assert torch.equal(alone(with_layer)[:, :3], expected)
    assert not alone(with_layer)[:, 3].any()
    assert torch.equal(alone(always), always)
    assert alone(exercised[:, :0]).shape == (4, 0)


def test_each_mechanism_has_its_own_inputs_loss_and_components():
    generator = torch.Generator().manual_seed(0)
    alone = torch.eye(3, dtype=torch.bool)[torch.randint(3, (60,), generator=generator)]
    alone[:, 1] = False
    values = torch.rand(60, generator=generator) + 0.1
    counts = torch.randint(4, (60,), generator=generator)
    figure = features.by_mechanism(values, counts, alone)
    upper, lower = figure.axes
    means, numbers = upper.lines[0], lower.lines[0]
    assert list(means.get_xdata()) == list(numbers.get_xdata()) == [0, 2]
    for place, i in enumerate([0, 2]):
        own = [n for n in range(60) if alone[n, i]]
        mean = sum(float(values[n]) for n in own) / len(own)
        assert means.get_ydata()[place] == pytest.approx(mean)
        count = sum(int(counts[n]) for n in own) / len(own)
        assert numbers.get_ydata()[place] == pytest.approx(count)
    assert "2 of 3 mechanisms" in texts(figure)
    assert upper.get_yscale() == "log"


def test_no_loss_at_all_is_drawn_at_zero():
    alone = torch.eye(2, dtype=torch.bool).repeat(3, 1)
    upper = features.by_mechanism(torch.zeros(6), torch.ones(6), alone).axes[0]
    assert upper.lines[0].get_ydata().tolist() == [0, 0]
    assert upper.get_ylim()[0] < 0 < upper.get_ylim()[1]


# --- responses ------------------------------------------------------------------------------


def test_the_response_is_the_active_components_and_flat_without_the_matched_one(tms):
    figure = responses.draw(tms)
    panels = axes_of(figure)
    assert len(panels) == 5
    for feature, axis in enumerate(panels):
        target, active, ablated = (np.asarray(line.get_ydata()) for line in axis.lines)
        x = torch.zeros(responses.POINTS, 5)
        x[:, feature] = torch.linspace(0, 1, responses.POINTS)
        np.testing.assert_allclose(target, tms.toy.model(x)[:, feature], atol=1e-6)
        np.testing.assert_allclose(active, target, atol=1e-6)
        np.testing.assert_allclose(ablated, target[0], atol=1e-6)
        assert target[-1] == pytest.approx(0.65, abs=1e-5)
        assert f"feature {feature}\nactive: {feature}; matched: {feature}" == axis.get_title()


def test_what_a_residual_stream_carries_stays_without_the_component(mlp):
    """Mechanism i holds what reads input i and what writes output i; embeddings meet themselves."""
    found = responses.response(mlp, 2)
    assert found.matched == 2
    np.testing.assert_allclose(found.ablated, torch.linspace(0, 1, responses.POINTS), atol=1e-5)
    assert float((found.target - found.ablated).abs().max()) > 1e-3


def test_only_a_few_components_are_named():
    assert responses.few([]) == "none"
    assert responses.few([4, 5, 6]) == "4, 5, 6"
    assert responses.few([4, 5, 6, 7, 8]) == "4, 5, 6 and 2 more"


# --- usage ----------------------------------------------------------------------------------


def test_live_components_are_sorted_by_use(tms):
    figure = usage.draw(tms)
    upper, lower = figure.axes[:2]
    rates = upper.patches[0].get_data().values
    assert rates.tolist() == sorted(tms.detector.rates[:5].tolist(), reverse=True)
    table = lower.images[0].get_array()
    named = [int(tick.get_text()) for tick in lower.get_xticklabels()]
    assert sorted(named) == list(range(5))
    parts = [tms.run.components.component(c)["W"] for c in named]
    expected = [float(part.norm() / tms.run.target.weight("W").norm()) for part in parts]
    np.testing.assert_allclose(table, [expected], rtol=1e-5)
    assert "5 live components of 7" in texts(figure)


def test_hostile_and_many_site_names_are_drawn_as_they_read():
    names = ["$\\frac{1$.weight", "a$b$c", "<script>&\x00\x1b[31m", "层" * 90, *map(str, range(40))]
    shares = {name: np.array([0.5, 0.25]) for name in names}
    content = svg(lambda: usage.of_rates([3, 1], np.array([0.5, 0.1]), shares, 4), "usage")
    shown = " ".join(of_svg(content).itertext())
    assert "$\\frac{1$.weight" in shown
    assert "a$b$c" in shown
    assert "<script>&\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31m" in shown
    assert f"{len(names) - usage.SITES} more sites" in shown
    assert len(words("x" * 1000)) == LONGEST


# --- axes -----------------------------------------------------------------------------------


def test_zero_has_a_place_on_axes_of_powers():
    values = np.array([0.0, 1e-30, 1e-3, 1.0])
    assert bottom(values) == DEEPEST
    assert bottom(values[2:]) == 1e-3
    assert bottom(np.array([0.0, np.nan])) == 0
    axis = Figure().subplots()
    by_powers(axis, values, bottom(values))
    assert axis.get_yscale() == "symlog"
    assert axis.get_ylim()[0] < 0


# --- which, and the files -------------------------------------------------------------------


def names_of(subject):
    return {name for name, entry in FIGURES.items() if entry.missing(subject) is None}


def test_a_run_has_the_figures_that_apply(tms, mlp):
    always = {"losses", "scrubbed", "usage"}
    assert names_of(tms) == always | {"vectors", "features", "responses"}
    assert names_of(mlp) == always | {"neurons", "features", "responses"}
    assert names_of(dataclasses.replace(tms, toy=None)) == always
    unknown = dataclasses.replace(tms.toy, name="digits", mechanisms=[])
    reasons = {n: FIGURES[n].missing(dataclasses.replace(mlp, toy=unknown)) for n in FIGURES}
    assert {name for name, why in reasons.items() if why is None} == always


def test_without_live_components_losses_are_left(tms):
    zeros = {s: Factors(*(f * 0 for f in both)) for s, both in tms.run.components.factors.items()}
    run = dataclasses.replace(tms.run, components=Components.of(zeros))
    found = names_of(dataclasses.replace(tms, run=run))
    assert "losses" in found
    assert not found & {"scrubbed", "usage"}
    for name in found:
        assert svg(lambda name=name: FIGURES[name].draw(Subject(run, tms.detector, tms.toy)), name)


def test_files_are_small_white_and_text(tms, mlp, tmp_path):
    for subject in (tms, mlp):
        said = write_figures(subject, tmp_path / "new" / "figures")
        assert list(said) == [f"{name}.svg" for name in FIGURES]
        for file, what in said.items():
            if not what.startswith("written"):
                assert "does not apply: the target is no " in what
                continue
            content = (tmp_path / "new" / "figures" / file).read_bytes()
            assert len(content) < 300_000
            assert b"<dc:date>" not in content
            tree = of_svg(content)
            assert any(node.text and node.text.strip() for node in tree.iter(f"{SVG}text"))
            assert "fill: #ffffff" in ElementTree.tostring(tree, encoding="unicode")
    assert "not of this run" in said["vectors.svg"]
    assert {path.suffix for path in (tmp_path / "new" / "figures").iterdir()} == {".svg"}


@pytest.mark.parametrize("name", ["neurons", "features", "scrubbed"])
def test_the_same_run_gives_the_same_bytes(mlp, name):
    """With nothing kept from the first time, and with a picture inside."""
    first, second = (
        svg(lambda subject=subject: FIGURES[name].draw(subject), name)
        for subject in (mlp, dataclasses.replace(mlp))
    )
    assert first == second


def test_the_users_own_style_changes_nothing(tms):
    plain = svg(lambda: losses.draw(tms), "losses")
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red"}):
        assert svg(lambda: losses.draw(tms), "losses") == plain
        assert matplotlib.rcParams["axes.facecolor"] == "red"


def test_nothing_is_left_where_files_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "there").write_text("a file")
    with pytest.raises(InputError, match="there is a file"):
        folder.check(tmp_path / "there" / "below", [])
    (tmp_path / "full" / "losses.svg").mkdir(parents=True)
    with pytest.raises(InputError, match=r"losses\.svg is a directory"):
        folder.check(tmp_path / "full", ["losses.svg"])
    folder.check(tmp_path / "new" / "er", ["losses.svg"])
    with pytest.raises(OutputError, match="cannot be written"):
        folder.write({"a.svg": b"a", "b" * 300: b"b"}, tmp_path / "new" / "er")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "there"]
    monkeypatch.setattr("cli.figures.folder.os.access", lambda *_: False)
    with pytest.raises(InputError, match="not yours to write to"):
        folder.check(tmp_path, [])


@pytest.fixture
def finished(tms, tmp_path):
    """A run directory as `apd train` leaves it, and its toy."""
    toys.save(tms.toy, tmp_path / "toy")
    tms.run.save(tmp_path / "run")
    tms.detector.save(tmp_path / "run")
    plan.record(plan.Plan(target=str(tmp_path / "toy")), tmp_path / "run")
    return tmp_path


def test_the_command_says_what_it_wrote_and_what_not(finished, monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, finished, "inspect", "run", "--figures", "figures")
    assert code == 0
    written = sorted(path.name for path in (finished / "figures").iterdir())
    expected = ["features", "losses", "responses", "scrubbed", "usage", "vectors"]
    assert written == [f"{name}.svg" for name in expected]
    lines = out.partition("\nFigures\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == [f"{name}.svg" for name in FIGURES]
    for line in lines:
        assert f"figures/{line.split()[0]}" in line or "does not apply: the target is no" in line
    assert "written" not in call(monkeypatch, capsys, finished, "inspect", "run")[1]


def test_the_command_refuses_before_it_shows_anything(finished, monkeypatch, capsys):
    (finished / "taken").write_text("mine")
    code, out, err = call(monkeypatch, capsys, finished, "inspect", "run", "--figures", "taken")
    assert (code, out) == (1, "")
    assert_one_sentence(err, "taken", "directory")
    assert (finished / "taken").read_text() == "mine"


def test_without_matplotlib_it_says_how_to_install_it(finished, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith(("matplotlib", "cli.figures"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = call(monkeypatch, capsys, finished, "inspect", "run", "--figures", "figures")
    assert (code, out) == (1, "")
    assert_one_sentence(err, "pip install matplotlib")
    assert not (finished / "figures").exists()
    code, out, _ = call(monkeypatch, capsys, finished, "inspect", "run")
    assert code == 0
