"""Who stands in front of the camera of the truth world: real people put together from recorded readings, and what they do.

Somebody comes from afar, smeared by their walk, and stands near; now and then they move, look past the camera (the network sees
a turned face) or away (no face is found), change expression, and go. A quarter of them stand in bad light. All of it follows
from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.bench.truth_readings import FAR, NEAR, NUMBER, VIEWS, Condition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from app.bench.truth_readings import Readings

FPS = 25.0
AWAY = -1  # instead of a condition: no face is found
MOST = 32
STAY_S, GAP_S = (4.0, 30.0), (0.2, 2.0)
APPROACH_S, LEAVE_S = (1.0, 3.0), (0.5, 1.0)
DARK = 0.25
# What somebody near does next, how often, and for how long on average.
DOING = (("still", 0.0, 4.0), ("slow", 0.5, 1.0), ("fast", 0.2, 0.7), ("turned", 0.2, 1.0), ("away", 0.1, 0.8))
NEUTRAL_S, OTHER_S = 5.0, 2.5
# Of the expressions but neutral, in the order of the classes: angry, disgust, fear, happy, neutral, sad, surprise.
EXPRESSIONS = np.array([0.15, 0.05, 0.05, 0.4, 0.0, 0.15, 0.2])
NEUTRAL = 4


@dataclass(frozen=True, eq=False)
class Visit:
    """One person from their coming to their going. Arrays have an entry for each of their frames."""

    person: int
    face: int  # of UTKFace
    first: int  # frame
    condition: NDArray[np.int64]  # number of a condition, or AWAY
    view: NDArray[np.int64]
    picture: NDArray[np.int64]  # of FER2013
    expression: NDArray[np.int64]  # true class

    @property
    def end(self) -> int:
        """The first frame without them."""
        return self.first + len(self.condition)


def make_visits(readings: Readings, people: int, frames: int, seed: int) -> list[Visit]:
    """Visits that keep `people` in view nearly all the time."""
    rng = np.random.default_rng((seed, people))
    faces = len(readings.true_age)
    visits = list[Visit]()
    order = list[int]()
    for _ in range(people):
        start = int(rng.uniform(0, 3.0) * FPS)
        while start < frames:
            length = min(int(rng.uniform(*STAY_S) * FPS), frames - start)
            if not order:
                order = rng.permutation(faces).tolist()
            visits.append(_visit(readings, len(visits), order.pop(), start, length, rng))
            start += length + int(rng.uniform(*GAP_S) * FPS)
    return sorted(visits, key=lambda v: v.first)


def _visit(readings: Readings, person: int, face: int, first: int, length: int, rng: np.random.Generator) -> Visit:
    condition = np.array(list(_conduct(length, rng)), int)
    expression = np.array(list(_mood(length, rng)), int)
    pictures = [np.flatnonzero(readings.true_expression == c) for c in range(len(EXPRESSIONS))]
    mine = np.array([rng.choice(some) if len(some) else -1 for some in pictures])
    return Visit(person, face, first, condition, rng.integers(0, VIEWS, length), mine[expression], expression)


def _conduct(frames: int, rng: np.random.Generator) -> Iterator[int]:
    """A condition for each frame."""
    dark = bool(rng.random() < DARK)
    leaving = int(rng.uniform(*LEAVE_S) * FPS)
    given = 0
    for _ in range(min(int(rng.uniform(*APPROACH_S) * FPS), frames)):
        given += 1
        yield NUMBER[Condition(FAR, 14.0 if rng.random() < 0.3 else 6.0, dark)]
    while given < frames - leaving:
        what = _next_doing(rng, given == 0)
        for _ in range(min(int(rng.exponential(DOING[what][2]) * FPS) + 1, frames - leaving - given)):
            given += 1
            yield _near(DOING[what][0], dark)
        if what:  # after each of them they stand still again
            for _ in range(min(int(rng.exponential(DOING[0][2]) * FPS) + 1, frames - leaving - given)):
                given += 1
                yield _near("still", dark)
    for _ in range(frames - given):
        yield NUMBER[Condition(FAR, 6.0, dark)]


def _next_doing(rng: np.random.Generator, first: bool) -> int:
    return 0 if first else int(rng.choice(len(DOING), p=[share for _, share, _ in DOING]))


def _near(doing: str, dark: bool) -> int:
    if doing == "away":
        return AWAY
    motion = {"slow": 6.0, "fast": 14.0}.get(doing, 0.0)
    return NUMBER[Condition(NEAR, motion, dark, doing == "turned")]


def _mood(frames: int, rng: np.random.Generator) -> Iterator[int]:
    """An expression for each frame: neutral and another in turn."""
    given, now = 0, NEUTRAL
    while given < frames:
        mean_s = NEUTRAL_S if now == NEUTRAL else OTHER_S
        for _ in range(min(int(rng.exponential(mean_s) * FPS) + 5, frames - given)):
            given += 1
            yield now
        now = NEUTRAL if now != NEUTRAL else int(rng.choice(len(EXPRESSIONS), p=EXPRESSIONS))
