"""What every test shares: one thread, and whatever has to be trained, trained once."""

import pytest
import torch
from problems import NAMES, make_problem

import apd
import mad
import toys

torch.set_num_threads(1)


@pytest.fixture(scope="session", params=NAMES)
def problem(request):
    """Every small target of `problems`, with random components."""
    return make_problem(request.param)


@pytest.fixture(scope="session")
def small_run():
    """A short decomposition of a small target, and its reference."""
    mlp = make_problem("mlp-1")
    reference = torch.randn(
        150, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(13)
    )
    config = apd.Config(components=8, steps=40, batch_size=32, seed=3)
    return apd.decompose(mlp.module, reference, config), reference


@pytest.fixture(scope="session")
def tms():
    """The toy whose mechanisms are known: five features in two dimensions."""
    return toys.make("tms-5-2", 0)


@pytest.fixture(scope="session")
def tms_run(tms):
    """The one long training of these tests."""
    config = apd.Config(
        components=20, active=0.25, batch_size=1024, steps=5000, learning_rate=3e-2
    )
    return apd.decompose(tms.model, tms.reference, config)


@pytest.fixture(scope="session")
def digits():
    """The digit classifier with a planted backdoor."""
    return toys.make("digits", 0)


@pytest.fixture(scope="session")
def digits_run(digits):
    return apd.decompose(digits.model, digits.reference, apd.Config(steps=300))


@pytest.fixture(scope="session")
def detector(digits_run, digits):
    return mad.Detector.fit(digits_run, digits.reference)
