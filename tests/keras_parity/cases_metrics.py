"""Every metric class of keras.metrics, and metrics of a user's own."""

from __future__ import annotations

import keras
import numpy as np
from cases import TO_TWO, Case, chain, compiled, noise, one_hot, uniform, whole
from keras import layers, metrics, ops

SIGNS = np.sign(noise(2, seed=1))
BITS = (SIGNS + 1) / 2
POSITIVE = uniform(2, low=0.1, high=2.0, seed=1)
WEIGHTS = uniform(low=0.2, high=2.0, seed=5)


def measuring(units, activation, loss, *names, weighted=False, **options):
    """Builds a model with metrics. names: those of their classes. options: their arguments, by name."""

    def build():
        made = [getattr(metrics, name)(**options.get(name, {})) for name in names]
        return chain(
            (4,),
            layers.Dense(6, activation="tanh"),
            layers.Dense(units, activation=activation),
            loss=loss,
            **{"weighted_metrics" if weighted else "metrics": made},
        )

    return build


def of_numbers(*names, targets=TO_TWO, activation=None, weights=None, **options):
    build = measuring(2, activation, "mse", *names, weighted=weights is not None, **options)
    return build, (noise(4), targets) + (() if weights is None else (weights,))


def of_bits(*names, weights=None, **options):
    build = measuring(2, "sigmoid", "binary_crossentropy", *names, weighted=weights is not None, **options)
    return build, (noise(4), BITS) + (() if weights is None else (weights,))


def of_classes(*names, sparse=False, **options):
    loss = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"
    return measuring(3, "softmax", loss, *names, **options), (noise(4), whole(3) if sparse else one_hot(3))


class Largest(metrics.Metric):
    """A metric with memory of a user's own."""

    def __init__(self):
        super().__init__(name="largest")
        self.value = self.add_weight(shape=(), initializer="zeros", name="value")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.value.assign(ops.maximum(self.value, ops.max(ops.abs(y_true - y_pred))))

    def result(self):
        return ops.convert_to_tensor(self.value)


def spread(y_true, y_pred):
    return ops.std(y_true - y_pred)


def own():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    return compiled(model, metrics=[spread, Largest(), metrics.MeanMetricWrapper(spread, name="wrapped"), "mae"])


class Tracking(layers.Layer):
    """A layer that keeps a metric of what goes through it."""

    def __init__(self):
        super().__init__()
        self.total, self.mean = metrics.Sum(name="total"), metrics.Mean(name="size")

    def call(self, inputs):
        self.total.update_state(inputs)
        self.mean.update_state(ops.mean(ops.abs(inputs), axis=-1))
        return inputs


def tracked():
    return chain((4,), layers.Dense(3, activation="tanh"), Tracking(), layers.Dense(2))


def overlapping(kind, units, activation, loss, **options):
    return lambda: chain(
        (4,), layers.Dense(units, activation=activation), loss=loss, metrics=[getattr(metrics, kind)(**options)]
    )


CASES = [
    Case(
        "errors of numbers",
        *of_numbers(
            "MeanSquaredError",
            "MeanAbsoluteError",
            "RootMeanSquaredError",
            "LogCoshError",
            "CosineSimilarity",
        ),
        evaluates=True,
    ),
    Case("hinges", *of_numbers("Hinge", "SquaredHinge", targets=SIGNS)),
    Case("R2Score", *of_numbers("R2Score"), evaluates=True),
    Case("R2Score, weighted", *of_numbers("R2Score", weights=WEIGHTS)),
    Case("correlations", *of_numbers("PearsonCorrelation", "ConcordanceCorrelation")),
    Case(
        "errors of positive numbers",
        *of_numbers(
            "MeanAbsolutePercentageError",
            "MeanSquaredLogarithmicError",
            "Poisson",
            targets=POSITIVE,
            activation="softplus",
        ),
    ),
    Case("AUC", *of_bits("AUC", AUC={"num_thresholds": 50}), evaluates=True),
    Case("AUC of labels", *of_bits("AUC", AUC={"multi_label": True, "num_labels": 2, "curve": "PR"})),
    Case("AUC, weighted", *of_bits("AUC", weights=WEIGHTS)),
    Case("precision and recall", *of_bits("Precision", "Recall", Precision={"thresholds": [0.4, 0.6]})),
    Case(
        "counts of hits",
        *of_bits(
            "TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives", "BinaryAccuracy", weights=WEIGHTS
        ),
    ),
    Case(
        "one at a given other",
        *of_bits(
            "SensitivityAtSpecificity",
            "SpecificityAtSensitivity",
            "PrecisionAtRecall",
            "RecallAtPrecision",
            SensitivityAtSpecificity={"specificity": 0.5, "num_thresholds": 20},
            SpecificityAtSensitivity={"sensitivity": 0.5, "num_thresholds": 20},
            PrecisionAtRecall={"recall": 0.5, "num_thresholds": 20},
            RecallAtPrecision={"precision": 0.5, "num_thresholds": 20},
        ),
    ),
    Case("F1Score", *of_classes("F1Score", F1Score={"average": "macro"}), evaluates=True),
    Case("F1Score of each class", *of_bits("F1Score", F1Score={"threshold": 0.5})),
    Case("FBetaScore", *of_classes("FBetaScore", FBetaScore={"beta": 2.0, "average": "weighted"})),
    Case("BinaryCrossentropy as metric", *of_bits("BinaryCrossentropy")),
    Case("BinaryIoU", *of_bits("BinaryIoU")),
    Case(
        "metrics of classes",
        *of_classes(
            "CategoricalAccuracy",
            "TopKCategoricalAccuracy",
            "CategoricalCrossentropy",
            "CategoricalHinge",
            "KLDivergence",
            TopKCategoricalAccuracy={"k": 2},
        ),
    ),
    Case(
        "metrics of whole numbers",
        *of_classes(
            "SparseCategoricalAccuracy",
            "SparseTopKCategoricalAccuracy",
            "SparseCategoricalCrossentropy",
            sparse=True,
            SparseTopKCategoricalAccuracy={"k": 2},
        ),
    ),
    Case(
        "MeanIoU",
        *of_classes("MeanIoU", sparse=True, MeanIoU={"num_classes": 3, "sparse_y_pred": False}),
        evaluates=True,
    ),
    Case(
        "IoU of one class",
        overlapping(
            "IoU",
            3,
            "softmax",
            "sparse_categorical_crossentropy",
            num_classes=3,
            target_class_ids=[1],
            sparse_y_pred=False,
        ),
        (noise(4), whole(3)),
    ),
    Case("OneHotMeanIoU", *of_classes("OneHotMeanIoU", OneHotMeanIoU={"num_classes": 3})),
    Case("OneHotIoU", *of_classes("OneHotIoU", OneHotIoU={"num_classes": 3, "target_class_ids": [0, 2]})),
    Case("Accuracy", *of_numbers("Accuracy", targets=np.round(TO_TWO), activation="relu6")),
    Case("metrics of one's own", own, (noise(4), TO_TWO), evaluates=True),
]
if keras.backend.backend() != "jax":  # where Keras 3.15 itself fails: "'NoneType' object is not callable" in fit
    CASES.append(Case("metrics in a layer", tracked, (noise(4), TO_TWO)))
