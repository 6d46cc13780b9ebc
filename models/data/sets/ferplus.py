"""FER+: ten annotators' votes for each picture of FER2013 (Barsoum et al., 2016), beside the one label that came with it.

The file is a CSV of ours: `path` (FER2013/SPLIT/EXPRESSION/NAME), a column of counts per kind of vote (VOTES), and
`ambiguous`, 1 where the picture could not be told from another when the votes were matched to it: such rows are left out.

Single votes are taken for slips and dropped, as FER+'s authors do. Contempt is none of our seven classes: training leaves
its votes out, judging counts it as wrong.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.data.sets.base import EXPRESSIONS, DataError, ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.data.sets.base import Report, Sample

    #: (10,) counts in the order of VOTES
    Counts = NDArray[np.int64]

# FER+'s names of our classes, in our order; then what we have no class for.
OURS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
OTHERS = ("contempt", "unknown", "NF")  # NF: not a face
VOTES = OURS + OTHERS
CONTEMPT = len(OURS)


def read_votes(path: Path) -> dict[str, Counts]:
    """Counts by SPLIT/EXPRESSION/NAME of the picture. Raises DataError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        votes = {
            ending(Path(row["path"])): np.array([int(row[name]) for name in VOTES])
            for row in rows
            if row["ambiguous"] == "0"
        }
    except OSError as error:
        raise DataError(f"FER+'s votes {path} cannot be read: {error.strerror}") from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise DataError(
            f"{path} is not a table of FER+'s votes: it needs the columns path, ambiguous and {', '.join(VOTES)} ({error})"
        ) from error
    if not votes:
        raise DataError(f"{path} has no votes")
    return votes


def with_votes(samples: Sequence[Sample], report: Report, path: Path) -> list[Sample]:
    """FER2013's samples with the votes for each, where the table has some; how many have none goes into the report.

    Raises DataError, also where the table has none for any of them.
    """
    votes = read_votes(path)
    found = [votes.get(ending(sample.path)) for sample in samples]
    without = sum(one is None for one in found)
    if without == len(samples):
        raise DataError(f"{path} has votes for none of the {len(samples)} pictures")
    report.notes["without clear votes of FER+"] += without
    return [
        sample if one is None else replace(sample, votes=tuple(map(int, one)))
        for sample, one in zip(samples, found, strict=True)
    ]


def distribution(counts: tuple[int, ...] | Counts | None) -> NDArray[np.float32]:
    """What training aims at: (7,) shares of the votes for our classes; zeros where the picture is left out.

    Left out are pictures without votes, and those where half of the votes and more are for contempt, unknown or no face.
    """
    nothing = np.zeros(len(EXPRESSIONS), np.float32)
    if counts is None:
        return nothing
    kept = np.where(np.asarray(counts) > 1, counts, 0)
    ours = kept[: len(OURS)]
    if 2 * kept[CONTEMPT:].sum() >= kept.sum():
        return nothing
    return (ours / ours.sum()).astype(np.float32)


def majority(counts: tuple[int, ...] | Counts | None) -> int:
    """The class that judging takes for true: an index of our classes, CONTEMPT, or -1 where the picture is not judged.

    As in FER+'s own evaluation: the class with more than half of the votes, single votes dropped. Pictures without such a
    class are not judged, and neither are those whose majority is for unknown or no face.
    """
    if counts is None:
        return -1
    kept = np.where(np.asarray(counts) > 1, counts, 0)
    best = int(kept.argmax())
    return best if best <= CONTEMPT and 2 * kept[best] > kept.sum() else -1
