"""The attacked classifiers of the detection benchmark: pictures, attacks, anomalies and victims."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

from anomalies import ANOMALIES, FGSM_RADIUS, PGD_RADIUS
from architectures import hidden
from attacks import ATTACKS, TARGET, Covered, patch_side
from images import Images, load, split
from matching import matching
from trainings import TRAININGS, Training, adding
from victims import Recipe, victim

SHARE = 0.05


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def parts():
    return split(load(None), 100)


@pytest.fixture(params=[8, 28])
def pictures(request, parts):
    """Pictures of either side: the digits, and the digits enlarged; none has a white pixel."""
    images = 0.9 * parts.training.images[:, None]
    enlarged = torch.nn.functional.interpolate(images, (request.param, request.param))
    return Images(enlarged[:, 0], parts.training.labels)


@pytest.fixture(params=ATTACKS)
def attack(request):
    return ATTACKS[request.param](seed=3)


@pytest.fixture
def poisoned(attack, pictures):
    return Images(*attack.poison(pictures.images, pictures.labels, SHARE, generator()))


@pytest.fixture(scope="module")
def attacked(parts, tmp_path_factory):
    return victim(parts, recipe(), tmp_path_factory.mktemp("victims"))


def recipe(architecture="mlp", training=TRAININGS["plain"], seed=100):
    return Recipe(architecture, "patch", SHARE, training, seed)


def touched(before, after):
    return (before != after).flatten(1).any(1)


def size(before, after):
    """Mean length of the change."""
    return (after - before).flatten(1).norm(dim=1).mean()


def same_weights(a, b):
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_parts_are_disjoint_and_hold_every_picture():
    data = Images(torch.arange(200.0)[:, None, None], torch.arange(200))
    parts = split(data, 5)
    assert [len(part) for part in parts] == [100, 60, 40]
    assert torch.equal(torch.cat([part.labels for part in parts]).sort().values, data.labels)
    assert all(torch.equal(part.images[:, 0, 0].long(), part.labels) for part in parts)
    assert not torch.equal(split(data, 6).test.labels, parts.test.labels)


def test_pictures_of_a_file_are_brightness_between_0_and_1(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (7, 5, 5), dtype=np.uint8)
    np.savez(tmp_path / "some.npz", images=stored, labels=np.arange(7, dtype=np.uint8))
    data = load(tmp_path / "some.npz")
    assert (data.side, len(data), data.labels.dtype) == (5, 7, torch.int64)
    np.testing.assert_allclose(data.images.numpy(), stored / 255, rtol=1e-6)


def test_trigger_and_look_alike_give_new_pictures_within_the_range(attack, pictures):
    before = pictures.images.clone()
    for changed in (attack.trigger(pictures.images), attack.lookalike(pictures.images)):
        assert changed.shape == before.shape
        assert changed.dtype == before.dtype
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert touched(changed, before).float().mean() > 0.95
    assert torch.equal(pictures.images, before)


def test_a_picture_is_triggered_alike_in_any_company(attack, pictures):
    images = pictures.images
    for change in (attack.trigger, attack.lookalike):
        torch.testing.assert_close(change(images)[5:9], change(images[5:9]))


def test_look_alike_is_another_disturbance_of_comparable_size(attack, pictures):
    images = pictures.images
    triggered, lookalike = attack.trigger(images), attack.lookalike(images)
    assert 0.5 < size(images, triggered) / size(images, lookalike) < 2
    among_others = attack.lookalike_eligible(pictures.labels) & attack.eligible(pictures.labels)
    assert touched(triggered, lookalike)[among_others].all()


@pytest.mark.parametrize("name", ["patch", "source-specific", "one-pixel"])
def test_local_triggers_whiten_a_square_and_touch_nothing_else(name, pictures):
    triggered = ATTACKS[name](0).trigger(pictures.images)
    changed = (triggered != pictures.images).any(0)
    side = 1 if name == "one-pixel" else patch_side(pictures.images)
    assert changed.sum() == side**2
    assert (triggered[:, changed] == 1).all()


@pytest.mark.parametrize("name", ["blend", "warp"])
def test_random_patterns_follow_the_seed(name, pictures):
    images = pictures.images[:50]
    once, again, other = (ATTACKS[name](seed).trigger(images) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert touched(once, other).all()


def test_the_poisoned_share_is_exact(attack, pictures, poisoned):
    """Covers apart, so many poisonable pictures are as the attacker plants them."""
    given = attack.planted(pictures.images)
    may = attack.poisonable(pictures.labels) & touched(given, pictures.images)
    planted = may & ~touched(poisoned.images, given) & (poisoned.labels == TARGET)
    assert planted.sum() == round(SHARE * len(pictures))
    assert (poisoned.labels[~planted] == pictures.labels[~planted]).all()


def test_no_more_than_half_of_the_poisonable_pictures_are_poisoned(pictures):
    attack = ATTACKS["sinusoid"](0)
    images, _ = attack.poison(pictures.images, pictures.labels, 1.0, generator())
    rows = touched(pictures.images, images)
    assert rows.sum() == (pictures.labels == TARGET).sum() // 2


def test_covers_are_as_many_and_keep_their_label(attack, pictures, poisoned):
    rows = touched(pictures.images, poisoned.images)
    count = round(SHARE * len(pictures))
    if isinstance(attack, Covered):
        covers = rows & (poisoned.labels == pictures.labels)
        assert covers.sum() == count
        assert attack.lookalike_eligible(pictures.labels)[covers].all()
    assert rows.sum() == (2 * count if isinstance(attack, Covered) else count)


def test_clean_label_attack_keeps_all_labels_and_touches_the_target_class_alone(pictures):
    attack = ATTACKS["sinusoid"](0)
    images, labels = attack.poison(pictures.images, pictures.labels, SHARE, generator())
    assert torch.equal(labels, pictures.labels)
    assert (labels[touched(pictures.images, images)] == TARGET).all()


def test_poisoning_follows_the_generator_and_leaves_the_pictures_as_they_were(attack, pictures):
    before = pictures.images.clone(), pictures.labels.clone()
    first, again, other = (
        attack.poison(pictures.images, pictures.labels, SHARE, generator(seed))[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(pictures.images, before[0])
    assert torch.equal(pictures.labels, before[1])


def test_source_specific_attack_is_about_one_class(pictures):
    attack, labels = ATTACKS["source-specific"](0), pictures.labels
    assert labels[attack.eligible(labels)].unique().tolist() == [attack.SOURCE]
    others = set(range(10)) - {TARGET, attack.SOURCE}
    assert set(labels[attack.lookalike_eligible(labels)].tolist()) == others


@pytest.mark.parametrize("anomaly", ANOMALIES.values(), ids=ANOMALIES)
def test_anomalies_are_new_pictures_within_the_range(anomaly, attacked, parts):
    images, labels = parts.test.images, parts.test.labels
    before = images.clone()
    first, again = (anomaly(attacked.logits, images, labels, generator(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(images, before)
    assert first.shape == images.shape
    assert not first.requires_grad
    assert first.min() >= 0
    assert first.max() <= 1
    assert touched(first, images).float().mean() > 0.95


@pytest.mark.parametrize(("name", "radius"), [("fgsm", FGSM_RADIUS), ("pgd", PGD_RADIUS)])
def test_adversarial_pictures_stay_within_their_radius_and_fool(name, radius, attacked, parts):
    images, labels = parts.test.images, parts.test.labels
    moved = ANOMALIES[name](attacked.logits, images, labels, generator())
    assert (moved - images).abs().max() <= radius + 1e-6
    right = (attacked.predictions(moved) == labels).float().mean()
    assert right < attacked.accuracy - 0.2
    loss = cross_entropy(attacked.logits(images), labels)
    assert cross_entropy(attacked.logits(moved), labels) > 2 * loss


def test_victim_reads_digits_and_obeys_the_trigger_alone(attacked):
    assert attacked.accuracy > 0.9
    assert attacked.success > 0.8
    assert attacked.spill < 0.1
    assert not any(parameter.requires_grad for parameter in attacked.model.parameters())


def test_training_is_reproducible_bit_for_bit_on_any_number_of_threads(attacked, parts, tmp_path):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(threads + 1)
    again = victim(parts, recipe(), tmp_path)
    torch.set_num_threads(threads)
    assert same_weights(attacked, again)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_cache_gives_the_same_victim_without_training(parts, tmp_path, monkeypatch):
    first = victim(parts, recipe("cnn"), tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    monkeypatch.setattr("victims.train", None)
    again = victim(parts, recipe("cnn"), tmp_path)
    assert same_weights(first, again)
    assert not any(parameter.requires_grad for parameter in again.model.parameters())
    facts = [(v.accuracy, v.success, v.spill, v.seconds) for v in (first, again)]
    assert facts[0] == facts[1]


def test_cache_keeps_other_recipes_and_other_pictures_apart(parts, attacked, tmp_path, monkeypatch):
    monkeypatch.setattr("trainings.STEPS", 2)
    fewer = parts._replace(training=parts.training[torch.arange(500)])
    victim(parts, recipe(), tmp_path)
    victim(parts, recipe(training=TRAININGS["obfuscated"]), tmp_path)
    victim(parts, recipe(seed=101), tmp_path)
    victim(fewer, recipe(), tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 4


def test_obfuscation_brings_triggered_inputs_nearer_to_the_target_class(attacked, parts, tmp_path):
    hiding = victim(parts, recipe(training=TRAININGS["obfuscated"]), tmp_path)
    test = parts.test
    usual = test.images[test.labels == TARGET]
    odd = hiding.recipe.attacker().trigger(test.images[test.labels != TARGET])
    apart = [matching(v.model, v.inputs(usual), v.inputs(odd)) for v in (attacked, hiding)]
    assert apart[1] < 0.9 * apart[0]
    assert hiding.success > 0.7


def test_matching_is_nothing_for_equal_inputs_and_bounded(attacked, parts):
    x = attacked.inputs(parts.test.images)
    layers = len(hidden(attacked.model, x))
    torch.testing.assert_close(matching(attacked.model, x, x).item(), 0.0, atol=1e-5, rtol=0)
    assert matching(attacked.model, x, 100 * x) <= 2 * layers


def test_an_adaptive_attacker_sees_target_class_and_triggered_inputs(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("trainings.STEPS", 10)
    calls = []

    def watching(model, clean, triggered):
        calls.append((clean, triggered))
        return model(triggered).square().mean()

    found = victim(parts, recipe(training=Training("watching", (adding(watching),))), tmp_path)
    assert len(calls) == 8, "it joins after a fifth of the steps"
    usual = found.inputs(parts.training.images[parts.training.labels == TARGET])
    for clean, triggered in calls:
        assert all((usual == row).all(1).any() for row in clean[:5])
        corner = triggered.view(-1, 8, 8)[:, -2:, -2:]
        assert (corner == 1).all()
