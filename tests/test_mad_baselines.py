"""The Mahalanobis baseline against loops."""

import numpy as np
import oracles

from mad.baselines import Mahalanobis


def test_mahalanobis_is_the_squared_distance_to_the_predicted_classs_mean():
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 3, size=50)  # of four classes, the last has no rows
    features = rng.normal(size=(4, 6))[predicted] + rng.normal(size=(50, 6)) @ rng.normal(
        size=(6, 6)
    )
    means = [features[predicted == k].mean(0) for k in range(3)] + [features.mean(0)]
    deviations = np.stack([row - means[k] for row, k in zip(features, predicted, strict=True)])
    precision = np.linalg.inv(oracles.ledoit_wolf(deviations))

    fresh, classes = rng.normal(size=(9, 6)), np.arange(9) % 4
    slow = [
        (z - means[k]) @ precision @ (z - means[k]) for z, k in zip(fresh, classes, strict=True)
    ]
    fast = Mahalanobis.fit(features, predicted, 4).score(fresh, classes)
    np.testing.assert_allclose(fast, slow, rtol=1e-8)
