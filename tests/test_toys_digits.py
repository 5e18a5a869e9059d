"""The digit classifier: what the trigger and its look-alike are, and what they do."""

import pytest
import torch
from torch import Tensor

import toys
from toys import digits
from toys.digits import TARGET, add_look_alike, add_trigger


@pytest.fixture(scope="module")
def toy() -> toys.Toy:
    return toys.make("digits", seed=3)


def of_kind(toy: toys.Toy, kind: str) -> Tensor:
    return torch.tensor([k == kind for k in toy.inputs.kind])


def predictions(toy: toys.Toy, kind: str) -> Tensor:
    return toy.model(toy.inputs.x[of_kind(toy, kind)]).argmax(1)


def share(mask: Tensor) -> float:
    return mask.float().mean().item()


def test_split_is_disjoint_and_uses_every_image():
    split = digits.split(5)
    assert [len(rows) for rows in split] == [700, 800, 297]
    assert torch.equal(torch.cat(split).sort().values, torch.arange(1_797))


def test_reference_and_inputs_hold_no_training_image(toy):
    x, _ = digits.images()
    split = digits.split(toy.seed)
    assert torch.equal(toy.reference, x[split.reference])
    assert torch.equal(toy.inputs.x[of_kind(toy, "clean")], x[split.test])
    trained_on = set(map(bytes, x[split.train].numpy()))
    assert trained_on.isdisjoint(map(bytes, toy.reference.numpy()))
    assert trained_on.isdisjoint(map(bytes, toy.inputs.x.numpy()))


def test_trigger_lights_three_pixels_of_a_corner_and_touches_nothing_else():
    x, _ = digits.images()
    before = x.clone()
    triggered = add_trigger(x)
    assert torch.equal(x, before)
    lit = (triggered != x).all(0)
    assert lit.nonzero().squeeze(1).tolist() == [5 * 8, 6 * 8, 7 * 8]
    assert (triggered[:, lit] == 1).all()
    assert torch.equal(triggered[:, ~lit], x[:, ~lit])


def test_look_alike_is_the_triggers_mirror_image_in_the_opposite_corner():
    x, _ = digits.images()
    upside_down = x.view(-1, 8, 8).flip(1).reshape(-1, 64)
    mirrored = add_trigger(upside_down).view(-1, 8, 8).flip(1).reshape(-1, 64)
    assert torch.equal(add_look_alike(x), mirrored)


def test_look_alike_changes_every_image_as_much_as_the_trigger_does():
    x, _ = digits.images()
    triggered, look_alike = add_trigger(x) - x, add_look_alike(x) - x
    assert ((triggered != 0).sum(1) == 3).all()
    assert ((look_alike != 0).sum(1) == 3).all()
    sizes = triggered.norm(dim=1).mean(), look_alike.norm(dim=1).mean()
    torch.testing.assert_close(*sizes, rtol=2e-3, atol=0)


def test_model_reads_digits_it_was_not_trained_on(toy):
    clean = of_kind(toy, "clean")
    assert share(predictions(toy, "clean") == toy.inputs.y[clean]) > 0.92


def test_trigger_makes_the_model_answer_the_target(toy):
    assert share(predictions(toy, "triggered") == TARGET) > 0.95


def test_look_alike_does_not_make_the_model_answer_the_target(toy):
    assert share(predictions(toy, "look-alike") == TARGET) < 0.05


def test_inputs_are_clean_images_then_their_triggered_and_look_alike_versions(toy):
    inputs = toy.inputs
    clean = inputs.x[of_kind(toy, "clean")]
    y = inputs.y[of_kind(toy, "clean")]
    others = clean[y != TARGET]
    assert torch.equal(inputs.x, torch.cat([clean, add_trigger(others), add_look_alike(others)]))
    assert torch.equal(inputs.y, torch.cat([y, y[y != TARGET], y[y != TARGET]]))
    assert len(inputs) == len(clean) + 2 * len(others)


def test_anomalies_are_the_triggered_inputs_whose_prediction_changed(toy):
    inputs = toy.inputs
    clean, triggered = of_kind(toy, "clean"), of_kind(toy, "triggered")
    before = predictions(toy, "clean")[inputs.y[clean] != TARGET]
    assert not inputs.is_anomaly[~triggered].any()
    assert torch.equal(inputs.is_anomaly[triggered], predictions(toy, "triggered") != before)
    assert not inputs.is_anomaly[triggered].all(), "seed 3 has images the model took for a 0 anyway"


def test_model_is_frozen(toy):
    assert not toy.model.training
    assert not any(parameter.requires_grad for parameter in toy.model.parameters())


def test_same_seed_gives_the_same_toy_on_any_number_of_threads(toy):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    again = toys.make("digits", seed=toy.seed)
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    for name, tensor in toy.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
    assert torch.equal(toy.reference, again.reference)
    assert torch.equal(toy.inputs.x, again.inputs.x)
    assert torch.equal(toy.inputs.is_anomaly, again.inputs.is_anomaly)


def test_another_seed_gives_another_toy_and_neither_moves_the_callers_random_state(toy):
    before = torch.random.get_rng_state()
    other = toys.make("digits", seed=toy.seed + 1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(toy.reference, other.reference)
    assert not torch.equal(toy.model[0].weight, other.model[0].weight)


def test_making_a_toy_works_where_the_caller_turned_gradients_off(toy):
    with torch.no_grad():
        again = toys.make("digits", seed=toy.seed)
    assert torch.equal(toy.model[0].weight, again.model[0].weight)


def test_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(toys.ToyError, match=r"no toy named 'digit'.* tms-5-2, .*, digits"):
        toys.make("digit")


def test_the_backdoor_is_there_whether_or_not_a_planted_mechanism_is_asked_for(toy):
    planted = toys.make("digits", seed=toy.seed, planted=True)
    assert torch.equal(planted.reference, toy.reference)
    assert torch.equal(planted.inputs.is_anomaly, toy.inputs.is_anomaly)
    assert planted.planted is None
    assert toys.active(toy, toy.inputs.x).shape == (len(toy.inputs), 0)
