"""`decompose` and what a run answers: arrays in, arrays out, row by row."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from problems import (
    Formula,
    Problem,
    make_problem,
    numbers,
    random_components,
    random_mask,
    with_zero_components,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import linear

import apd
import apd.batch_sizes
import apd.decomposition
import mad
from apd import Config, ReferenceError, RunError, TargetError
from apd.checkpoint import Progress, version_there, write_checkpoint
from apd.reference import training_rows
from apd.training.state import begin


@pytest.fixture(scope="module")
def case():
    """A run with components of rank 2 at random, and the oracles' view of it."""
    problem = make_problem("mlp-2")
    config = Config(components=11, rank=2, steps=10, batch_size=16)
    run = apd.decompose(problem.target, numbers(111)(150, 5), config)
    run = dataclasses.replace(run, components=problem.components)
    seen = Problem(problem.module, run.target, run.components, problem.x, problem.chosen)
    return run, seen, oracles.effects(seen)


def close(fast, slow):
    assert fast.dtype == np.float64
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-12)


def test_it_says_how_large_it_is(case):
    run = case[0]
    count = run.components.count
    assert repr(run) == f"<apd.Run of {count} components at {', '.join(run.target.sites)}>"


def test_explaining_the_prediction_takes_each_inputs_largest_output(case):
    run, seen, effects = case
    outputs, attributions, *_ = run.explain(seen.x.numpy(), "predicted")
    plain = oracles.forward(seen.module, seen.x)
    largest = [row.tolist().index(max(row.tolist())) for row in plain]
    assert len(set(largest)) > 1
    close(outputs, plain)
    close(attributions, np.stack([effects[n, :, :, o].sum(0) for n, o in enumerate(largest)]))


@pytest.mark.parametrize("output", [0, 3])
def test_explaining_one_output_is_signed(case, output):
    run, seen, effects = case
    attributions = run.explain(seen.x.numpy(), output)[1]
    close(attributions, effects[..., output].sum(1))
    assert (attributions < 0).any()


def test_explaining_all_outputs_is_their_root_mean_square(case):
    run, seen, effects = case
    attributions = run.explain(seen.x.numpy(), "all")[1]
    close(attributions, oracles.rms_over_outputs(effects.sum(1)))


@pytest.mark.parametrize("output", ["predicted", 3, "all"])
def test_strengths_are_those_over_all_outputs_whichever_is_explained(case, output):
    """By which components are ranked in training."""
    run, seen, effects = case
    strengths = run.explain(seen.x.numpy(), output).strengths
    close(strengths, oracles.rms_over_outputs(effects.sum(1)))


def test_what_comes_in_through_a_coordinate_is_the_derivative_along_it(case):
    """That of the outputs as the coordinate grows in proportion, by a forward derivative."""
    run, seen, _ = case
    slow = torch.stack(
        [
            oracles.derivative(seen.module, seen.x, seen.x * (torch.arange(p) == j))
            for p in seen.x.shape[1:]
            for j in range(p)
        ],
        1,
    ).detach()
    for output in (0, 3):
        close(run.explain(seen.x.numpy(), output).input_effects, slow[..., output])
    found = run.explain(seen.x.numpy(), "predicted")
    largest = torch.from_numpy(found.outputs.argmax(1))
    rows = torch.arange(len(largest))
    close(found.input_effects, slow[rows, :, largest])
    every = run.explain(seen.x.numpy(), "all").input_effects
    close(every, slow.square().mean(2).sqrt())


@pytest.mark.parametrize("output", ["predicted", 3])
def test_attributions_at_positions_add_up_to_those_explained(output):
    problem = make_problem("positions-1")
    config = Config(components=9, steps=4, batch_size=16)
    run = apd.decompose(problem.target, numbers(126)(40, 6, 4), config)
    x = problem.x.numpy()
    outputs, attributions, *_ = run.explain(x, output)
    same, found = run.explain_positions(x, output)
    assert np.array_equal(same, outputs)
    count = run.components.count
    assert {places: part.shape for places, part in found.items()} == {(6,): (5, 6, count)}
    close(found[(6,)].sum(1), attributions)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("output", ["predicted", 1, "all"])
