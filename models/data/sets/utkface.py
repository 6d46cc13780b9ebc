"""UTKFace: one face a picture, labels in the file name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from models.data.sets.base import MAX_AGE, UNKNOWN, DataError, DataSet, Placing, Report, Sample, pictures

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+\.(?:jpg\.chip\.)?(?:jpg|png)", re.IGNORECASE)
# The median box that dlib's detector found over the whole set; `main.py prepare` prints it.
PLACING = Placing(usual_box=(0.075, 0.075, 0.9, 0.9), poses=False)


def read(root: Path) -> DataSet:
    """The aligned and cropped pictures; near duplicates must not cross the split."""
    samples, report = read_utkface(root)
    return DataSet("utkface", samples, report, PLACING)


def read_utkface(root: Path, names: Iterable[str] | None = None) -> tuple[list[Sample], Report]:
    """Names are age_gender_ethnicity_date. Ages past 100 count as 100.

    `names` limits the set to those file names, folders before them are passed over; one that is not there raises
    DataError.
    """
    report = Report()
    paths = pictures(root)
    if names is not None:
        by_name = {p.name: p for p in paths}
        wanted = [Path(n.strip()).name for n in names if n.strip()]
        missing = [n for n in wanted if n not in by_name]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(wanted)} listed pictures are not under {root}, first: {missing[0]}"
            )
        paths = [by_name[n] for n in wanted]
    samples = []
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if not match:
            report.skip("name is not age_gender_ethnicity_date", path.name)
            continue
        age, gender, ethnicity = (int(g) for g in match.groups())
        if age > 120:
            report.skip("age out of range", path.name)
            continue
        samples.append(Sample(path, min(age, MAX_AGE), gender, UNKNOWN, ethnicity))
    report.read = len(samples)
    if not samples:
        raise DataError(f"no UTKFace pictures (age_gender_ethnicity_date.jpg) under {root}")
    return samples, report
