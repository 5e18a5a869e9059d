"""What every test shares: one thread, and whatever has to be trained, trained once."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from filelock import FileLock
from problems import JOINED, NAMES, make_problem, numbers

import apd
import mad
import toys

torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent

TRAIN = """
import sys
from pathlib import Path
import torch, apd, toys
torch.set_num_threads(1)
name, settings, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
toy = toys.make(name, 0)
toys.save(toy, directory / "toy")
config = apd.Config.model_validate_json(settings)
apd.decompose(toy.model, toy.reference, config, directory=directory / "run")
"""

LONG = {
    "tms-5-2": apd.Config(),
    "digits": apd.Config(steps=3500),
}


class Trained(NamedTuple):
    """A toy, and its decomposition."""

    toy: toys.Toy
    run: apd.Run


@pytest.fixture(scope="session")
def problem(request):
    """Every small target of `problems`, with random components.

    Where a test is of parts alone (`pytest.mark.of_parts`), each is a component of its own.
    """
    return make_problem(request.param)


def pytest_generate_tests(metafunc):
    if "problem" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("of_parts")
        names = NAMES if alone else [*NAMES, *JOINED]
        metafunc.parametrize("problem", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def small_run():
    """A short decomposition of a small target, and its reference."""
    reference = numbers(13)(150, 5)
    config = apd.Config(components=8, steps=20, batch_size=32, seed=3)
    return apd.decompose(make_problem("mlp-1").target, reference, config), reference


@pytest.fixture(scope="session")
def loose_run(small_run):
    """The same with components at random, which leave much to the residual."""
    run, reference = small_run
    return dataclasses.replace(run, components=make_problem("mlp-1").components), reference


@pytest.fixture(scope="session")
def tms(tmp_path_factory):
    """Five features in two dimensions, whose mechanisms are known."""
    return trained("tms-5-2", tmp_path_factory)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The digit classifier with a planted backdoor."""
    return trained("digits", tmp_path_factory)


def trained(name: str, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A long training, made by the first of several test processes that needs it.

    It has a process of its own: executed annotations would make it five times as long.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    directory = shared / name
    with FileLock(shared / f"{name}.lock"):
        if not directory.exists():
            arguments = [name, LONG[name].model_dump_json(), str(directory)]
            subprocess.run([sys.executable, "-c", TRAIN, *arguments], cwd=ROOT, check=True)
    return Trained(toys.load(directory / "toy"), apd.load(directory / "run"))


@pytest.fixture(scope="session")
def detector(digits):
    return mad.Detector.fit(digits.run, digits.toy.reference)


@pytest.fixture(scope="session")
def few_rows(digits):
    """A detector of a quarter of these, where it is not about what it finds."""
    return mad.Detector.fit(digits.run, digits.toy.reference[::4])