def test_explaining_takes_gradients_whatever_mode_it_is_called_in(case, mode, output):
    run, seen, _ = case
    expected = run.explain(seen.x.numpy(), output)
    with mode():
        found = dataclasses.replace(run).explain(seen.x.numpy(), output)
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, other)


def test_decompositions_in_inference_mode_are_those_outside_of_it():
    expected = resume(None)
    with torch.inference_mode():
        x = numbers(120)(150, 5).clone()
        found = resume(None, x=x)
        apd.estimate(make_problem("mlp-2").module, x, Config(**SETTINGS))
    assert found.fingerprint == expected.fingerprint


@pytest.mark.parametrize("output", ["predicted", "all", 2])
def test_no_inputs_have_no_explanation_of_the_same_widths(small_run, output):
    run, x = small_run
    for none, some in zip(
        run.explain(x[:0].numpy(), output), run.explain(x.numpy(), output), strict=True
    ):
        assert none.shape == (0, *some.shape[1:])


@pytest.mark.parametrize("output", [4, 99, -1])
def test_outputs_that_are_not_there_are_not_explained(small_run, output):
    run, x = small_run
    for ask in (run.explain, run.explain_positions):
        with pytest.raises(TargetError, match=f"no output {output}; the last one is 3"):
            ask(x.numpy(), output)


def test_more_active_components_than_there_are_is_refused():
    with pytest.raises(apd.ConfigError, match="'active': 9 of 8 components are too many"):
        resume(None, components=8, active=9)


def test_a_run_read_in_inference_mode_explains(tmp_path):
    """Its weights are read there too; at multiples of 16 no copy of them is worked with."""
    module = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))
    x = numbers(127)(40, 16).float()
    run = apd.decompose(module, x, Config(components=16, steps=4, batch_size=16))
    run.save(tmp_path / "run")
    with torch.inference_mode():
        found = apd.load(tmp_path / "run").explain(x.numpy(), "all")
    for own, other in zip(found, run.explain(x.numpy(), "all"), strict=True):
        np.testing.assert_array_equal(own, other)


def test_masked_outputs_are_those_of_the_active_components(case):
    run, seen, _ = case
    mask = random_mask(9, run.components.count)
    close(run.masked_outputs(seen.x.numpy(), mask.numpy()), oracles.masked_outputs(seen, mask))


def test_a_mask_may_be_held_in_any_order(case, recwarn):
    run, problem, _ = case
    x = problem.x.numpy()
    mask = random_mask(len(x), problem.components.count).numpy()
    expected = run.masked_outputs(x, mask)
    backwards, fixed = mask[::-1].copy()[::-1], mask.copy()
    fixed.flags.writeable = False
    for other in (backwards, np.asfortranarray(mask), fixed):
        assert np.array_equal(run.masked_outputs(x, other), expected)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["mlp-2", "tms-1", "positions-1", "conv-3", "tokens-3"])
@pytest.mark.parametrize("zero", [(0, 3), (1, 2, 4), range(20)])
def test_components_that_are_zero_contribute_nothing_and_the_others_as_ever(name, zero):
    problem = make_problem(name)
    C = problem.components.count
    problem = with_zero_components(problem, [c for c in zero if c < C])
    rows = torch.arange(2)
    run = apd.Run(
        problem.target, problem.components, 2.0, Config(), rows, rows, "reference", [], {}
    )
    x = problem.x.numpy()
    effects = oracles.effects(problem).sum(1)
    found, (_, at_positions) = run.explain(x, 2), run.explain_positions(x, 2)
    close(found.attributions, effects[..., 2])
    close(found.strengths, effects.square().mean(2).sqrt())
    summed = [part.reshape(len(x), -1, C).sum(1) for part in at_positions.values()]
    close(sum(summed), effects[..., 2])
    mask = random_mask(len(x), C)
    close(run.masked_outputs(x, mask.numpy()), oracles.masked_outputs(problem, mask))


