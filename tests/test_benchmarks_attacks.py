"""The attacked classifiers of the detection benchmark: pictures, attacks, anomalies and victims."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

from anomalies import ANOMALIES, FGSM_RADIUS, PGD_RADIUS
from attacks import ATTACKS, TARGET, patch_side
from images import Images, load, split
from victims import TRAININGS, Recipe, Training, hidden, matching, victim

SHARE = 0.05
COVERED = ("source-specific", "blend", "warp")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def parts():
    return split(load(None), 100)


@pytest.fixture(params=[8, 28])
def pictures(request, parts):
    """Pictures of either side: the digits, and the digits enlarged."""
    images = parts.training.images[:, None]
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


@pytest.mark.parametrize(
    ("name", "pixels"), [("patch", patch_side), ("source-specific", patch_side), ("one-pixel", None)]
)
def test_local_triggers_whiten_a_square_and_touch_nothing_else(name, pixels, pictures):
    triggered = ATTACKS[name](0).trigger(pictures.images)
    changed = (triggered != pictures.images).any(0)
    assert changed.sum() == (pixels(pictures.images) ** 2 if pixels else 1)
    assert (triggered[:, changed] == 1).all()


@pytest.mark.parametrize("name", ["blend", "warp"])
def test_random_patterns_follow_the_seed(name, pictures):
    images = pictures.images[:50]
    once, again, other = (ATTACKS[name](seed).trigger(images) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert touched(once, other).all()


def test_share_of_poisoned_pictures_is_exact(attack, pictures, poisoned):
    count = round(SHARE * len(pictures))
    rows = touched(pictures.images, poisoned.images)
    available = int(attack.poisonable(pictures.labels).sum())
    count = min(count, available // 2)
    covers = rows & ~attack.poisonable(pictures.labels)
    relabelled = poisoned.labels != pictures.labels
    assert (relabelled & ~rows).sum() == 0
    if type(attack).__name__ == "Sinusoid":
        assert rows.sum() == count
        assert not relabelled.any()
    else:
        assert relabelled.sum() == count
        assert (poisoned.labels[relabelled] == TARGET).all()
        assert attack.poisonable(pictures.labels)[relabelled].all()
    assert covers.sum() in (0, count)
