"""How k is steered: by the error it leaves, within bounds, phase by phase."""

import math

import pytest

from apd import Config
from apd.training.sparsity import Phase, Sparsity, phase_of, search_steps

CONFIG = Config(steps=1000, search=0.2, batch_size=50)
COMPONENTS = 80
LEAST = 1 / 50  # one pair in a batch


def settled(error: float, phase: Phase, start: float, config: Config = CONFIG, steps: int = 2000):
    """k after many steps at one point of training that leave one error."""
    sparsity = Sparsity(start, start, start, error)
    for _ in range(steps):
        sparsity.steer(phase, COMPONENTS, LEAST, config)
    return sparsity


def test_the_search_comes_first_and_the_shares_are_of_the_rest():
    assert search_steps(CONFIG) == 200
    assert phase_of(0, 200, 0, 1000) == Phase(True, 0, 200)
    assert phase_of(199, 200, 0, 1000) == Phase(True, 199, 200)
    assert phase_of(199, 200, 50, 1000) == Phase(True, 149, 150)  # a second attempt
    assert phase_of(200, 200, 200, 1000) == Phase(False, 0, 800)
    assert phase_of(600, 200, 200, 1000).progress == 0.5
    assert phase_of(650, 200, 300, 1000) == Phase(False, 350, 700)  # a second attempt
    settling = [s for s in range(1000) if phase_of(s, 200, 200, 1000).settles(CONFIG)]
    assert settling == [200 + 480]


@pytest.mark.parametrize("end", [0.6, 1.0])
def test_components_settle_once_also_where_the_release_ends_with_training(end):
    config = Config(release_start=0.3, release_end=end)
    settled = [Phase(False, step, 10).settles(config) for step in range(10)]
    assert settled.index(True) == min(round(10 * end), 9)
    assert settled.count(True) == 1


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_a_search_leaves_steps_to_decompose_in(steps):
    assert search_steps(Config(steps=steps, search=0.99)) == steps - 1


def test_a_given_k_needs_no_search():
    given = Config(steps=1000, active=2.0)
    assert search_steps(given) == 0
    assert phase_of(0, 0, 0, 1000) == Phase(False, 0, 1000)
    assert Sparsity.of(COMPONENTS, given).expected(given) == 2.0


def test_k_falls_where_the_error_is_small_and_rises_where_it_is_large():
    phase = Phase(True, 50, 100)
    assert settled(0.05, phase, 4.0, steps=1).active < 4
    assert settled(0.20, phase, 4.0, steps=1).active > 4
    assert settled(CONFIG.separation, phase, 4.0).active == 4
    assert settled(0.01, phase, 4.0).active == LEAST
    assert settled(0.90, phase, 4.0).active == COMPONENTS / 4


def test_the_decomposition_holds_no_more_than_was_found():
    """An error that more components do not mend must not let in all of them."""
    phase = Phase(False, 50, 100)
    assert settled(0.9, phase, 4.0).active == 4
    assert settled(0.05, phase, 4.0, steps=1).active < 4
    assert settled(0.01, phase, 4.0).active == LEAST
    falling = settled(0.01, phase, 4.0, steps=1)
    before, falling.error = falling.active, 0.2
    falling.steer(phase, COMPONENTS, LEAST, CONFIG)
    assert before < falling.active <= 4


def test_a_plant_that_answers_is_brought_to_the_error_aimed_at():
    """Contributions uniform on [0, 1], the weakest dropped: k of 3 leaves (1 - k / 3)^3."""
    sparsity = Sparsity.of(COMPONENTS, CONFIG)
    for step in range(1000):
        sparsity.steer(Phase(True, step, 1000), COMPONENTS, LEAST, CONFIG)
        sparsity.see(max(0.0, 1 - sparsity.active / 3) ** 3)
    exact = 3 * (1 - CONFIG.separation ** (1 / 3))
    assert sparsity.held == pytest.approx(exact, rel=0.05)
    assert sparsity.expected(CONFIG) == pytest.approx(3, rel=0.1)


def test_the_decomposition_narrows_to_what_the_search_found():
    for step, k in [(0, 20), (120, math.sqrt(20 * 0.8)), (239, 0.8)]:
        found = Sparsity(3.0, 0.8, 0.8, 0.5)
        found.steer(Phase(False, step, 800), COMPONENTS, LEAST, CONFIG)
        assert found.active == pytest.approx(k, rel=0.02)
        assert found.held == 0.8


def test_in_the_end_k_rises_until_the_output_is_exact_or_far_more_is_active_than_expected():
    late = Phase(False, 90, 100)
    assert settled(0.0001, late, 1.0).active == 1
    expected = 1 / (1 - CONFIG.separation ** (1 / 3))
    for config, most in [(CONFIG, 8 * expected), (Config(steps=1000, active=1.0), 8)]:
        raised = settled(0.5, late, 1.0, config)
        assert raised.active == pytest.approx(most)
        assert raised.held == 1
    assert settled(0.5, late, 15.0).active == COMPONENTS / 4


@pytest.mark.parametrize("searching", [True, False])
def test_what_is_not_used_fades_out_in_the_search_and_again_while_k_narrows(searching):
    steps = (0, 75, 150, 299, 300, 301, 999)
    rests = [Phase(searching, step, 1000).rest(CONFIG) for step in steps]
    assert rests == pytest.approx([1, 0.75, 0.5, 1 / 300, 0, 0, 0])
    assert Phase(False, 0, 1000).rest(Config(narrowing=0)) == 0


def test_what_is_not_used_stays_at_random_until_the_very_end_of_the_decomposition():
    steps = (0, 500, 850, 925, 1000)
    config = Config(steps=1000, exact_by=0.85)
    most = [Phase(False, step, 1000).most_staying(config) for step in steps]
    assert most == pytest.approx([1, 1, 1, 0.5, 0])
    assert [Phase(True, step, 1000).most_staying(config) for step in steps] == [1] * 5


def test_a_given_k_is_held_whatever_the_error():
    given = Config(steps=1000, active=3.0)
    assert settled(0.9, Phase(False, 50, 100), 3.0, given).active == 3
    assert settled(0.0, Phase(False, 50, 100), 3.0, given).active == 3


def test_the_error_is_a_running_mean_that_survives_what_is_not_finite():
    sparsity = Sparsity(1.0, 1.0, 1.0, 1.0)
    for _ in range(500):
        sparsity.see(0.2)
    assert sparsity.error == pytest.approx(0.2)
    for broken in (math.inf, math.nan):
        sparsity.see(broken)
        assert math.isfinite(sparsity.error)


def test_the_penalty_waits_for_what_is_explained():
    for error, share in [(1.0, 0.1), (0.2, 0.5), (0.1, 1.0), (0.01, 1.0)]:
        assert Sparsity(1.0, 1.0, 1.0, error).patience(CONFIG) == pytest.approx(share)
