"""Every example from beginning to end, decomposing in a few steps."""

import re
import runpy
import sys
from pathlib import Path

import pytest

import apd

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DECOMPOSING = ("cnn_images", "digits_backdoor", "tabular_regressor", "transformer_sequences")


@pytest.mark.filterwarnings("ignore:.*calibrated inputs are profiled too")  # of sequences, so it is
@pytest.mark.parametrize("name", DECOMPOSING)
def test_an_example_prints_its_figures(name, monkeypatch, capsys):
    """With components that have hardly begun, so that these say nothing but are there."""
    decompose = apd.decompose

    def briefly(network, reference, config):
        return decompose(network, reference, config.model_copy(update={"steps": 20}))

    monkeypatch.setattr("apd.decompose", briefly)
    monkeypatch.setattr(sys, "argv", [name, "--seeds", "5"])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert "seed 5" in out
    assert "AUROC" in out
    assert len(re.findall(r"\b\d\.\d{2,}", out)) >= 3
    assert "nan" not in out
