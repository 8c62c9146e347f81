"""What is learned about the columns of a table: the scale of numbers, and the words of categories."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from unidl.data.table_columns import LARGEST, CategoryColumn, NumberColumn, is_numeric, number_in, word_in
from unidl.errors import DataError
from unidl.notices import notice
from unidl.shortening import listed, shown

Missing = Literal["raise", "mean"]

NAMING_ROWS = 20
"""From this many training rows on, a column with another word in each of them is left out: it only names the rows."""
LEAST_SCALE, LARGEST_SCALE = 1e-6, 1e18
"""Of a standard deviation: Keras's Normalization clips smaller ones, and squares them in float32."""
RESOLVED = 1e-5
"""The least deviation as a share of the mean: float32 resolves 1e-7 of it."""


@dataclass(frozen=True)
class TableForm:
    """What a model has to know about a table, learned on the training rows; saved with the model.

    Args:
        target: The name of the column that is predicted.
        numbers: The columns of numbers, in the order of the input.
        categories: The columns of words, likewise.
        class_names: The classes of the target; empty if it is a number.
        target_mean: The mean of a target that is a number.
        target_deviation: Its standard deviation.

    Examples:
        >>> from unidl.data import TableForm
        >>> table = {"age": ["20", "40"], "city": ["Rome", "Oslo"], "price": ["1.5", "2.5"]}
        >>> form = TableForm.learned(table, [0, 1], target="price")
        >>> form.names, form.target_mean
        (('age', 'city'), 2.0)
        >>> x = form.encoded({"age": [30], "city": ["Rome"]})
        >>> x["numbers"].tolist(), x["categories"].tolist()
        ([[30.0]], [[2]])
        >>> TableForm.from_json(form.to_json()) == form
        True
    """

    target: str
    numbers: tuple[NumberColumn, ...] = ()
    categories: tuple[CategoryColumn, ...] = ()
    class_names: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_deviation: float = 1.0

    @classmethod
    def learned(
        cls,
        table: Mapping[str, Sequence[Any]],
        training_rows: Sequence[int] | np.ndarray[Any, Any],
        *,
        target: str,
        class_names: Sequence[str] = (),
        categories: Sequence[str] = (),
        missing: Missing = "raise",
        where: str = "the table",
    ) -> TableForm:
        """Learn the form of a table.

        Args:
            table: The values of each column by its name, words or numbers.
            training_rows: The rows from which scales and words are learned, of shape (n,).
            target: The column to predict.
            class_names: The classes of the target; empty if it is a number.
            categories: Columns to read as words though they hold numbers, such as postal codes.
            missing: What takes the place of a missing number: "mean", or "raise" for an error.
            where: What messages call the table.

        Returns:
            The form.

        Raises:
            DataError: If a column is neither one of numbers nor one of words, or no column is left.
        """
        unknown = [name for name in categories if name not in table]
        if unknown:
            raise DataError(f"There is no column {shown(unknown[0])} in {where}, of {listed(table)}.")
        numbers: list[NumberColumn] = []
        words: list[CategoryColumn] = []
        for name, values in table.items():
            if name == target:
                continue
            rows = [values[row] for row in training_rows]
            if name not in categories and is_numeric(name, values, where):
                known = np.array([number for number in map(number_in, rows) if number is not None])
                if not len(known):
                    raise DataError(f"No training row of {where} has a number in the column '{name}'. Remove it.")
                numbers.append(NumberColumn(name, *_scale(known, name, where), fills=missing == "mean"))
            else:
                found = sorted({word_in(value) for value in rows})
                if len(found) == len(rows) >= NAMING_ROWS:
                    notice(f"the column '{name}' of {where} is left out: it has another word in each row")
                    continue
                words.append(CategoryColumn(name, tuple(found)))
        if not numbers and not words:
            raise DataError(f"There is no column in {where} besides '{target}', which is to be predicted.")
        form = cls(target, tuple(numbers), tuple(words), tuple(class_names))
        if class_names:
            return form
        mean, deviation = _scale(np.array([float(table[target][row]) for row in training_rows]), target, where)
        return cls(target, form.numbers, form.categories, (), mean, deviation)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns from which is predicted."""
        return (*(column.name for column in self.numbers), *(column.name for column in self.categories))

    def encoded(self, table: Mapping[str, Any], where: str = "the table") -> Any:
        """Return the input of a model for raw columns.

        Args:
            table: The values of each column by its name, words or numbers; further columns are not read.
            where: What messages call the table.

        Returns:
            Numbers of shape (n, columns) in float32, categories of shape (n, columns) in int32, or a dict of
            "numbers" and "categories" if there are both. The categories of all columns are counted on: those of the
            second begin behind those of the first.

        Raises:
            DataError: If a column is missing, or a value cannot be read.
        """
        absent = [name for name in self.names if name not in table]
        if absent:
            raise DataError(
                f"The model predicts from the columns {listed(self.names)}, and {where} lacks {listed(absent)}."
            )
        lengths = {name: len(table[name]) if np.ndim(table[name]) == 1 else None for name in self.names}
        if None in lengths.values() or len(set(lengths.values())) > 1:
            found = listed(
                f"{name} {'is not a list' if size is None else f'has {size}'}" for name, size in lengths.items()
            )
            raise DataError(f"Each column of {where} must be a list with one value for each row, and {found}.")
        parts: dict[str, Any] = {}
        if self.numbers:
            parts["numbers"] = np.stack([one.encoded(list(table[one.name]), where) for one in self.numbers], axis=1)
        if self.categories:
            found = [one.encoded(list(table[one.name]), where) for one in self.categories]
            starts = np.cumsum([0, *self.sizes[:-1]], dtype=np.int32)
            parts["categories"] = np.stack(found, axis=1) + starts
        return parts if len(parts) > 1 else next(iter(parts.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many words each category has, the unknown one included."""
        return tuple(len(column.words) + 1 for column in self.categories)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments with which `unidl.build_tabular` builds a model for such tables.

        Returns:
            The arguments by name.

        Examples:
            >>> from unidl.data import TableForm
            >>> form = TableForm.learned({"age": [20, 40], "old": ["no", "yes"]}, [0, 1], target="old",
            ...                          class_names=("no", "yes"))
            >>> form.arguments()["means"], form.arguments()["classes"]
            ([30.0], 2)
        """
        return {
            "means": [column.mean for column in self.numbers],
            "deviations": [column.deviation for column in self.numbers],
            "categories": list(self.sizes),
            "classes": len(self.class_names) or None,
            "target_mean": self.target_mean,
            "target_deviation": self.target_deviation,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the form as JSON values.

        Returns:
            What `from_json` reads.
        """
        return json.loads(json.dumps(asdict(self)))  # lists, as in a file

    @classmethod
    def from_json(cls, value: Any) -> TableForm:
        """Return the form that `to_json` wrote.

        Args:
            value: The JSON values.

        Returns:
            The form.

        Raises:
            ValueError: If it has another form.
        """
        _require(isinstance(value, dict) and set(value) == set(cls.__dataclass_fields__), "its keys are others")
        _require(
            isinstance(value["numbers"], list) and isinstance(value["categories"], list), "its columns are not lists"
        )
        numbers = [
            _made(NumberColumn, one, name=str, mean=float, deviation=float, fills=bool) for one in value["numbers"]
        ]
        categories = [_made(CategoryColumn, one, name=str, words=list) for one in value["categories"]]
        names = value["class_names"]
        scale = (value["target_mean"], value["target_deviation"])
        _require(isinstance(value["target"], str) and _are_words(names), "its words are not words")
        _require(all(map(_is_finite, scale)) and bool(numbers or categories), "its numbers are not numbers")
        _require(all(_is_finite(one.mean) and _is_finite(one.deviation) for one in numbers), "a scale is not a number")
        words = tuple(CategoryColumn(one.name, tuple(one.words)) for one in categories)
        _require(all(_are_words(list(one.words)) for one in words), "a category has other values than words")
        return cls(value["target"], tuple(numbers), words, tuple(names), *map(float, scale))


def _scale(numbers: np.ndarray[Any, Any], name: str, where: str) -> tuple[float, float]:
    """The mean and the standard deviation; 1 in place of 0, so that a constant column stays finite."""
    if np.abs(numbers).max() > LARGEST:
        return 0.0, 1.0  # `encoded` refuses the number with its row
    mean, deviation = float(numbers.mean()), float(numbers.std())
    if numbers.min() == numbers.max():
        return mean, 1.0
    if not LEAST_SCALE <= deviation <= LARGEST_SCALE or deviation < RESOLVED * abs(mean):
        raise DataError(
            f"The numbers in the column '{name}' of {where} have the mean {mean:.6g} and the standard deviation "
            f"{deviation:.3g}, which float32 cannot tell apart. Subtract a constant, or change the unit."
        )
    return mean, deviation


def _made(kind: Callable[..., Any], value: Any, **fields: type) -> Any:
    _require(isinstance(value, dict) and set(value) == set(fields), "a column has other keys")
    for name, wanted in fields.items():
        _require(type(value[name]) is wanted or (wanted is float and type(value[name]) is int), f"{name!r} of a column")
    return kind(**value)


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise ValueError(f"its table cannot be read: {why}")
