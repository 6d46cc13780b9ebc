"""What the screen shows of the people of the truth world at every instant, and how wrong it is."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.bench.truth_crowd import AWAY, FPS
from app.domain import Reading
from app.network.calibrate import BLANK
from app.people.estimates import People
from models.data.sets.base import EXPRESSIONS, GENDERS
from scheduler.load import Known, Load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.bench.truth_crowd import Visit
    from app.bench.truth_readings import Readings
    from app.domain import Estimate
    from scheduler.policy import Rule
    from scheduler.profile import OperatingPoint, Profile

NEAR_YEARS = 5.0  # an age that is no further off is good
# Of a table about what is shown: figure, title, scale, format.
SCREEN_COLUMNS = (
    ("error", "error", 1.0, ".3f"),
    ("age_error", "age, years", 1.0, ".2f"),
    ("blank", "blank", 100.0, ".1f"),
    ("wrong_gender", "gender", 100.0, ".1f"),
    ("wrong_expression", "expression", 100.0, ".1f"),
    ("first_s", "first, s", 1.0, ".2f"),
    ("near_s", "near, s", 1.0, ".1f"),
    ("changes_per_minute", "changes", 1.0, ".0f"),
)


@dataclass
class Judged:
    """Sums over people and time, seconds unless said otherwise; `error` is of an answer that looks at nobody's."""

    seen: float = 0.0
    blank: float = 0.0
    aged: float = 0.0  # with an answer, of those whose age and gender are known
    years: float = 0.0  # off, times those seconds
    wrong_gender: float = 0.0
    felt: float = 0.0  # with an answer, of those whose expression is known
    wrong_expression: float = 0.0  # or none told
    changes: int = 0  # an age that moved by a year, another word
    visits: int = 0
    first: float = 0.0  # from coming to the first answer, or to going
    near: float = 0.0  # the same to an age within NEAR_YEARS

    @property
    def error(self) -> float:
        """The error shown, over that of an answer that looks at nobody: mean of age, gender and expression. Blank is 1."""
        aged, felt = max(self.aged, 1e-9), max(self.felt, 1e-9)
        parts = (
            self.years / aged / BLANK["mae"],
            self.wrong_gender / aged / BLANK["gender"],
            self.wrong_expression / felt / BLANK["expression"],
        )
        blank = self.blank / max(self.seen, 1e-9)
        return blank + (1 - blank) * sum(parts) / 3

    def figures(self) -> dict[str, float]:
        aged, felt = max(self.aged, 1e-9), max(self.felt, 1e-9)
        return {
            "error": self.error,
            "age_error": self.years / aged,
            "blank": self.blank / max(self.seen, 1e-9),
            "wrong_gender": self.wrong_gender / aged,
            "wrong_expression": self.wrong_expression / felt,
            "first_s": self.first / max(self.visits, 1),
            "near_s": self.near / max(self.visits, 1),
            "changes_per_minute": self.changes / max(self.seen / 60, 1e-9),
        }

    def __add__(self, other: Judged) -> Judged:
        return Judged(**{k: v + getattr(other, k) for k, v in asdict(self).items()})


class Guest:
    """Somebody in view, and what is shown of them. `age` and `gender` are None where they are not known; `feels` says whether
    the expression is."""

    __slots__ = (
        "_age",
        "_feels",
        "_first_s",
        "_gender",
        "_near_s",
        "_score",
        "_since_s",
        "expression",
        "shown",
        "visit",
    )

    def __init__(self, visit: Visit, now_s: float, age: float | None, gender: int | None, feels: bool = True) -> None:
        self.visit, self._since_s, self._age, self._gender, self._feels = visit, now_s, age, gender, feels
        self.expression = EXPRESSIONS[visit.expression[0]]
        self.shown: Estimate | None = None
        self._score = Judged(visits=1)
        self._first_s = self._near_s = math.inf

    def tell(self, time_s: float, estimate: Estimate | None) -> None:
        """Something else is shown from now on, or the same."""
        self.judge(max(time_s, self._since_s))
        before, self.shown = self.shown, estimate
        came_s = self.visit.first / FPS
        if estimate:
            self._first_s = min(self._first_s, time_s - came_s)
            if self._age is None or abs(estimate.age - self._age) <= NEAR_YEARS:
                self._near_s = min(self._near_s, time_s - came_s)
        if before and estimate:
            words = (before.gender != estimate.gender) + (before.expression != estimate.expression)
            self._score.changes += words + (round(before.age) != round(estimate.age))

    def judge(self, now_s: float, count: bool = True) -> None:
        """What was shown until now; with `count` False it is passed over."""
        took, score, shown = now_s - self._since_s, self._score, self.shown
        self._since_s = now_s
        if not count:
            return
        score.seen += took
        if shown is None:
            score.blank += took
            return
        if self._age is not None and self._gender is not None:
            score.aged += took
            score.years += took * abs(shown.age - self._age)
            score.wrong_gender += took * (shown.gender != GENDERS[self._gender])
        if self._feels:
            score.felt += took
            score.wrong_expression += took * (shown.expression != self.expression)

    def leave(self, now_s: float) -> Judged:
        self.judge(now_s)
        stay_s = len(self.visit.condition) / FPS
        self._score.first, self._score.near = min(self._first_s, stay_s), min(self._near_s, stay_s)
        return self._score