@pytest.mark.parametrize("left_out", [(), (2, 5), tuple(range(11))])
def test_outputs_on_components_are_those_of_a_mask_that_all_inputs_share(case, left_out):
    run, seen, _ = case
    mask = torch.ones(9, run.components.count, dtype=torch.bool)
    mask[:, list(left_out)] = False
    kept = np.flatnonzero(mask[0]).tolist()
    found = run.outputs_on(seen.x.numpy(), kept)
    close(found, oracles.masked_outputs(seen, mask))
    assert run.target_on(kept) is run.target_on(iter(kept))
    assert np.abs(run.explain(seen.x.numpy(), 0)[0] - found).max() > 1e-3
    everything = run.outputs_on(seen.x.numpy(), range(run.components.count))
    assert np.array_equal(found, everything) == (left_out == ())


def test_outputs_on_components_that_are_not_there_are_refused(case):
    run, seen, _ = case
    with pytest.raises(apd.ComponentError, match=f"no component {run.components.count}"):
        run.outputs_on(seen.x.numpy(), [1, run.components.count])


def test_a_run_says_what_it_is(case):
    run, _, _ = case
    assert run.sites == ("0.weight", "2.weight", "4.weight")
    assert run.input_shape == (5,)
    assert 0 < run.active <= run.components.count
    assert run.ranks.shape == (run.components.count,)
    assert run.ranks.max() <= 2 * 3


@pytest.mark.parametrize(("rank", "rows"), [(1, 1024), (100, 256), (10**4, 128)])
def test_the_larger_a_decomposition_the_fewer_rows_at_once(case, rank, rows):
    """Numbers per row: 2 * 11 * rank parts at each of three sites, and 35 between the layers."""
    run = case[0]
    components = random_components(run.target, 11, rank, numbers(112))
    assert dataclasses.replace(run, components=components).rows_at_once == rows


class Readout(nn.Module):
    """A table, a layer on every token and its outputs at the last."""

    def __init__(self, rows, width, outputs):
        super().__init__()
        self.table, self.layer = nn.Embedding(rows, width), nn.Linear(width, outputs)

    def forward(self, x):
        return self.layer(self.table(x).tanh())


def of_tokens(positions: int, rows: int, components: int) -> apd.Run:
    """A run of so many components at random."""
    reference = torch.randint(rows, (9, positions), generator=torch.Generator().manual_seed(3))
    run = apd.decompose(Readout(rows, 12, 6), reference, Config(steps=1, batch_size=2))
    drawn = random_components(run.target, components, 1, numbers(4))
    return dataclasses.replace(run, components=drawn)


@pytest.mark.parametrize(("positions", "rows"), [(5, 1024), (60, 512), (3000, 128)])
def test_the_more_positions_a_target_has_the_fewer_rows_at_once(positions, rows):
    """Numbers per position: 13 and 18 at the two uses, 2 * 5 parts at each of them."""
    assert of_tokens(positions, 9, 5).rows_at_once == rows


def test_a_block_of_rows_fits_into_memory(monkeypatch):
    """90 positions, each of 2 * (2 * 5) parts, 13 + 18 numbers at uses, 12 + 12 + 6 computed."""
    run = of_tokens(90, 9, 5)
    numbers_of_a_row = 90 * (10 + 13 + 10 + 18) + 90 * (12 + 12 + 6) + 6
    for bound, rows in ((256, 256), (255, 128), (16, 16), (1.5, 1), (0.1, 1)):
        monkeypatch.setattr(apd.batch_sizes, "MOST_NUMBERS", int(bound * numbers_of_a_row))
        assert run.rows_at_once == rows


def test_rows_of_a_table_that_no_token_names_take_no_memory():
    assert of_tokens(5, 9000, 5).rows_at_once == of_tokens(5, 9, 5).rows_at_once


def test_a_share_of_the_reference_is_trained_on_and_the_rest_is_unseen(case):
    run, _, _ = case
    x = numbers(111)(150, 5).numpy()
    rows = run.rows.tolist()
    assert len(rows) == len(set(rows)) == round(0.4 * 150)
    assert rows == sorted(rows)
    assert run.unseen_rows(x).tolist() == [n for n in range(150) if n not in rows]


def test_only_the_rows_named_are_trained_on(case):
    x = numbers(111)(150, 5)
    run = apd.decompose(make_problem("mlp-2").target, x, case[0].config)
    changed = x.clone()
    changed[run.unseen_rows(x.numpy())] = 7.0
    again = apd.decompose(make_problem("mlp-2").target, changed, run.config)
    assert torch.equal(again.rows, run.rows)
    for a, b in zip(run.components.tensors(), again.components.tensors(), strict=True):
        assert torch.equal(a, b)


