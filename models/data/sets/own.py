"""Pictures of one's own: a CSV of labels, or folders that are labels."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from models.data.sets.base import (
    EXPRESSIONS,
    GENDERS,
    MAX_AGE,
    UNKNOWN,
    DataError,
    DataSet,
    Placing,
    Report,
    Sample,
    pictures,
)

COLUMNS = ("file", "age", "age_std", "gender", "expression", "split")
TRAIN, VALIDATION = "train", "validation"


class _BadLabel(ValueError):
    """A label cannot be used; the message is the cause in the report."""


def read_csv(path: Path) -> DataSet:
    """A table with a column `file` (relative to the table) and any of age, age_std (years), gender (male, female),
    expression (angry, disgust, fear, happy, neutral, sad, surprise) and split (train, validation).

    An empty field is not known. The set has the name of the file.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), [c or "" for c in reader.fieldnames or ()]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    unknown = set(columns) - set(COLUMNS)
    if "file" not in columns or unknown or not {"age", "gender", "expression"} & set(columns):
        raise DataError(
            f"{path} has the columns {', '.join(columns) or 'none'}. It needs file and one of age, gender, expression; "
            "age_std and split may be there, too"
        )
    report, samples, splits = Report(), [], []
    for row in rows:
        name = (row["file"] or "").strip()
        try:
            sample, split = _sample(path.parent / name, row)
        except _BadLabel as error:
            report.skip(str(error), name or "(no name)")
            continue
        samples.append(sample)
        splits.append(split)
    return _own(path.stem, path, samples, report, splits if "split" in columns else None)


def read_folder(root: Path) -> DataSet:
    """root/LABEL/*.jpg, or root/train/LABEL and root/validation/LABEL; a label is an age, a gender or an expression.

    The set has the name of the folder.
    """
    has_splits = (root / TRAIN).is_dir() and (root / VALIDATION).is_dir()
    report, samples, splits = Report(), [], []
    if not root.is_dir():
        raise DataError(f"no folder {root}")
    for split in (TRAIN, VALIDATION) if has_splits else ("",):
        for folder in sorted(p for p in (root / split).iterdir() if p.is_dir()):
            label = folder.name.strip().lower()
            kind = "age" if label.isdigit() else "gender" if label in GENDERS else "expression"
            for path in pictures(folder):
                try:
                    sample, _ = _sample(path, {kind: label})
                except _BadLabel as error:
                    report.skip(str(error), str(path.relative_to(root)))
                    continue
                samples.append(sample)
                splits.append(split)
    return _own(root.resolve().name, root, samples, report, splits if has_splits else None)


def _own(name: str, where: Path, samples: list[Sample], report: Report, splits: list[str] | None) -> DataSet:
    report.read = len(samples)
    if not samples:
        raise DataError(f"{where}: no usable picture; {'; '.join(report.lines()[1:])}")
    held_out = None if splits is None else np.array([split == VALIDATION for split in splits])
    return DataSet(name, samples, report, Placing(), held_out)


def _sample(path: Path, row: dict[str, str]) -> tuple[Sample, str]:
    text = {k: (v or "").strip().lower() for k, v in row.items() if k in COLUMNS}
    if not path.is_file():
        raise _BadLabel("no such file")
    try:
        age, std = float(text.get("age") or "nan"), float(text.get("age_std") or "nan")
    except ValueError:
        raise _BadLabel("age is not a number") from None
    if not (math.isnan(age) or 0 <= age <= MAX_AGE):
        raise _BadLabel("age out of range")
    gender, expression = text.get("gender", ""), text.get("expression", "")
    if gender not in ("", *GENDERS):
        raise _BadLabel(f"unknown gender {gender}")
    if expression not in ("", *EXPRESSIONS):
        raise _BadLabel(f"unknown expression {expression}")
    if math.isnan(age) and not gender and not expression:
        raise _BadLabel("no label")
    split = text.get("split", "")
    if split not in ("", TRAIN, VALIDATION):
        raise _BadLabel(f"unknown split {split}")
    sample = Sample(
        path,
        UNKNOWN if math.isnan(age) else round(age),
        GENDERS.index(gender) if gender else UNKNOWN,
        EXPRESSIONS.index(expression) if expression else UNKNOWN,
        age_mean=age if std > 0 else math.nan,
        age_std=std if std > 0 else math.nan,
    )
    return sample, split
