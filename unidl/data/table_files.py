"""Tables in files, CSV or Parquet: the columns by name, with all values as words."""

from __future__ import annotations

import csv
from pathlib import Path

from unidl.errors import DataError
from unidl.notices import notice
from unidl.shortening import listed, shortened

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

INDEXES = ("", "__index_level_0__")
"""What pandas calls the column into which it writes the numbers of the rows, in CSV and in Parquet."""

Table = dict[str, list[str]]


def read_table(path: Path) -> Table:
    """Return the columns of a table by name. Raises `DataError` if it cannot be read, or has no rows."""
    table = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    for name in INDEXES:
        if table.pop(name, None) is not None:
            notice(f"a column of '{path}' without a name is left out: pandas writes the numbers of the rows there")
    if not table or not next(iter(table.values())):
        raise DataError(f"'{path}' has no rows. A table begins with the names of its columns, and has a row a sample.")
    return table


def _csv(path: Path) -> Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = "\t" if path.suffix.lower() == ".tsv" else _separator(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            names = next(reader, [])
            table: Table = {name.strip(): [] for name in names}
            if len(table) != len(names):
                raise DataError(f"Two columns of '{path}' have one name: {listed(names)}. Name each column once.")
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise DataError(
                        f"Line {reader.line_num} of '{path}' has {len(row)} values, and there are {len(names)} "
                        f"columns: {listed(names)}. Put a value with a comma between double quotes."
                    )
                for column, value in zip(table.values(), row, strict=True):
                    column.append(value.strip())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read '{path}': {shortened(error)}. Write it as CSV in UTF-8.") from error
    return table


def _separator(header: str) -> str:
    return max((",", ";", "\t"), key=header.count)


def _parquet(path: Path) -> Table:
    try:
        import pyarrow.parquet as parquet  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise DataError(
            f"Cannot read '{path}': it needs pyarrow. Install it with: pip install 'unidl[tables]'"
        ) from error
    try:
        columns = parquet.read_table(path).to_pydict()
    except Exception as error:
        # pyarrow raises its own errors, OSError and ValueError for damaged files.
        raise DataError(f"Cannot read '{path}': {shortened(error)}. Write it anew.") from error
    # NaN, which differs from itself, is as missing as None.
    return {
        name: ["" if value is None or value != value else str(value) for value in values]
        for name, values in columns.items()
    }