class TruthScreen:
    """The Screen of scheduler.simulate for people who are known; fuses readings by the application's own code."""

    def __init__(self, readings: Readings, visits: Sequence[Visit], profile: Profile) -> None:
        self._readings, self._profile = readings, profile
        self._place = {p: i for i, p in enumerate(readings.points)}
        self._coming = deque(visits)
        self._guests: dict[int, Guest] = {}
        self._order: list[Guest] = []
        self._pending: deque[tuple[float, Guest, Estimate | None]] = deque()
        self._people = People(GENDERS, EXPRESSIONS)
        self.total = Judged()

    def show(self, frame: int) -> None:
        now_s = frame / FPS
        while self._pending and self._pending[0][0] <= now_s:
            done_s, guest, estimate = self._pending.popleft()
            if guest.visit.person in self._guests:
                guest.tell(done_s, estimate)
        for person, guest in list(self._guests.items()):
            i = frame - guest.visit.first
            if frame >= guest.visit.end:
                self.total += guest.leave(now_s)
                del self._guests[person]
            elif (expression := EXPRESSIONS[guest.visit.expression[i]]) is not guest.expression:
                guest.judge(now_s)
                guest.expression = expression
        while self._coming and self._coming[0].first <= frame:
            visit = self._coming.popleft()
            if visit.end > frame:
                r, face = self._readings, visit.face
                self._guests[visit.person] = Guest(visit, now_s, float(r.true_age[face]), int(r.true_gender[face]))

    def load(self, frame: int, rule: Rule) -> Load:
        guests = [g for g in self._guests.values() if g.visit.condition[frame - g.visit.first] != AWAY]
        people = [self._known(g, frame) for g in guests]
        if early := getattr(rule, "early", None):
            people = [one._replace(spread=self._spread(g, frame, early)) for one, g in zip(people, guests, strict=True)]
        order = rule.rank(people)
        self._order = [guests[i] for i in order]
        new = sum(one.waited_ms == math.inf for one in people)
        return Load(len(guests), 0.0, new, frame=frame, people=tuple(people[i] for i in order))

    def _known(self, guest: Guest, frame: int) -> Known:
        state = self._people.known(guest.visit.person, frame / FPS)
        if state is None:
            return Known()
        return Known(state.waited_s * 1e3, self._profile.error_at(state.exit, state.size))

    def _spread(self, guest: Guest, frame: int, early: OperatingPoint) -> float:
        """How unsure that point is of somebody in this frame, years."""
        visit, i = guest.visit, frame - guest.visit.first
        return float(self._readings.half[visit.face, visit.condition[i], visit.view[i], self._place[early]])

    def serve(self, frame: int, point: OperatingPoint, count: int, done_ms: float) -> None:
        r, p = self._readings, self._place[point]
        for guest in self._order[:count]:
            visit = guest.visit
            i = frame - visit.first
            at = visit.face, visit.condition[i], visit.view[i], p
            woman = r.gender[at]
            expression = r.expression[visit.picture[i], visit.condition[i], visit.view[i], p]
            reading = Reading(
                float(r.age[at]), float(r.half[at]), np.array([1 - woman, woman]), expression, point.exit, point.size
            )
            self._people.read(visit.person, reading, frame, frame / FPS)
            self._pending.append((done_ms / 1e3, guest, self._people.estimate(visit.person)))
        self._order = self._order[count:]

    def close(self, frame: int) -> None:
        for guest in self._guests.values():
            self.total += guest.leave((frame + 1) / FPS)


def counts(visits: Sequence[Visit], frames: int) -> list[int]:
    """Faces that want to be read in each frame."""
    out = np.zeros(frames, int)
    for visit in visits:
        out[visit.first : visit.end] += (visit.condition != AWAY)[: frames - visit.first]
    return [int(n) for n in out]


def figures_of(values: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean and half of the 95 % interval of each figure over several seeds (Student's t)."""
    from scipy.stats import t

    out = {}
    for key in values[0]:
        column = np.array([v[key] for v in values])
        spread = column.std(ddof=1) / math.sqrt(len(column)) if len(column) > 1 else math.nan
        out[key] = float(column.mean()), float(t.ppf(0.975, max(len(column) - 1, 1)) * spread)
    return out
