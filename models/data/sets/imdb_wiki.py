"""IMDB-WIKI (Rothe et al., 2015): pictures of actors and of people in Wikipedia, metadata as a Matlab file.

Ages come from birthdays and the year in which a picture was taken, so many are wrong: the paper's authors advise to use
only pictures with one clearly detected face, which the two scores tell.
"""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.sets.base import MAX_AGE, UNKNOWN, DataError, DataSet, Placing, Report, Sample

MIN_SCORE = 1.0
MAX_SECOND_SCORE = 0.0
# The published crops have a margin of 40 % of the face's size on every side.
_CROP_PLACING = Placing(usual_box=None)
_MATLAB_DAY_OF_PYTHONS_DAY_0 = 366


def read(root: Path, min_score: float = MIN_SCORE, max_second_score: float = MAX_SECOND_SCORE) -> DataSet:
    """A folder with imdb.mat or wiki.mat and the pictures' folders as they were packed: imdb_crop, wiki_crop, or the
    uncropped pictures, in which the face is then looked for around the location that the metadata gives.

    Left out and reported: no face, face score below `min_score`, a second face that scores above `max_second_score`, no
    date of birth, no year, ages out of 0 to 100, no file. A person's pictures stay on one side of the split.
    """
    name, meta = _metadata(root)
    is_cropped = root.name.endswith("_crop")
    report, samples, people = Report(), [], []
    known: dict[str, int] = {}
    scores, seconds = meta["face_score"], meta["second_face_score"]
    person = meta.get("celeb_id", meta.get("name"))
    for i, full in enumerate(meta["full_path"]):
        relative = _text(full)
        age = age_when_taken(meta["dob"][i], meta["photo_taken"][i])
        cause = None
        if not math.isfinite(scores[i]):
            cause = "no face (score -inf)"
        elif scores[i] < min_score:
            cause = f"face score below {min_score:g}"
        elif seconds[i] > max_second_score:  # nan: no second face
            cause = f"a second face that scores above {max_second_score:g}"
        elif age is None:
            cause = "no date of birth or no year of the picture"
        elif not 0 <= age <= MAX_AGE:
            cause = "age out of range"
        elif not (root / relative).is_file():
            cause = "no such file"
        if cause:
            report.skip(cause, relative)
            continue
        gender = meta["gender"][i]  # 0 female, 1 male, nan unknown
        samples.append(
            Sample(
                root / relative,
                age,
                UNKNOWN if math.isnan(gender) else 1 - int(gender),
                region=None if is_cropped else _region(meta["face_location"][i]),
            )
        )
        whose = _text(person[i]) if person is not None else relative
        people.append(known.setdefault(whose, len(known)))
    report.read = len(samples)
    if not samples:
        raise DataError(f"{root}: no usable picture among {len(meta['full_path'])}; {'; '.join(report.lines()[1:])}")
    return DataSet(name, samples, report, _CROP_PLACING, groups=np.array(people))


def age_when_taken(birth: float, year: float) -> int | None:
    """Full years in the middle of `year`, which is all that is known, of somebody born on Matlab's day `birth`."""
    if not (math.isfinite(birth) and math.isfinite(year)):
        return None
    day = int(birth) - _MATLAB_DAY_OF_PYTHONS_DAY_0
    if not 1 <= day <= date.max.toordinal():
        return None
    born = date.fromordinal(day)
    return int(year) - born.year - ((born.month, born.day) > (7, 1))


def _metadata(root: Path) -> tuple[str, dict[str, NDArray[Any]]]:
    from scipy.io import loadmat

    for name in ("imdb", "wiki"):
        path = root / f"{name}.mat"
        if path.is_file():
            break
    else:
        raise DataError(f"no imdb.mat or wiki.mat in {root}: give the folder that the archive's metadata lies in")
    try:
        fields = loadmat(path)[name][0, 0]
        meta = {key: np.ravel(fields[key]) for key in fields.dtype.names}
    except Exception as error:  # scipy's reader raises many types for a damaged file
        raise DataError(f"{path} cannot be read as IMDB-WIKI's metadata: {type(error).__name__}: {error}") from error
    needed = {"dob", "photo_taken", "full_path", "face_location", "face_score", "second_face_score", "gender"}
    missing = needed - set(meta)
    if missing:
        raise DataError(f"{path} lacks {', '.join(sorted(missing))}")
    count = len(meta["full_path"])
    if any(len(meta[key]) != count for key in needed):
        raise DataError(f"{path}: its fields differ in length")
    return name, meta


def _text(cell: Any) -> str:
    """A string out of Matlab's cell, or a number as text."""
    value = np.ravel(cell)
    return str(value[0]) if value.size else ""


def _region(cell: Any) -> tuple[float, float, float, float]:
    """Matlab's corners, which count from 1, as x, y, width, height."""
    left, top, right, bottom = (float(v) for v in np.ravel(cell)[:4])
    return left - 1, top - 1, right - left, bottom - top
