"""What a run may show and write of the people in view: one step that every Result passes before any sink or window sees it.

pixelate   every place where a face is or may be becomes BLOCKS x BLOCKS flat blocks
blur       the same few means, with smooth transitions: a Gaussian over the face could be sharpened again, means cannot
aggregate  no picture, no boxes, no people: counts, and over each WINDOW_S how they were distributed

Only what was found can be covered. docs/reference/privacy.md says what that leaves open.
"""

from __future__ import annotations

import codecs
import dataclasses
import math
import os
import statistics
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.domain import Crowd
from app.errors import UsageError
from app.files import read_bounded
from app.people.visits import Visits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from app.domain import Box, Estimate, Image, Result
    from app.people.visits import Visit

    Protect = Callable[[Result, Sequence[Box]], Result]

BLOCKS = 6  # across a covered place; fewer than 4 across the face itself
MARGIN = 0.3  # of a face's width, covered on each side of its box: hair, chin, and half a step of the person
WINDOW_S = 300.0
# A distribution over fewer people than these says something about each.
LEAST_PEOPLE = 5
NOTICE_LENGTH = 600


def protection(mode: str) -> Protect | None:
    """The step for a mode of `--privacy`; it takes a Result and the boxes of all places where a face is or may be."""
    if mode == "aggregate":
        return Aggregate()
    if mode in ("blur", "pixelate"):
        return Cover(smooth=mode == "blur")
    return None


class Cover:
    """Makes faces unreadable; nothing else of the Result changes."""

    def __init__(self, *, smooth: bool) -> None:
        self._smooth = smooth

    def __call__(self, result: Result, places: Sequence[Box]) -> Result:
        boxes = [*places, *(p.box for p in result.people)]
        if not boxes:
            return result
        image = covered(result.frame.image, boxes, smooth=self._smooth)
        return dataclasses.replace(result, frame=dataclasses.replace(result.frame, image=image))


def covered(image: Image, boxes: Iterable[Box], *, smooth: bool) -> Image:
    """A copy in which each box with its margin is no more than BLOCKS x BLOCKS means of the picture below."""
    out = image.copy()
    height, width = image.shape[:2]
    for box in boxes:
        margin = MARGIN * box.width
        x0, y0 = max(0, math.floor(box.x - margin)), max(0, math.floor(box.y - margin))
        x1, y1 = min(width, math.ceil(box.x + box.width + margin)), min(height, math.ceil(box.y + box.height + margin))
        if x1 <= x0 or y1 <= y0:
            continue
        side = max(box.width, box.height) + 2 * margin
        blocks = (min(BLOCKS, math.ceil(BLOCKS * (x1 - x0) / side)), min(BLOCKS, math.ceil(BLOCKS * (y1 - y0) / side)))
        means = cv2.resize(image[y0:y1, x0:x1], blocks, interpolation=cv2.INTER_AREA)
        how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        out[y0:y1, x0:x1] = cv2.resize(means, (x1 - x0, y1 - y0), interpolation=how)
    return out


class Aggregate:
    """Leaves counts. Who was in view is kept in memory until its window has passed, estimates included."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s, self._from_s = window_s, 0.0
        self._visits = Visits()
        self._known: dict[int, Estimate | None] = {}
        self._dwell_s: list[float] = []
        self._most = 0
        self._blank = np.zeros((0, 0, 3), np.uint8)

    def __call__(self, result: Result, places: Sequence[Box]) -> Result:
        frame = result.frame
        passed = math.floor((frame.time_s - self._from_s) / self._window_s)
        if passed > 0:
            self._from_s += passed * self._window_s
            self._known, self._dwell_s, self._most = {}, [], 0
        _, left = self._visits.update(result)
        self._count(result, left)
        if self._blank.shape != frame.image.shape:
            self._blank = np.full_like(frame.image, 24)
        blank = dataclasses.replace(frame, image=self._blank)
        return dataclasses.replace(result, frame=blank, people=(), crowd=self._crowd(frame.time_s, len(result.people)))

    def _count(self, result: Result, left: list[Visit]) -> None:
        self._most = max(self._most, len(result.people))
        self._dwell_s += [v.dwell_s for v in left]
        for person in result.people:
            self._known[person.id] = person.estimate or self._known.get(person.id)

    def _crowd(self, now_s: float, present: int) -> Crowd:
        read = [e for e in self._known.values() if e]
        told = len(read) >= LEAST_PEOPLE
        return Crowd(
            from_s=self._from_s,
            to_s=now_s,
            present=present,
            people=len(self._known),
            most=self._most,
            left=len(self._dwell_s),
            dwell_s=statistics.median(self._dwell_s) if len(self._dwell_s) >= LEAST_PEOPLE else None,
            ages=_counts(f"{10 * (int(e.age) // 10)}-{10 * (int(e.age) // 10) + 9}" for e in read) if told else None,
            genders=_counts(e.gender for e in read if e.gender) if told else None,
            expressions=_counts(e.expression for e in read if e.expression) if told else None,
        )


def _counts(words: Iterable[str]) -> Mapping[str, int]:
    return dict(sorted(Counter(words).items()))


def read_notice(text: str) -> str:
    """The notice for visitors: the text itself, or the content of the .txt file that it names. Raises UsageError."""
    try:
        if text.lower().endswith(".txt"):
            text = _decoded(read_bounded(Path(text).expanduser(), 4 * NOTICE_LENGTH))
        elif any("\ud800" <= letter <= "\udfff" for letter in text):  # bytes that are none of the locale's letters
            text = _decoded(os.fsencode(text))
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--notice: {text[:200]} cannot be read: {reason}") from error
    text = text.strip()
    if len(text) > NOTICE_LENGTH:
        raise UsageError(f"--notice is longer than {NOTICE_LENGTH} characters, which nobody reads in front of a screen")
    return text


def _decoded(content: bytes) -> str:
    """UTF-8 or UTF-16, or else Western European as older editors write it. Raises ValueError for what is not text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    if any(letter < " " and not letter.isspace() for letter in text):
        raise ValueError("it is not text")
    return text