def test_rows_trained_on_are_known_wherever_they_are(case):
    """In another order, fewer of them, or among others."""
    run, _, _ = case
    x, trained_on = numbers(111)(150, 5).numpy(), set(run.rows.tolist())
    for rows in (range(149, -1, -1), range(40, 90), [7]):
        unseen = [k for k, row in enumerate(rows) if row not in trained_on]
        assert run.unseen_rows(x[rows]).tolist() == unseen
    assert run.unseen_rows(x + 1e-9).tolist() == list(range(150))
    assert run.unseen_rows(x[:0]).tolist() == []
    more = np.concatenate([numbers(112)(20, 5).numpy(), x])
    unseen = [n for n in range(170) if n - 20 not in trained_on]
    assert run.unseen_rows(more).tolist() == unseen


def test_of_equal_rows_as_many_are_unseen_as_were_not_trained_on():
    """Each of three inputs is left as often as it is in the reference and was not trained on."""
    kinds = torch.tensor([0, 1, 2] * 10)
    x = numbers(113)(3, 5)[kinds]
    run = apd.decompose(make_problem("mlp-2").target, x, Config(components=3, steps=2))
    for order in (torch.arange(30), torch.arange(29, -1, -1)):
        unseen = kinds[order][run.unseen_rows(x[order].numpy())]
        left = kinds.bincount() - kinds[run.rows].bincount(minlength=3)
        assert torch.equal(unseen.bincount(minlength=3), left)


def test_zeros_of_either_sign_are_the_same_row():
    x = numbers(122)(40, 5)
    x[:, 2] = 0
    run = apd.decompose(make_problem("mlp-2").target, x, Config(components=3, steps=2))
    x[:, 2] = -0.0
    unseen = run.unseen_rows(x.numpy())
    assert sorted([*unseen.tolist(), *run.rows.tolist()]) == list(range(40))


def test_settings_name_sites_of_what_is_data_as_well():
    target, x = make_problem("mlp-1").target, numbers(123)(60, 5)
    config = Config(components=4, steps=3, sites=("*", "!2.weight"))
    whole = apd.decompose(target, x, config)
    part = apd.decompose(apd.Target.of(make_problem("mlp-1").module, x, ["[24].*"]), x, config)
    assert [list(run.target.sites) for run in (whole, part)] == [
        ["0.weight", "4.weight"],
        ["4.weight"],
    ]
    with pytest.raises(TargetError, match=r"leave nothing of 4\.weight"):
        apd.decompose(part.target, x, Config(sites=("0.*",)))


@pytest.mark.parametrize(("n", "share", "count"), [(7, 0.29, 2), (100, 0.29, 29), (10, 0.5, 5)])
def test_the_share_is_rounded(n, share, count):
    assert len(training_rows(n, Config(decompose=share))) == count


def test_arrays_and_tensors_are_the_same_reference(small_run):
    run, x = small_run
    other = apd.decompose(make_problem("mlp-1").target, x.numpy(), run.config)
    assert other.fingerprint == run.fingerprint
    assert other.reference_fingerprint == run.reference_fingerprint


def test_a_module_can_be_decomposed_as_well_as_its_target(small_run):
    run, x = small_run
    assert apd.decompose(make_problem("mlp-1").module, x, run.config).fingerprint == run.fingerprint


def test_decomposing_leaves_the_module_and_the_global_random_state_alone():
    module, x = make_problem("mlp-1").module, numbers(112)(60, 5)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    apd.decompose(module, x, Config(components=4, steps=5))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["tms-1", "positions-1"])
def test_other_targets_decompose_faithfully(name):
    problem = make_problem(name)
    settings = {"components": 12, "active": 8.0, "rank": 3, "simplicity": 0.0}
    config = Config(steps=60, batch_size=16, learning_rate=0.05, **settings)
    run = apd.decompose(problem.target, numbers(113)(80, *problem.x.shape[1:]), config)
    assert run.steps[-1].faithfulness < 0.35 * run.steps[0].faithfulness
    assert run.steps[-1].minimality < 0.1  # of what no components leave


