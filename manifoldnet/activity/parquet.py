"""Recordings as Parquet tables, read by pyarrow (``pip install "manifoldnet[parquet]"``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from manifoldnet.activity import columns
from manifoldnet.activity.options import Options
from manifoldnet.activity.recording import Recording
from manifoldnet.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ArrowColumns(columns.Columns):
    """The columns of an Arrow table."""

    table: "pa.Table"

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        import pyarrow as pa

        out = np.empty((self.table.num_rows, len(columns)))
        for place, column in enumerate(columns):
            values = self.table.column(column)
            if pa.types.is_timestamp(values.type):
                values = values.cast(pa.timestamp("ns")).cast(pa.int64())
                seconds = (values.to_numpy() - values[0].as_py()) * 1e-9 if values.null_count == 0 else np.nan
                out[:, place] = seconds
                continue
            try:
                out[:, place] = values.cast(pa.float64()).to_numpy()
            except pa.ArrowInvalid as error:
                raise InputError(f"{self.path}: column {self.names[column]}: not numbers ({error})") from None
            except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
                raise InputError(
                    f"{self.path}: column {self.names[column]}: values of type {values.type}, wanted numbers"
                ) from None
        return out

    def values(self, column: int) -> set[str]:
        return {str(value) for value in self.table.column(column).unique().to_pylist()}

    def place(self, row: int) -> str:
        return f"row {row} (from 0)"


def read(path: Path, options: Options) -> Recording:
    """The recording in a Parquet table, whose columns are named as in a text table.

    Time may be a timestamp. Raises InputError when pyarrow is missing, when the file is not Parquet, and as
    :func:`manifoldnet.activity.columns.read` does.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(f'{path}: Parquet needs pyarrow: pip install "manifoldnet[parquet]"') from None
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a Parquet table ({str(error).splitlines()[0]})") from None
    if table.num_rows == 0:
        raise InputError(f"{path}: no samples, the table is empty")
    return columns.read(ArrowColumns(path, list(table.column_names), None, table), options)
