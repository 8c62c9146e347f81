"""Every optimizer of keras.optimizers, and all that an optimizer can be told."""

from __future__ import annotations

import keras
from cases import SIGN_LIKE, SMOOTH, TO_TWO, UNTRACED, Case, noise, regressor
from keras import layers, optimizers
from keras.optimizers import schedules


def learning(optimizer):
    """Builds a model of two dense layers."""
    return lambda: regressor((4,), layers.Dense(5, activation="tanh"), optimizer=optimizer())


def optimizer_case(name, kind, *arguments, share=SIGN_LIKE, plain=None, **options):
    build = learning(lambda: getattr(optimizers, kind)(*arguments, **options))
    return Case(name, build, (noise(4), TO_TWO), share, plain=plain or {})


def scheduled(name, kind, *arguments, plain=None, **options):
    """SGD whose learning rate changes within the eight steps."""
    build = learning(lambda: optimizers.SGD(getattr(schedules, kind)(*arguments, **options)))
    return Case(name, build, (noise(4), TO_TWO), plain=plain or {})


def of_both():
    chosen = optimizers.OptimizerMap(optimizers.SGD(0.05), {".*bias": optimizers.Adam(0.01)})
    return optimizers.MultiOptimizer(chosen)


def rate_from_a_function():
    return optimizers.SGD(lambda: 0.05)


ASKED = {"torch": "the learning rate is a function"}


def schedule_free():
    """Its optimizer built before training: Keras's `fit` on TensorFlow builds it in a tf.function, where the copy
    of the weights goes wrong."""
    model = learning(lambda: optimizers.ScheduleFreeAdamW(0.01, warmup_steps=3))()
    model.optimizer.build(model.trainable_variables)
    return model


EVERY_CLASS = [
    optimizer_case("SGD", "SGD", 0.1, share=SMOOTH),
    optimizer_case("RMSprop", "RMSprop", 0.01),
    optimizer_case("Adam", "Adam", 0.01),
    optimizer_case("AdamW", "AdamW", 0.01, weight_decay=0.1),
    optimizer_case("Adadelta", "Adadelta", 1.0),
    optimizer_case("Adagrad", "Adagrad", 0.1),
    optimizer_case("Adamax", "Adamax", 0.01),
    optimizer_case("Adafactor", "Adafactor", 0.05),
    optimizer_case("Nadam", "Nadam", 0.01),
    optimizer_case("Ftrl", "Ftrl", 0.05, l1_regularization_strength=1e-3, share=SMOOTH),
    optimizer_case("Lion", "Lion", 0.003),
    optimizer_case("Lamb", "Lamb", 0.01),
    optimizer_case("Muon", "Muon", 0.01, exclude_layers=["bias"]),
    Case("ScheduleFreeAdamW", schedule_free, (noise(4), TO_TWO), SIGN_LIKE),
    Case(
        "LossScaleOptimizer",
        learning(lambda: optimizers.LossScaleOptimizer(optimizers.SGD(0.05), 8.0, 3)),
        (noise(4), TO_TWO),
        plain=UNTRACED,
    ),
    Case("MultiOptimizer", learning(of_both), (noise(4), TO_TWO), share=SIGN_LIKE),
]

CASES = [
    *EVERY_CLASS,
    optimizer_case("SGD with momentum", "SGD", 0.05, momentum=0.9, share=SMOOTH),
    optimizer_case("SGD, Nesterov, decay", "SGD", 0.05, momentum=0.9, nesterov=True, weight_decay=0.01, share=SMOOTH),
    optimizer_case("RMSprop, centered, momentum", "RMSprop", 0.01, centered=True, momentum=0.5),
    optimizer_case("Adam, AMSGrad", "Adam", 0.01, amsgrad=True),
    optimizer_case("Adafactor, relative steps", "Adafactor", 0.05, relative_step=True, beta_2_decay=-0.7),
    optimizer_case("clipnorm", "SGD", 0.1, clipnorm=0.2, share=SMOOTH),
    optimizer_case("clipvalue", "SGD", 0.1, clipvalue=0.05, share=SMOOTH),
    optimizer_case("global_clipnorm", "Adam", 0.01, global_clipnorm=0.2),
    optimizer_case("accumulated gradients", "SGD", 0.1, gradient_accumulation_steps=3, share=SMOOTH, plain=UNTRACED),
    optimizer_case("accumulated gradients with Adam", "Adam", 0.01, gradient_accumulation_steps=2, plain=UNTRACED),
    optimizer_case("averaged weights", "SGD", 0.1, use_ema=True, ema_momentum=0.8, share=SMOOTH),
    optimizer_case(
        "averaged weights, taken over",
        "Adam",
        0.01,
        use_ema=True,
        ema_momentum=0.8,
        ema_overwrite_frequency=3,
        plain=UNTRACED,
    ),
    optimizer_case("loss scale by hand", "SGD", 0.1, loss_scale_factor=64.0, share=SMOOTH),
    scheduled("CosineDecay", "CosineDecay", 0.0, 6, warmup_target=0.1, warmup_steps=2),
    scheduled("CosineDecayRestarts", "CosineDecayRestarts", 0.1, 3),
    scheduled("ExponentialDecay", "ExponentialDecay", 0.1, 3, 0.5, staircase=True),
    scheduled("PiecewiseConstantDecay", "PiecewiseConstantDecay", [2, 5], [0.1, 0.05, 0.01]),
    scheduled("InverseTimeDecay", "InverseTimeDecay", 0.1, 2, 0.5),
    scheduled("PolynomialDecay", "PolynomialDecay", 0.1, 6, 0.01, power=2.0),
    Case(
        "Adam on a schedule",
        learning(lambda: optimizers.Adam(schedules.CosineDecay(0.02, 8))),
        (noise(4), TO_TWO),
        share=SIGN_LIKE,
    ),
    Case("a function as learning rate", learning(rate_from_a_function), (noise(4), TO_TWO), plain=ASKED),
    Case(
        "SGD on orthogonal kernels",
        lambda: regressor((4,), layers.Dense(6, activation="tanh", kernel_initializer=keras.initializers.Orthogonal())),
        (noise(4), TO_TWO),
    ),
    Case(
        "AdamW on orthogonal kernels",
        lambda: regressor(
            (4,),
            layers.Dense(6, activation="tanh", kernel_initializer=keras.initializers.Orthogonal()),
            optimizer=optimizers.AdamW(0.01),
        ),
        (noise(4), TO_TWO),
        share=SIGN_LIKE,
    ),
]