# --- several inputs, chosen outputs -----------------------------------------------------------


class Weighed(nn.Module):
    """Tokens weighed by numbers of their own, logits at every one of them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.layer = nn.Embedding(13, 4), nn.Linear(4, 3)

    def forward(self, tokens, weights):
        h = (self.table(tokens) * weights[..., None]).cumsum(1)
        return {"logits": self.layer(h), "hidden": h}


def weighed(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    weights = rng.normal(size=(n, 5)).astype(np.float32)
    return {"tokens": rng.integers(13, size=(n, 5)), "weights": weights}


@pytest.fixture(scope="module")
def named():
    config = Config(components=9, steps=4, batch_size=16, output="logits[2]")
    return apd.decompose(Weighed(), weighed(120), config)


def test_a_network_of_several_inputs_is_decomposed(named):
    x, module = weighed(7), Weighed()
    expected = module(*(torch.from_numpy(array) for array in x.values()))["logits"][:, 2]
    outputs, attributions, *_ = named.explain(named.pack(x), "predicted")
    np.testing.assert_allclose(outputs, expected.detach(), rtol=1e-5, atol=1e-6)
    assert attributions.shape == (7, named.components.count)
    assert named.input_shape == (10,)


def test_rows_of_several_inputs_that_were_trained_on_are_known(named):
    x = named.pack(weighed(120))
    assert named.unseen_rows(x).tolist() == [n for n in range(120) if n not in named.rows]
    detector = mad.Detector.fit(named, x)
    whole, some = detector.score(x), detector.score(x[30:50])
    assert np.array_equal(some.bits, whole.bits[30:50])
    assert np.isfinite(whole.bits).all()


def test_a_saved_run_of_several_inputs_is_the_same(named, tmp_path):
    named.save(tmp_path / "run")
    again, x = apd.load(tmp_path / "run"), weighed(7)
    assert again.fingerprint == named.fingerprint
    assert np.array_equal(again.pack(x), named.pack(x))
    assert np.array_equal(
        again.explain(again.pack(x), "all")[1], named.explain(named.pack(x), "all")[1]
    )


def test_inputs_without_names_are_no_inputs_by_name(case):
    with pytest.raises(TargetError, match="takes one input, which has no name"):
        case[0].pack({"x": np.zeros((3, 5))})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": np.full((120, 5), np.nan, np.float32)}, "weights holds NaN or infinity in r"),
        ({"tokens": np.zeros((1, 5), np.int64)}, "tokens has too few inputs"),
        ({"tokens": np.zeros((119, 5), np.int64)}, "there are 119 of tokens, 120 of weights"),
        ({"tokens": np.full((120, 5), 13)}, "fails on tokens"),
    ],
)
def test_a_reference_of_several_inputs_is_refused_by_their_names(change, said):
    with pytest.raises(apd.ApdError, match=said):
        apd.decompose(Weighed(), weighed(120) | change, Config(steps=1, output="logits"))


# --- what is refused ------------------------------------------------------------------------


def refused(error, x) -> str:
    module = make_problem("mlp-1").module
    with pytest.raises(error) as caught:
        apd.decompose(module, x, Config(components=4, steps=5, batch_size=8))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_that_are_not_finite_are_named():
    x = numbers(114)(60, 5)
    x[7, 2], x[31, 0] = float("nan"), float("-inf")
    assert refused(ReferenceError, x).endswith("in rows 7, 31")
    x[10:40] = float("nan")
    assert refused(ReferenceError, x).endswith("7, 10, 11, 12, 13, 14, 15, 16, 17, 18, ...")


def test_rows_of_which_the_network_makes_no_numbers_are_named():
    x = numbers(114)(60, 5)
    x[7], x[31] = 1e308, -1e308
    said = refused(ReferenceError, x)
    assert "out of the range of its numbers" in said
    assert said.endswith("in rows 7, 31")


@pytest.mark.parametrize("n", [0, 1])
def test_a_reference_without_inputs_enough_is_refused(n):
    assert "too few inputs" in refused(ReferenceError, numbers(115)(n, 5))


@pytest.mark.parametrize(("n", "trained_on"), [(2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (7, 3)])
def test_the_smallest_references_decompose(n, trained_on):
    """One row has no variance to measure the outputs by, so it is two at least."""
    config = Config(components=4, steps=5, batch_size=8)
    run = apd.decompose(make_problem("mlp-1").target, numbers(116)(n, 5), config)
    assert len(run.rows) == trained_on
    assert all(tensor.isfinite().all() for tensor in run.components.tensors())


@pytest.mark.parametrize("layer", ["outputs", "weights"])
def test_nothing_to_decompose_is_refused_and_not_nan(layer):
    """Outputs that never vary, or weights of zero, leave no scale to measure a loss by."""
    draw = numbers(117)
    W = torch.zeros(4, 5, dtype=torch.float64) if layer == "weights" else draw(4, 5)
    scale = 0 if layer == "outputs" else 1
    module = Formula(
        lambda net, x: scale * linear(x, net.W) + net.b + (1 - scale) * 0, W=W, b=draw(4)
    )
    with pytest.raises(apd.ApdError):
        apd.decompose(module, draw(60, 5), Config(components=4, steps=5))


def test_inputs_of_another_precision_are_taken_as_the_targets():
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    x = numbers(118)(60, 5)
    config = Config(components=4, steps=5, batch_size=8)
    run = apd.decompose(module, x, config)
    assert run.target.dtype == torch.float32
    assert run.fingerprint == apd.decompose(module, x.float(), config).fingerprint


def test_integers_are_no_reference_for_floats():
    message = refused(TargetError, torch.ones(60, 5, dtype=torch.int64))
    assert "int64" in message or "Long" in message


def test_releasing_the_penalty_all_at_once_trains():
    x = numbers(119)(60, 5)
    config = Config(components=4, steps=10, release_start=0.6, release_end=0.6)
    run = apd.decompose(make_problem("mlp-1").target, x, config)
    assert all(tensor.isfinite().all() for tensor in run.components.tensors())


# --- interruption ---------------------------------------------------------------------------


class StopError(Exception):
    pass


def counted(step) -> int:
    """Its number among the steps of all weights of "mlp-2"."""
    return 20 * list(make_problem("mlp-2").target.sites).index(step.site) + step.step


def interrupted_at(last: int):
    def progress(step):
        if counted(step) == last:
            raise StopError

    return progress


SETTINGS = {"components": 8, "rank": 2, "steps": 20, "batch_size": 32, "seed": 3}


@pytest.fixture(scope="module")
def uninterrupted():
    return apd.decompose(make_problem("mlp-2").target, numbers(120)(150, 5), Config(**SETTINGS))


def stop_at(last: int, directory: Path, monkeypatch) -> Path:
    """Train until after the checkpoint before that step."""
    monkeypatch.setattr(apd.decomposition, "CHECKPOINT_EVERY_S", -1.0)
    with pytest.raises(StopError):
        apd.decompose(
            make_problem("mlp-2").target,
            numbers(120)(150, 5),
            Config(**SETTINGS),
            directory=directory,
            progress=interrupted_at(last),
        )
    return directory


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A directory in which training stopped early."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return stop_at(4, tmp_path_factory.mktemp("stopped"), monkeypatch)


@pytest.fixture
def halfway(stopped, tmp_path):
    """One's own copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def resume(directory, seen=None, name="mlp-2", x=None, **settings):
    return apd.decompose(
        make_problem(name).target,
        numbers(120)(150, 5) if x is None else x,
        Config(**{**SETTINGS, **settings}),
        directory=directory,
        progress=None if seen is None else lambda step: seen.append(counted(step)),
    )


