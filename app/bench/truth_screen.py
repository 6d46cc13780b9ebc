"""What the screen shows of the people of the truth world at every instant, and how wrong it is."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.bench.truth_crowd import AWAY, FPS
from app.bench.truth_readings import CONDITIONS
from app.domain import Reading
from app.network.calibrate import BLANK
from app.people.estimates import People
from app.people.movement import sharpness_of
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


@dataclass
class Judged:
    """Sums over people and time, seconds unless said otherwise; `error` is of an answer that looks at nobody's."""

    seen: float = 0.0
    blank: float = 0.0
    years: float = 0.0  # off, times seconds with an answer
    wrong_gender: float = 0.0
    wrong_expression: float = 0.0  # or none told
    changes: int = 0  # an age that moved by a year, another word
    visits: int = 0
    first: float = 0.0  # from coming to the first answer, or to going
    near: float = 0.0  # the same to an age within NEAR_YEARS

    @property
    def error(self) -> float:
        """Of what is shown, over that of an answer that looks at nobody: mean of age, gender and expression. Blank is 1."""
        parts = (
            self.years / BLANK["mae"],
            self.wrong_gender / BLANK["gender"],
            self.wrong_expression / BLANK["expression"],
        )
        return (sum(parts) / 3 + self.blank) / max(self.seen, 1e-9)

    def figures(self) -> dict[str, float]:
        answered = max(self.seen - self.blank, 1e-9)
        return {
            "error": self.error,
            "age_error": self.years / answered,
            "blank": self.blank / max(self.seen, 1e-9),
            "wrong_gender": self.wrong_gender / answered,
            "wrong_expression": self.wrong_expression / answered,
            "first_s": self.first / max(self.visits, 1),
            "near_s": self.near / max(self.visits, 1),
            "changes_per_minute": self.changes / max(self.seen / 60, 1e-9),
        }

    def __add__(self, other: Judged) -> Judged:
        return Judged(**{k: v + getattr(other, k) for k, v in asdict(self).items()})


class _Guest:
    """Somebody in view."""

    __slots__ = ("expression", "first_s", "near_s", "score", "shown", "since_s", "visit")

    def __init__(self, visit: Visit, now_s: float) -> None:
        self.visit, self.since_s = visit, now_s
        self.expression = EXPRESSIONS[visit.expression[0]]
        self.shown: Estimate | None = None
        self.score = Judged(visits=1)
        self.first_s = self.near_s = math.inf


class TruthScreen:
    """The Screen of scheduler.simulate for people who are known; fuses readings by the application's own code."""

    def __init__(self, readings: Readings, visits: Sequence[Visit], profile: Profile) -> None:
        self._readings, self._profile = readings, profile
        self._place = {p: i for i, p in enumerate(readings.points)}
        self._coming = deque(visits)
        self._guests: dict[int, _Guest] = {}
        self._order: list[_Guest] = []
        self._pending: deque[tuple[float, _Guest, Estimate | None]] = deque()
        self._people = People(GENDERS, EXPRESSIONS)
        self.total = Judged()
        self.unread_fits = self.wanted = self.left_used = 0.0

    def show(self, frame: int) -> None:
        now_s = frame / FPS
        while self._pending and self._pending[0][0] <= now_s:
            self._tell(*self._pending.popleft())
        for person, guest in list(self._guests.items()):
            i = frame - guest.visit.first
            if frame >= guest.visit.end:
                self._leave(guest, now_s)
                del self._guests[person]
            elif (expression := EXPRESSIONS[guest.visit.expression[i]]) is not guest.expression:
                self._judge(guest, now_s)
                guest.expression = expression
        while self._coming and self._coming[0].first <= frame:
            visit = self._coming.popleft()
            if visit.end > frame:
                self._guests[visit.person] = _Guest(visit, now_s)

    def load(self, frame: int, rule: Rule) -> Load:
        guests = [g for g in self._guests.values() if g.visit.condition[frame - g.visit.first] != AWAY]
        people = [self._known(g, frame) for g in guests]
        order = rule.rank(people)
        self._order = [guests[i] for i in order]
        new = sum(one.waited_ms == math.inf for one in people)
        return Load(len(guests), 0.0, new, frame=frame, people=tuple(people[i] for i in order))

    def _known(self, guest: _Guest, frame: int) -> Known:
        state = self._people.known(guest.visit.person, frame / FPS)
        if state is None:
            return Known()
        motion = CONDITIONS[guest.visit.condition[frame - guest.visit.first]].motion
        error = self._profile.error_at(state.exit, state.size)
        return Known(state.waited_s * 1e3, error, state.moved, sharpness_of(motion / 100))

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
            self._leave(guest, (frame + 1) / FPS)

    def _tell(self, time_s: float, guest: _Guest, estimate: Estimate | None) -> None:
        """A result arrives."""
        if guest.visit.person not in self._guests:
            return
        self._judge(guest, max(time_s, guest.since_s))
        before, guest.shown = guest.shown, estimate
        came_s = guest.visit.first / FPS
        if estimate:
            guest.first_s = min(guest.first_s, time_s - came_s)
            if abs(estimate.age - self._readings.true_age[guest.visit.face]) <= NEAR_YEARS:
                guest.near_s = min(guest.near_s, time_s - came_s)
        if before and estimate:
            words = (before.gender != estimate.gender) + (before.expression != estimate.expression)
            guest.score.changes += words + (round(before.age) != round(estimate.age))

    def _judge(self, guest: _Guest, now_s: float) -> None:
        """What was shown of somebody until now."""
        took, score, shown = now_s - guest.since_s, guest.score, guest.shown
        guest.since_s = now_s
        score.seen += took
        if shown is None:
            score.blank += took
            return
        face = guest.visit.face
        score.years += took * abs(shown.age - float(self._readings.true_age[face]))
        score.wrong_gender += took * (shown.gender != GENDERS[self._readings.true_gender[face]])
        score.wrong_expression += took * (shown.expression != guest.expression)

    def _leave(self, guest: _Guest, now_s: float) -> None:
        self._judge(guest, now_s)
        stay_s = len(guest.visit.condition) / FPS
        guest.score.first, guest.score.near = min(guest.first_s, stay_s), min(guest.near_s, stay_s)
        self.total += guest.score


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
