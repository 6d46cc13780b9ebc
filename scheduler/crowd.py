"""Who is in view at each frame: made crowds and recorded ones. Counts only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.load import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy import Rule

MOST = 256
SHAPES = ("step", "ramp", "burst", "clips", "demo")
# Faces in view in each frame, about twelve a second, as `main.py run --log` wrote them down for a clip of two people who
# walk up to a camera; the tracker loses one of them towards the end.
WALKING_FPS = 12.4
WALKING = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 2, 2, 2, 2)


@dataclass(frozen=True)
class Crowd:
    """Faces in view per frame, and how many of them were not there in the frame before."""

    name: str
    fps: float
    faces: tuple[int, ...]
    arrivals: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.faces or len(self.faces) != len(self.arrivals):
            raise ValueError("a crowd needs frames, and arrivals for each of them")
        before = 0
        for n, new in zip(self.faces, self.arrivals, strict=True):
            if not (0 <= n <= MOST and max(n - before, 0) <= new <= n):
                raise ValueError(f"{n} faces of whom {new} arrived, after {before}: that cannot be (at most {MOST})")
            before = n


class Guests:
    """People of whom only counts are known: when each was last read, and by a point of which error."""

    def __init__(self) -> None:
        self._read: list[tuple[float, float]] = []  # since when, and the error; whose turn is next comes first
        self._now_ms = 0.0

    def at(self, now_ms: float, faces: int, new: int, rule: Rule) -> tuple[Known, ...]:
        """What is known of `faces` people, `new` of whom were never read, in the order of their turns."""
        self._now_ms = now_ms
        known = [one for one in self._read if one[0] > -math.inf][: faces - new]
        everybody = [(-math.inf, math.inf)] * (faces - len(known)) + known
        people = [Known(now_ms - since, error) for since, error in everybody]
        order = rule.rank(people)
        self._read = [everybody[i] for i in order]
        return tuple(people[i] for i in order)

    def read(self, count: int, error: float) -> None:
        """The first `count` were read at this moment."""
        self._read = self._read[count:] + [(self._now_ms, error)] * min(count, len(self._read))


def from_counts(name: str, fps: float, counts: Sequence[int], stay_s: float = 8.0) -> Crowd:
    """A crowd from the number of faces in each frame. People come and go while it stays the same: each stays about `stay_s`."""
    arrivals, due, before = [], 0.0, 0
    for n in counts:
        due += min(n, before) / (stay_s * fps)
        swapped = min(int(due), min(n, before))
        due -= swapped
        arrivals.append(min(max(n - before, 0) + swapped, n))
        before = n
    return Crowd(name, fps, tuple(counts), tuple(arrivals))


def scaled(counts: Sequence[int], most: int) -> list[int]:
    """The same comings and goings with `most` people at their fullest."""
    fullest = max(counts, default=0)
    return [round(n * most / fullest) for n in counts] if fullest else list(counts)


def make_crowd(text: str, frames: int, fps: float, most: int = 32) -> Crowd:
    """A crowd by name: one of SHAPES, or const:N. Raises ValueError.

    step: nobody, all, nobody, a third of the time each. ramp: up to all and back, one by one. burst: two people; every
    four seconds all of them for one second. clips: as recorded, over and over, each of the two people as half of all.
    demo: the application's demo, up to twelve and back in 40 s.
    """
    if frames < 1:
        raise ValueError(f"a crowd needs at least one frame, got {frames}")
    if not 0.1 <= fps <= 1000:
        raise ValueError(f"frames per second must be from 0.1 to 1000, got {fps}")
    shape, _, number = text.partition(":")
    if shape == "const" and number.isdecimal() and int(number) <= MOST:
        counts = [int(number)] * frames
    elif text == "step":
        counts = [most if frames // 3 <= i < 2 * frames // 3 else 0 for i in range(frames)]
    elif text == "ramp":
        counts = [round(most * (1 - abs(2 * i / max(frames - 1, 1) - 1))) for i in range(frames)]
    elif text == "burst":
        counts = [most if i % max(round(4 * fps), 1) >= round(3 * fps) else min(2, most) for i in range(frames)]
    elif text == "clips":
        counts = scaled([WALKING[int(i / fps * WALKING_FPS) % len(WALKING)] for i in range(frames)], most)
    elif text == "demo":
        seconds = [i / fps % 40 for i in range(frames)]
        counts = [max(0, min(12, math.floor((s - 1) / 1.35) + 1, math.ceil((37.9 - s) / 1.15))) for s in seconds]
    else:
        raise ValueError(f"unknown crowd {text!r}; known: {', '.join(SHAPES)}, const:N with N up to {MOST}")
    return from_counts(text, fps, counts)