@pytest.mark.parametrize("stops", [[3], [12], [19], [20], [40], [59], [5, 11, 27, 58]])
def test_an_interrupted_run_ends_as_the_uninterrupted_one(
    uninterrupted, tmp_path, monkeypatch, stops
):
    """Before and after settling at step 12, between weights, at the end, and several times."""
    for last in stops:
        directory = stop_at(last, tmp_path / "run", monkeypatch)
    assert apd.is_unfinished(directory)
    assert not apd.is_run(directory)
    seen = []
    run = resume(directory, seen)
    assert seen == list(range(stops[-1], 60))
    assert run.steps == uninterrupted.steps
    assert run.kinds == uninterrupted.kinds
    assert torch.equal(run.rows, uninterrupted.rows)
    for a, b in zip(run.components.tensors(), uninterrupted.components.tensors(), strict=True):
        assert torch.equal(a, b)
    assert apd.load(directory).fingerprint == uninterrupted.fingerprint
    assert apd.is_run(directory)
    assert not apd.is_unfinished(directory)
    assert not (directory / "checkpoint.safetensors").exists()


def test_of_two_decompositions_in_one_directory_one_goes_on(uninterrupted, halfway, monkeypatch):
    """Whoever comes to write where the other has written stops, and the other ends as ever."""
    monkeypatch.setattr(apd.decomposition, "CHECKPOINT_EVERY_S", -1.0)
    seen, others = [], []

    def meanwhile(step):
        seen.append(counted(step))
        if len(seen) == 3:
            others.append(resume(halfway))

    with pytest.raises(RunError, match="another decomposition is under way in"):
        apd.decompose(
            make_problem("mlp-2").target,
            numbers(120)(150, 5),
            Config(**SETTINGS),
            directory=halfway,
            progress=meanwhile,
        )
    assert len(seen) == 3
    assert apd.load(halfway).fingerprint == others[0].fingerprint == uninterrupted.fingerprint


