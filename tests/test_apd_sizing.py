"""What fits into memory: large targets are worked on in smaller parts, others as ever."""

import pytest
import torch
from problems import make_problem, numbers
from torch import nn

import apd
from apd import batch_sizes, output_gradients
from apd.attribution import rms_attributions
from apd.hooks import capture
from apd.strength import Backward, Projected, strength_of
from apd.training.sizing import memory, numbers_per_input, sized
from apd.training.state import begin


def large() -> tuple[nn.Module, torch.Tensor]:
    """A network of many positions: what a step holds for one input is a good part of the bound."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(3, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 96, 2))
    return network, torch.randn(12, 3, 100)


def test_a_batch_is_cut_to_what_fits_and_no_further(monkeypatch):
    network, x = large()
    target = apd.Target.of(network, x)
    config = apd.Config(components=7)
    each = numbers_per_input(target, 7)
    assert each > 96 * (15 + 8 + 2 * 7)
    assert sized(config, target) == config
    for bound, batch in ((each * 33, 32), (each * 32, 32), (each * 31, 16), (1, 1)):
        monkeypatch.setattr(batch_sizes, "MOST_IN_TRAINING", bound)
        assert sized(config, target).batch_size == batch
    assert sized(config.model_copy(update={"batch_size": 1}), target).batch_size == 1


def test_a_rank_is_cut_to_what_a_component_can_have_at_some_site():
    network, x = large()
    target = apd.Target.of(network, x)
    assert {site.shape for site in target.sites.values()} == {(8, 15), (2, 768)}
    ranks = [sized(apd.Config(components=7, rank=rank), target).rank for rank in (1, 8, 9, 1000)]
    assert ranks == [1, 8, 8, 8]
    whole, cut = (
        apd.decompose(network, x, apd.Config(components=7, steps=3, batch_size=4, rank=rank))
        for rank in (8, 1000)
    )
    assert whole.fingerprint == cut.fingerprint
    assert whole.rows_at_once == cut.rows_at_once


def test_a_target_that_hardly_fits_is_decomposed_in_small_batches(monkeypatch):
    network, x = large()
    monkeypatch.setattr(batch_sizes, "MOST_IN_TRAINING", 2**17)
    run = apd.decompose(network, x, apd.Config(components=7, steps=6))
    assert 1 < run.config.batch_size < 16
    assert len(run.steps) == 2 * 6
    target = run.target
    training = begin(target, run.config)
    assert memory(target, training.components, run.config) < 4 * 2**18


def test_gradients_come_in_as_many_passes_as_it_takes(monkeypatch):
    problem = make_problem("conv-1")
    outputs, captures = capture(problem.target, problem.x)
    whole = rms_attributions(outputs, captures, problem.components)
    monkeypatch.setattr(output_gradients, "MOST_GRADIENTS", 1)
    torch.testing.assert_close(rms_attributions(outputs, captures, problem.components), whole)


@pytest.mark.parametrize(("outputs", "way"), [(64, Backward), (65, Projected)])
def test_many_outputs_are_estimated_where_each_takes_a_pass(outputs, way):
    network = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, outputs))
    x = numbers(7)(3, 4).float()
    target = apd.Target.of(network, x)
    components = begin(target, apd.Config(components=5)).components
    found = strength_of(target, components, x[:1], None)
    assert type(found) is way
    assert strength_of(target, components, x[:1], 3) == Projected(target, 3)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_an_estimate_is_of_the_training_that_follows(steps):
    network, x = large()
    config = apd.Config(components=7, rank=2, steps=steps, batch_size=9)
    found = apd.estimate(network, x, config)
    run = apd.decompose(network, x, config)
    assert found.parameters == 8 * 15 + 2 * 8 * 96
    assert (found.sites, found.steps) == (2, 2 * steps)
    assert found.components == 2 * 7
    assert (found.rank, found.batch_size) == (2, run.config.batch_size)
    assert found.seconds == 2 * steps * found.step_s > 0


def test_memory_is_what_a_batch_takes_and_five_of_what_stays():
    """Weights, biases, and the vectors of four components of a linear layer of six by three."""
    target = apd.Target.of(nn.Linear(6, 3).double(), torch.zeros(2, 6).double())
    config = apd.Config(components=4, batch_size=10)
    components = begin(target, config).components
    less, more = (
        memory(target, components, config.model_copy(update={"batch_size": size}))
        for size in (10, 20)
    )
    of_ten = 10 * numbers_per_input(target, 4) * 8
    assert more - less == of_ten
    assert less - of_ten == 5 * (6 * 3 + 3 + 4 * (6 + 3)) * 8
