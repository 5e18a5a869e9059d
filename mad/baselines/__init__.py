"""What a mechanistic score has to beat: classical detectors, from what a network shows of itself.

    fitted = BASELINES["mahalanobis_last_layer"](seen_of_reference)    # both are `Observed`
    fitted.score(seen)                                                 # higher = more anomalous

Most rows of `BASELINES` are a statistic of some `features`; an input's score depends on the fitted
row and that input alone. The rows of `OFFLINE` look at the whole batch that they score: they cannot
be calibrated on other inputs, nor score one input.

    observed              what is seen of a network
    features              matrices made of it: layers, inputs, gradient times input or activation
    baseline              what a row is; a statistic of features
    confidence            softmax probability of the likeliest class
    energy                log-sum-exp of the logits
    logit_norm            their norm, two-sided
    mahalanobis           distance to the predicted class, one covariance
    class_mahalanobis     one covariance per class
    relative_mahalanobis  less the distance to all classes together
    typicality            the statistic of attribution bits, two-sided: the controls
    principal             any statistic, of principal components
    nearest_neighbours    distance to the k-th nearest reference input
    local_outlier_factor  density beside the neighbours'
    isolation_forest      random cuts
    gram                  products of pairs of neurons (Beatrix)
    ted                   rank of the predicted class in every layer
    spectral_signatures   offline: the batch's widest direction
    quantum_entropy       offline: where the batch varies more than the reference (QUE)
    classes, covariance   what several of them share
"""

from __future__ import annotations

from functools import partial

from mad.baselines import features
from mad.baselines.baseline import Baseline, FitBaseline, FitStatistic, OfFeatures, Statistic
from mad.baselines.class_mahalanobis import ClassMahalanobis
from mad.baselines.confidence import Confidence
from mad.baselines.energy import Energy
from mad.baselines.gram import Gram
from mad.baselines.isolation_forest import IsolationForest
from mad.baselines.local_outlier_factor import LocalOutlierFactor
from mad.baselines.logit_norm import LogitNorm
from mad.baselines.mahalanobis import Mahalanobis
from mad.baselines.nearest_neighbours import NearestNeighbours
from mad.baselines.observed import Observed
from mad.baselines.principal import Principal
from mad.baselines.quantum_entropy import QuantumEntropy
from mad.baselines.relative_mahalanobis import RelativeMahalanobis
from mad.baselines.spectral_signatures import SpectralSignatures
from mad.baselines.ted import Ted
from mad.baselines.typicality import Typicality
from mad.predicted import Predicted


def of(matrix: features.Features, fit: FitStatistic) -> FitBaseline:
    """A row: how to fit a statistic of some features."""
    return partial(OfFeatures.fit, matrix, fit)


BASELINES: dict[str, FitBaseline] = {
    "confidence": Confidence.fit,
    "energy": Energy.fit,
    "logit_norm": LogitNorm.fit,
    "mahalanobis_first_layer": of(features.first_layer, Mahalanobis.fit),
    "mahalanobis_last_layer": of(features.last_layer, Mahalanobis.fit),
    "mahalanobis_all_layers": of(features.all_layers, Mahalanobis.fit),
    "mahalanobis_input_effects": of(features.input_effects, Mahalanobis.fit),
    "mahalanobis_neuron_effects": of(features.neuron_effects, Mahalanobis.fit),
    "class_mahalanobis_first_layer": of(features.first_layer, ClassMahalanobis.fit),
    "class_mahalanobis_last_layer": of(features.last_layer, ClassMahalanobis.fit),
    "class_mahalanobis_all_layers": of(features.all_layers, ClassMahalanobis.fit),
    "class_mahalanobis_input_effects": of(features.input_effects, ClassMahalanobis.fit),
    "class_mahalanobis_neuron_effects": of(features.neuron_effects, ClassMahalanobis.fit),
    "relative_mahalanobis_last_layer": of(features.last_layer, RelativeMahalanobis.fit),
    "nearest_neighbours_last_layer": of(features.last_layer, NearestNeighbours.fit),
    "local_outlier_factor_last_layer": of(features.last_layer, LocalOutlierFactor.fit),
    "isolation_forest_last_layer": of(features.last_layer, IsolationForest.fit),
    "gram_last_layer": of(features.last_layer, Gram.fit),
    "ted": Ted.fit,
    "input_density": of(features.inputs, partial(Principal.fit, ClassMahalanobis.fit)),
    "typicality_inputs": of(features.inputs, partial(Principal.fit, Typicality.fit)),
    "typicality_first_layer": of(features.first_layer, Typicality.fit),
    "typicality_last_layer": of(features.last_layer, Typicality.fit),
    "typicality_all_layers": of(features.all_layers, Typicality.fit),
    "typicality_input_effects": of(features.input_effects, Typicality.fit),
    "typicality_neuron_effects": of(features.neuron_effects, Typicality.fit),
}

OFFLINE: dict[str, FitBaseline] = {
    "spectral_signatures_last_layer": of(features.last_layer, SpectralSignatures.fit),
    "quantum_entropy_last_layer": of(features.last_layer, QuantumEntropy.fit),
}

__all__ = [
    "BASELINES",
    "OFFLINE",
    "Baseline",
    "ClassMahalanobis",
    "Confidence",
    "Energy",
    "FitBaseline",
    "FitStatistic",
    "Gram",
    "IsolationForest",
    "LocalOutlierFactor",
    "LogitNorm",
    "Mahalanobis",
    "NearestNeighbours",
    "Observed",
    "OfFeatures",
    "Predicted",
    "Principal",
    "QuantumEntropy",
    "RelativeMahalanobis",
    "SpectralSignatures",
    "Statistic",
    "Ted",
    "Typicality",
    "features",
]