def test_a_checkpoint_is_one_safetensors_file(halfway):
    assert [path.name for path in halfway.iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("setting 'seed'", {"seed": 4}),
        ("setting 'steps'", {"steps": 80}),
        ("reference", {"x": numbers(121)(150, 5)}),
        ("reference", {"x": numbers(120)(150, 5)[:149]}),
        ("target", {"name": "partial-1"}),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_and_kept(halfway, part, change):
    before = (halfway / "checkpoint.safetensors").read_bytes()
    with pytest.raises(RunError, match=f"only go on with the same {part}"):
        resume(halfway, **change)
    assert (halfway / "checkpoint.safetensors").read_bytes() == before
    assert len(list(halfway.iterdir())) == 1


def test_a_checkpoint_of_another_training_is_refused_and_kept(halfway, monkeypatch):
    before = (halfway / "checkpoint.safetensors").read_bytes()
    monkeypatch.setattr("apd.checkpoint.TRAINING", 10**6)
    with pytest.raises(RunError, match="only go on with the same version of training"):
        resume(halfway)
    assert (halfway / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(halfway, share):
    path = halfway / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors cannot be read"):
        resume(path.parent)


def test_a_checkpoint_of_another_version_is_refused(halfway):
    path = halfway / "checkpoint.safetensors"
    tensors = {k: t.clone() for k, t in load_file(path).items() if k != "attempt"}
    with safe_open(path, "pt") as file:
        save_file(tensors, path, file.metadata())
    with pytest.raises(RunError, match="damaged or of another version"):
        resume(halfway)


def test_components_that_are_no_numbers_are_not_kept(halfway):
    path = halfway / "checkpoint.safetensors"
    before = path.read_bytes()
    target = make_problem("mlp-2").target
    training = begin(target.alone("2.weight"), Config(**SETTINGS))
    next(iter(training.components.tensors())).fill_(torch.nan)
    write_checkpoint(halfway, Progress({}, training, []), {}, version_there(halfway))
    assert path.read_bytes() == before


def test_a_finished_run_is_read_and_one_of_something_else_is_refused_before_training(
    small_run, tmp_path
):
    run, _x = small_run
    seen = []
    done = resume(tmp_path / "done", seen)
    steps = len(seen)
    again = resume(tmp_path / "done", seen)
    assert len(seen) == steps > 0
    assert again.fingerprint == done.fingerprint
    run.save(tmp_path / "other")
    with pytest.raises(RunError, match="other can only go on with the same reference as before"):
        resume(tmp_path / "other", seen)
    assert len(seen) == steps


def test_a_directory_that_cannot_be_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        seen = []
        with pytest.raises(RunError, match="cannot be written"):
            resume(place, seen)
        assert seen == []
    assert (tmp_path / "file").read_text() == "mine"
