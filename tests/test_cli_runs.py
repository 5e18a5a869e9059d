"""Which run is meant where none is named."""

import os
import subprocess
import sys

import pytest
from test_imports import ROOT

import mad
from cli import runs


@pytest.fixture
def two(small_run, tmp_path, monkeypatch):
    """An older and a newer run with their detectors, under ./runs."""
    run, reference = small_run
    detector = mad.Detector.fit(run, reference)
    for age, name in enumerate(("newer", "older")):
        directory = tmp_path / "runs" / name
        run.save(directory)
        detector.save(directory)
        when = 1_700_000_000 - 60 * age
        os.utime(directory / "run.json", (when, when))
    monkeypatch.chdir(tmp_path)
    return detector


def test_the_run_begun_last_is_the_newest_whatever_was_written_into_others_since(two):
    assert runs.newest_ready().name == "newer"
    two.save("runs/older")
    (runs.ROOT / "older" / "report.html").touch()
    assert runs.newest_ready().name == "newer"


def test_runs_begun_at_once_by_two_processes_have_directories_of_their_own():
    code = "from cli import runs; print(runs.fresh('mine'))"
    several = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert len({process.communicate()[0] for process in several}) == 3


def test_what_holds_no_detector_is_none(two):
    (runs.ROOT / "newer" / "detector.safetensors").unlink()
    assert runs.newest_ready().name == "older"
