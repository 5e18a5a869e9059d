"""What was predicted, and how surely, against a softmax by hand."""

import numpy as np
import oracles
import pytest

from mad.predicted import Predicted


def test_confidence_is_the_largest_softmax_probability():
    outputs = np.random.default_rng(0).normal(size=(9, 5))
    found = Predicted.of(outputs, outputs.argmax(1))
    slow = oracles.predicted(outputs, outputs.argmax(1))
    np.testing.assert_allclose(found.confidence, slow.confidence)
    assert np.array_equal(found.label, outputs.argmax(1))
    assert found.classes == 5


@pytest.mark.parametrize(("gap", "expected"), [(0.0, 0.5), (1e4, 1.0)])
def test_confidence_lies_between_one_over_the_classes_and_one(gap, expected):
    outputs = np.array([[gap, 0]], dtype=np.float32)
    assert Predicted.of(outputs, np.array([0])).confidence == pytest.approx(expected)


def test_of_a_single_output_everything_is_certain():
    outputs = np.random.default_rng(0).normal(size=(7, 1))
    found, alike = Predicted.of(outputs, np.zeros(7, dtype=int)), Predicted.alike(7)
    for one, other in zip(vars(found).values(), vars(alike).values(), strict=True):
        assert np.array_equal(one, other)


def test_confidence_is_that_of_the_largest_output_whatever_the_label():
    outputs = np.array([[10.0, 0, 0]])
    of_another = Predicted.of(outputs, np.array([2]))
    assert of_another.confidence == Predicted.of(outputs, np.array([0])).confidence
    assert of_another.label == 2


def test_rows_are_those_of_the_chosen_inputs():
    outputs = np.random.default_rng(0).normal(size=(9, 5))
    every = Predicted.of(outputs, outputs.argmax(1))
    chosen = np.array([4, 0, 4])
    some, again = every.rows(chosen), Predicted.of(outputs[chosen], outputs[chosen].argmax(1))
    assert np.array_equal(some.label, again.label)
    assert np.array_equal(some.confidence, again.confidence)
    assert some.classes == 5
