"""What is found out before training: a learning rate, and the time and memory of a batch size."""

from __future__ import annotations

from typing import Any

from unidl.data.recognising import as_split
from unidl.training.busy import using
from unidl.training.checking import checked_for_training
from unidl.training.compiling import require_trainable
from unidl.training.evaluator import Evaluator
from unidl.training.given import TrainingData, one_split
from unidl.training.image_bytes import bytes_scaled
from unidl.training.layer_rates import settle_rates
from unidl.training.rate_search import HIGHEST, LOWEST, STEPS, RateSearch, require_range, search_rate
from unidl.training.runs import build_for
from unidl.training.settings import fit_arguments
from unidl.training.step_trial import StepTrial, few_rows, timed_steps


class Tuner(Evaluator):
    """What a `Trainer` can try before it trains. seed: of the order of the data."""

    seed: int

    def find_learning_rate(
        self,
        data: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *,
        lowest: float = LOWEST,
        highest: float = HIGHEST,
        steps: int = STEPS,
    ) -> RateSearch:
        """Return how the loss goes as the learning rate rises step by step, and a rate to train with.

        The model, its optimizer and its metrics are afterwards what they were, to the bit. A schedule of the optimizer
        is left out of account; learning rates of layers stay in proportion.

        Args:
            data: The inputs, as in `fit`.
            y: The targets, as in `fit`.
            batch_size: Rows per batch, as in `fit`.
            lowest: The first learning rate.
            highest: The last learning rate.
            steps: Maximum number of steps: the search ends when the smoothed loss is four times its best.

        Returns:
            A `RateSearch` with `suggestion`, the rates and losses, `to_json()` and `plot(path)`.

        Raises:
            UsageError: If an argument cannot be used.
            DataError: As `fit` does.
            ModelError: As `fit` does.

        Examples:
            >>> import unidl
            >>> import keras
            >>> import numpy as np
            >>> x = np.random.default_rng(0).random((32, 3))
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
            >>> trainer = unidl.Trainer(model, optimizer="sgd", loss="mean_squared_error")
            >>> search = trainer.find_learning_rate(x, x.sum(axis=1), steps=10, highest=0.1)
            >>> len(search.rates) == len(search.losses)
            True
        """
        require_range(lowest, highest, steps)
        arguments = fit_arguments(seed=self.seed, batch_size=batch_size)
        with using(self.model, "find_learning_rate"), self._context():
            given = TrainingData(one_split(data, y, None, None))
            settings = arguments.with_data(given, self.model)
            given = checked_for_training(self.model, given, settings)
            settle_rates(self.model)
            require_trainable(self.model)
            build_for(self.model, given.training, settings.batch_size)
            loop = self._loops.of_single_steps()
            with bytes_scaled(self.model, given.training):
                return search_rate(
                    loop, self.model, given.training, settings, lowest=lowest, highest=highest, steps=steps
                )

    def try_steps(self, data: Any, batch_size: int, steps: int) -> StepTrial:
        """Take a few steps with batches of one size, and return their time and their memory.

        The model is changed. Raises what the framework raises if it runs out of memory.

        Args:
            data: Rows to train on, as in `fit`; they are repeated if they are fewer than a batch has.
            batch_size: Rows per batch.
            steps: Number of steps.

        Returns:
            The batch size, the seconds of the fastest step and the peak of the device's memory.

        Examples:
            >>> import unidl
            >>> import numpy as np
            >>> model = unidl.build_cnn((8, 8, 1), classes=2, filters=(2,), dense_units=2)
            >>> trial = unidl.Trainer(model).try_steps((np.zeros((8, 8, 8, 1)), np.arange(8) % 2), 4, 2)
            >>> trial.batch_size, trial.step_seconds > 0
            (4, True)
        """
        with using(self.model, "try_steps"), self._context():
            rows = few_rows(self.model, as_split(data), batch_size)
            build_for(self.model, rows, batch_size)
            with bytes_scaled(self.model, rows):
                return timed_steps(self._loops.of_single_steps(), self.backend, self.device, rows, batch_size, steps)
