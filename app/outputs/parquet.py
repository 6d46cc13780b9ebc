"""Results as a Parquet table: the columns of the CSV with their types; pyarrow is needed only here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.errors import OutputError
from app.outputs.results import columns, rows

if TYPE_CHECKING:
    from pathlib import Path

    from app.domain import Result

GROUP = 10_000  # rows that are written together
WHOLE, FLAG = {"frame", "id", "faces"}, {"fresh"}
TEXT = {"source", "camera", "gender", "expression", "exit", "unfit"}


class ParquetWriter:
    """As CsvWriter. The file can be read once it is closed: its index is at the end."""

    def __init__(self, path: Path, *, counts_only: bool = False, named: str = "") -> None:
        import pyarrow
        from pyarrow import parquet

        self._path, self._counts_only = path, counts_only
        names = columns(counts_only=counts_only, named=named)
        kinds = (
            {n: pyarrow.string() for n in TEXT}
            | {n: pyarrow.int64() for n in WHOLE}
            | {n: pyarrow.bool_() for n in FLAG}
        )
        self._schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in names])
        self._waiting = list[list[Any]]()
        self._closed = False
        try:
            self._file = parquet.ParquetWriter(str(path), self._schema)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error

    def deliver(self, result: Result, source: str = "") -> None:
        self._waiting += rows(result, source, counts_only=self._counts_only)
        if len(self._waiting) >= GROUP:
            self._write()

    def close(self) -> None:
        """May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._write()
        finally:
            self._file.close()

    def _write(self) -> None:
        import pyarrow

        if not self._waiting:
            return
        turned = zip(*self._waiting, strict=True)
        arrays = [pyarrow.array(list(c), f.type) for c, f in zip(turned, self._schema, strict=True)]
        self._waiting = []
        try:
            self._file.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror or error}") from error
