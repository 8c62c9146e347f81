"""The tables that scikit-learn brings with it: kinds of wine, and the progress of diabetes."""

from __future__ import annotations

from typing import Any

from unidl.data.dataset import Dataset
from unidl.data.table import table_of_numbers

TABLES = {"wine": ("load_wine", "kind"), "diabetes": ("load_diabetes", "progression")}
"""The function of scikit-learn, and what the column to predict is called here."""


def load_bundled_table(name: str, seed: int, **options: Any) -> Dataset:
    """Return a table of scikit-learn by its name. options: as in `unidl.data.table.table_of_numbers`."""
    import sklearn
    from sklearn import datasets

    function, target = TABLES[name]
    found: Any = getattr(datasets, function)()
    columns = {
        name: [repr(float(value)) for value in values]
        for name, values in zip(found.feature_names, found.data.T, strict=True)
    }
    names = getattr(found, "target_names", None)
    columns[target] = [repr(float(value)) if names is None else str(names[value]) for value in found.target]
    source = f"sklearn.datasets.{function} of scikit-learn {sklearn.__version__}"
    return table_of_numbers(name, columns, target, seed=seed, source=source, **options)
