"""What every data set is, once it is read: labelled pictures, how their faces lie, and what was skipped and why."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
GENDERS = ("male", "female")
MAX_AGE = 100
UNKNOWN = -1


class DataError(ValueError):
    """A data set that cannot be read as asked."""


@dataclass(frozen=True)
class Sample:
    """One labelled picture. `gender`, `expression` and `ethnicity` as indices; -1 where the set does not say.

    `age` in whole years, what is trained on. Where people guessed the age, `age_mean` and `age_std` are their guesses'
    mean and standard deviation in years, otherwise nan. `votes`: how many of FER+'s annotators saw what (see ferplus.py).
    `region` (x, y, width, height, pixels) is where the labelled face
    is, in a picture of several; None: anywhere.
    """

    path: Path
    age: int = UNKNOWN
    gender: int = UNKNOWN
    expression: int = UNKNOWN
    ethnicity: int = UNKNOWN
    age_mean: float = math.nan
    age_std: float = math.nan
    votes: tuple[int, ...] | None = None
    region: tuple[float, float, float, float] | None = None


@dataclass
class Report:
    """What was skipped while reading a data set, and why."""

    read: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    def skip(self, cause: str, name: str) -> None:
        self.skipped.setdefault(cause, []).append(name)

    def lines(self) -> list[str]:
        """For people: one line a cause, with the first few names."""
        out = [f"read {self.read} pictures"]
        for cause, names in sorted(self.skipped.items()):
            out.append(f"skipped {len(names)}: {cause} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
        out += [f"{count} {note}" for note, count in sorted(self.notes.items())]
        return out


@dataclass(frozen=True)
class Placing:
    """How faces lie in a set's pictures, and how they are looked for.

    `usual_box` (x, y, width, height as shares of the picture's side): where a face is taken to be that no detector
    finds; None: such a picture is skipped. `frame`: border added before detection, as a share. `poses`: look with the
    picture turned and enlarged too. `detector`: a file of dlib's CNN detector to use instead of the HOG one.
    """

    usual_box: tuple[float, float, float, float] | None = None
    frame: float = 0.0
    poses: bool = True
    detector: Path | None = None


@dataclass(frozen=True)
class DataSet:
    """One data set as its loader read it.

    `held_out` says which samples are for validation where the set itself says so. Otherwise 5 % are held out: whole
    `groups` (a number per sample, such as one per person) where the loader knows any, or else groups of near duplicates.
    """

    name: str
    samples: Sequence[Sample]
    report: Report
    placing: Placing
    held_out: NDArray[np.bool_] | None = None
    groups: NDArray[np.int64] | None = None
    is_grey: bool = False


def pictures(root: Path) -> list[Path]:
    """All picture files under a folder, sorted."""
    if not root.is_dir():
        raise DataError(f"no folder {root}")
    return sorted(p for p in root.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})


def ending(path: Path) -> str:
    """SPLIT/LABEL/NAME: what names a picture of a set wherever its folder lies."""
    return "/".join(path.parts[-3:])


def leave_out(samples: Sequence[Sample], report: Report, names: Path) -> list[Sample]:
    """The samples without those that a file lists: a path ending in SPLIT/LABEL/NAME a line. Raises DataError."""
    try:
        listed = {ending(Path(line)) for line in names.read_text(encoding="utf-8").splitlines()}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{names} cannot be read as a list of pictures: {error}") from error
    kept = [sample for sample in samples if ending(sample.path) not in listed]
    report.notes[f"left out as {names.name} says"] += len(samples) - len(kept)
    return kept


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """(h, w, 3) BGR, or None where the file is not a picture or not there."""
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        return None
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
