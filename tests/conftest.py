"""What every test shares: one thread, and whatever has to be trained, trained once."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from problems import NAMES, make_problem, numbers

import apd
import mad
import toys

torch.set_num_threads(1)

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


@pytest.fixture(scope="session", params=NAMES)
def problem(request):
    """Every small target of `problems`, with random components."""
    return make_problem(request.param)


@pytest.fixture(scope="session")
def small_run():
    """A short decomposition of a small target, and its reference."""
    reference = numbers(13)(150, 5)
    config = apd.Config(components=8, steps=20, batch_size=32, seed=3)
    return apd.decompose(make_problem("mlp-1").target, reference, config), reference


@pytest.fixture(scope="session", autouse=True)
def trainings(request, tmp_path_factory):
    """The long trainings, in processes of their own, under way while other tests run.

    Executed annotations would make them five times as long.
    """
    needed = {name for item in request.session.items for name in item.fixturenames}
    processes = {}
    for name, fixture in (("tms-5-2", "tms"), ("digits", "digits")):
        if fixture in needed:
            directory = tmp_path_factory.mktemp(name)
            arguments = [name, LONG[name].model_dump_json(), str(directory)]
            process = subprocess.Popen(
                [sys.executable, "-c", TRAIN, *arguments],
                cwd=request.config.rootpath,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes[name] = process, directory
    yield processes
    for process, _ in processes.values():
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen, directory: Path) -> Trained:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return Trained(toys.load(directory / "toy"), apd.load(directory / "run"))


@pytest.fixture(scope="session")
def tms(trainings):
    """Five features in two dimensions, whose mechanisms are known."""
    return finished(*trainings["tms-5-2"])


@pytest.fixture(scope="session")
def digits(trainings):
    """The digit classifier with a planted backdoor."""
    return finished(*trainings["digits"])


@pytest.fixture(scope="session")
def detector(digits):
    return mad.Detector.fit(digits.run, digits.toy.reference)
