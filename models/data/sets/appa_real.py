"""APPA-REAL, the data of ChaLearn's Looking at People challenges of 2016: apparent ages, about 38 guesses a picture."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.data.sets.base import MAX_AGE, DataError, DataSet, Placing, Report, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

SPLITS = ("train", "valid")
PLACING = Placing()


def read(root: Path, *, real_age: bool = False, splits: Sequence[str] = SPLITS) -> DataSet:
    """root/gt_avg_train.csv with pictures in root/train, and the same for valid, which is held out.

    The label is the mean of the guesses, or with `real_age` the person's age; mean and standard deviation of the guesses
    are kept either way. Of each X.jpg the makers' X.jpg_face.jpg is used, turned upright and cut with a margin of 40 %,
    where there is one. gt_avg_test.csv is left for testing, unless `splits` names it.
    """
    report, samples, held_out = Report(), [], []
    for split in splits:
        table = root / f"gt_avg_{split}.csv"
        if not table.is_file():
            raise DataError(f"no {table}: give the folder that holds gt_avg_train.csv, gt_avg_valid.csv, ...")
        for row in _rows(table):
            name = f"{split}/{row['file_name']}"
            mean, std, real = (_number(row[k]) for k in ("apparent_age_avg", "apparent_age_std", "real_age"))
            age = real if real_age else mean
            path = root / split / f"{row['file_name']}_face.jpg"
            if not path.is_file():
                path = root / split / row["file_name"]
            if math.isnan(age):
                report.skip("no age", name)
            elif not 0 <= age <= MAX_AGE:
                report.skip("age out of range", name)
            elif not path.is_file():
                report.skip("no such file", name)
            else:
                samples.append(Sample(path, round(age), age_mean=mean, age_std=std if std > 0 else math.nan))
                held_out.append(split == "valid")
    report.read = len(samples)
    if not samples:
        raise DataError(f"{root}: no usable picture; {'; '.join(report.lines()[1:])}")
    if no_faces := sum(not s.path.name.endswith("_face.jpg") for s in samples):
        report.notes["whole pictures, without a _face.jpg beside them"] = no_faces
    return DataSet("appa_real", samples, report, PLACING, np.array(held_out))


def _rows(table: Path) -> list[dict[str, str]]:
    needed = {"file_name", "apparent_age_avg", "apparent_age_std", "real_age"}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{table} cannot be read as CSV: {error}") from error
    if missing := needed - set(rows[0] if rows else ()):
        raise DataError(f"{table} has no column {', '.join(sorted(missing))}")
    return rows


def _number(text: str | None) -> float:
    """nan where it is none."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
