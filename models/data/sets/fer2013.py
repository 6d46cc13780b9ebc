"""FER2013 as folders: 48x48 grey faces, one folder an expression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.data.sets import ferplus
from models.data.sets.base import EXPRESSIONS, DataError, DataSet, Placing, Report, Sample, leave_out, pictures

if TYPE_CHECKING:
    from pathlib import Path

# The detector wants some room around faces that fill their picture.
PLACING = Placing(usual_box=(0.07, 0.17, 0.905, 0.905), frame=0.2, poses=False)


def read(root: Path, votes: Path | None = None, without: Path | None = None) -> DataSet:
    """The official training set and, held out, PublicTest.

    `votes`: FER+'s table; `without`: a list of pictures to leave out, such as held-out ones with a near twin in training.
    """
    train, report = read_fer2013(root, "train")
    public, more = read_fer2013(root, "validation")
    report.read += more.read
    for cause, names in more.skipped.items():
        report.skipped.setdefault(cause, []).extend(names)
    if without:
        train, public = (leave_out(some, report, without) for some in (train, public))
    if votes:
        train, public = (ferplus.with_votes(some, report, votes) for some in (train, public))
    held_out = np.arange(len(train) + len(public)) >= len(train)
    return DataSet("fer2013", train + public, report, PLACING, held_out, is_grey=True)


def read_fer2013(root: Path, split: str) -> tuple[list[Sample], Report]:
    """root/split/expression/*.jpg. An eighth folder is reported and skipped."""
    report = Report()
    folder = root / split
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: FER2013 is read from {root}/{split}/<expression>/*.jpg")
    samples = []
    for sub in sorted(p for p in folder.iterdir() if p.is_dir()):
        if sub.name not in EXPRESSIONS:
            report.skip(f"unknown expression {sub.name}", sub.name)
            continue
        samples += [Sample(p, expression=EXPRESSIONS.index(sub.name)) for p in pictures(sub)]
    report.read = len(samples)
    if not samples:
        raise DataError(f"no pictures under {folder}")
    return samples, report
