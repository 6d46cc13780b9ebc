"""Which file name makes which kind of results, and of annotated pictures."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from app.errors import OutputError
from app.files import STDOUT
from app.outputs.parquet import ParquetWriter
from app.outputs.picture import PICTURE_SUFFIXES
from app.outputs.results import CsvWriter, ResultsWriter
from app.outputs.video import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

    from app.outputs.results import Writer

RESULTS_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")


def check_annotated_name(path: Path) -> None:
    """Raises OutputError for a name that says no kind of video or picture."""
    if path.suffix.lower() not in VIDEO_SUFFIXES + PICTURE_SUFFIXES:
        raise OutputError(
            f"{path}: annotated video is written as {', '.join(VIDEO_SUFFIXES)}, an annotated picture as "
            f"{', '.join(PICTURE_SUFFIXES)}; choose such a name"
        )


def check_results_name(path: Path) -> None:
    """Raises OutputError for a name that says no format, or one that is not installed."""
    if str(path) in (STDOUT, os.devnull):
        return
    if path.suffix and path.suffix.lower() not in RESULTS_SUFFIXES:
        raise OutputError(f"{path}: results are written as {', '.join(RESULTS_SUFFIXES)}, or to - ; choose such a name")
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise OutputError(f"{path}: Parquet needs pyarrow: `pip install -r requirements-parquet.txt`, or write .csv")


def results_writer(path: Path, *, counts_only: bool = False, named: str = "") -> Writer:
    """By the suffix; JSON lines without one. `counts_only`: the results will have a Crowd and no people. `named`: they
    are of several, each named as a "source" or a "camera"."""
    check_results_name(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return CsvWriter(path, counts_only=counts_only, named=named)
    if suffix == ".parquet":
        return ParquetWriter(path, counts_only=counts_only, named=named)
    return ResultsWriter(path)
