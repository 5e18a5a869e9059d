"""Every toy: it can be traced and decomposed, and the command line knows its name."""

import pytest
import torch

import toys
from apd import Target
from cli.toy import NAMES
from toys.toy import Toy

# what has a matrix each, by name and shape
SITES = {
    "tms-5-2": {"W": (2, 5)},
    "tms-40-10": {"W": (10, 40)},
    "tms-5-2-identity": {"W": (2, 5), "H": (2, 2)},
    "tms-40-10-identity": {"W": (10, 40), "H": (10, 10)},
    "compressed-computation": {"blocks.0.W_in": (50, 1000), "blocks.0.W_out": (1000, 50)},
    "cross-layer-2": {
        f"blocks.{i}.{name}": shape
        for i in range(2)
        for name, shape in {"W_in": (25, 1000), "W_out": (1000, 25)}.items()
    },
    "cross-layer-3": {
        f"blocks.{i}.{name}": shape
        for i in range(3)
        for name, shape in {"W_in": (17, 1000), "W_out": (1000, 17)}.items()
    },
    "gated": {"blocks.0.W_in": (40, 6), "blocks.0.W_out": (6, 40)},
    "gated-2": {
        f"blocks.{i}.{name}": shape
        for i in range(2)
        for name, shape in {"W_in": (20, 6), "W_out": (6, 20)}.items()
    },
    "boolean": {"0.weight": (23, 16), "2.weight": (14, 23), "4.weight": (8, 14)},
    "boolean-trained": {"0.weight": (64, 16), "2.weight": (64, 64), "4.weight": (8, 64)},
    "digits": {"0.weight": (64, 64), "2.weight": (32, 64), "4.weight": (10, 32)},
}

INPUTS = {"tms-5": 5, "tms-40": 40, "compressed": 100, "cross": 100, "gated": 5, "boolean": 16}


def width(name: str) -> int:
    """The number of inputs of a toy."""
    return next((n for prefix, n in INPUTS.items() if name.startswith(prefix)), 64)


def test_the_tables_list_the_same_toys():
    assert list(toys.TOYS) == list(NAMES) == list(SITES)


@pytest.mark.parametrize("name", toys.TOYS)
def test_the_network_can_be_traced_and_its_parameters_decomposed(name):
    model = toys.TOYS[name].architecture(0)
    x = torch.rand(6, width(name), generator=torch.Generator().manual_seed(0))
    target = Target.of(model, x[:2], list(SITES[name]))
    assert {site: target.sites[site].shape for site in target.sites} == SITES[name]
    assert set(SITES[name]) == {key for key, p in model.named_parameters() if p.ndim == 2}
    torch.testing.assert_close(target(x), model.requires_grad_(False)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", toys.TOYS)
def test_active_has_a_row_per_input_and_a_zero_input_exercises_nothing(name):
    model = toys.TOYS[name].architecture(3)
    x = torch.zeros(4, width(name))
    toy = Toy(name, 3, model, x, toys.Labelled.clean(x), [])
    found = toys.active(toy, x)
    assert found.dtype == torch.bool
    assert len(found) == 4
    assert not found.any()
