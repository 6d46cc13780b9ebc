"""What is shown of people between two results: boxes that glide, ages that settle, words that do not flicker.

It is display only and must not lie: everything shown converges to the newest estimate and never goes past it; a person's
first estimate is shown as it is; a large change is shown at once. Times are given by the caller.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain import Box

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.domain import Person

# A box is within a tenth of its way after 80 ms: two frames at 25 a second.
BOX_S = 0.035
AGE_S = 0.35
FADE_S = 0.12
# A whole number of years stays while the age is within 0.5 + STICKY years of it, and, if it is then not the nearest
# one, for PATIENCE_S at most: an age at 33.5 would flicker otherwise.
STICKY, PATIENCE_S = 0.25, 0.8
# Fusion makes ages move slowly; one that changes by more is another person's, or a first guess corrected.
JUMP_YEARS = 12.0
WORD_S = 0.3
STILL_PX, STILL_YEARS = 0.3, 0.02


@dataclass(frozen=True, slots=True)
class Shown:
    """One person as displayed. Box in pixels of the frame; years are whole numbers."""

    id: int
    box: Box
    known: bool
    age: int = 0
    low: int = 0
    high: int = 0
    gender: str = ""
    expression: str = ""
    exit: str = ""
    stale_s: float = 0.0  # since this person was last read
    unfit: str = ""  # why the face could not be read, for people
    opacity: float = 1.0


def as_it_is(person: Person) -> Shown:
    """A person without any easing, for pictures that stand alone."""
    e, unfit = person.estimate, person.unfit or ""
    if e is None:
        return Shown(person.id, person.box, known=False, unfit=unfit)
    return Shown(
        person.id, person.box, True, round(e.age), round(e.age_low), round(e.age_high), e.gender, e.expression, e.exit,
        0.0 if person.fresh else math.inf, unfit,
    )  # fmt: skip


@dataclass(slots=True)
class _Years:
    """A number that glides, shown as a whole one."""

    value: float
    target: float
    whole: int
    off_s: float = 0.0  # for how long `whole` has not been the nearest

    @classmethod
    def at(cls, value: float) -> _Years:
        return cls(value, value, round(value))

    def aim(self, target: float) -> None:
        self.target = target
        if abs(target - self.value) > JUMP_YEARS:
            self.value, self.whole, self.off_s = target, round(target), 0.0

    def step(self, passed_s: float) -> None:
        self.value += (self.target - self.value) * (1 - math.exp(-passed_s / AGE_S))
        if abs(self.target - self.value) < STILL_YEARS:
            self.value = self.target
        off = abs(self.value - self.whole)
        self.off_s = self.off_s + passed_s if off > 0.5 else 0.0
        if off > 0.5 + STICKY or self.off_s > PATIENCE_S:
            self.whole, self.off_s = round(self.value), 0.0

    @property
    def still(self) -> bool:
        return self.value == self.target and self.off_s == 0.0


@dataclass(slots=True)
class _Word:
    """A word that changes only when another one has stayed for WORD_S."""

    shown: str
    newest: str
    since_s: float = 0.0

    def aim(self, word: str) -> None:
        if word != self.newest:
            self.newest, self.since_s = word, 0.0

    def step(self, passed_s: float) -> None:
        if self.newest != self.shown:
            self.since_s += passed_s
            if self.since_s >= WORD_S:
                self.shown = self.newest

    @property
    def still(self) -> bool:
        return self.shown == self.newest


@dataclass(slots=True)
class _Shown:
    target: Person
    box: Box
    read_s: float
    born_s: float
    years: tuple[_Years, _Years, _Years] | None = None  # low, age, high
    words: tuple[_Word, _Word] | None = None


@dataclass(slots=True)
class Motion:
    """Everybody in view as shown at a moment. `follow` takes each new result, `at` is asked at the screen's rate."""

    moving: bool = False
    _people: dict[int, _Shown] = field(default_factory=dict)
    _now_s: float | None = None

    def follow(self, people: Iterable[Person], now_s: float) -> None:
        """Whoever is no longer in view is gone at once: a box without a face would be a lie."""
        known, self._people = self._people, {}
        passed_s = self._passed_s(now_s)
        self._advance(known.values(), now_s)
        for person in people:
            old = known.get(person.id)
            shown = old or _Shown(person, person.box, now_s, now_s)
            shown.target = person
            shown.box = _glided(shown.box, person.box, passed_s)  # this picture is shown with it
            if person.fresh:
                shown.read_s = now_s
            estimate = person.estimate
            if estimate is None:
                shown.years = shown.words = None
            elif shown.years is None or shown.words is None:
                shown.years = tuple(map(_Years.at, (estimate.age_low, estimate.age, estimate.age_high)))  # type: ignore[assignment]
                shown.words = tuple(_Word(w, w) for w in (estimate.gender, estimate.expression))  # type: ignore[assignment]
                shown.born_s = now_s
            else:
                for years, value in zip(shown.years, (estimate.age_low, estimate.age, estimate.age_high), strict=True):
                    years.aim(value)
                for word, text in zip(shown.words, (estimate.gender, estimate.expression), strict=True):
                    word.aim(text)
            self._people[person.id] = shown
        self.moving = True

    def forget(self) -> None:
        """The picture is another one altogether: nothing glides over."""
        self._people, self.moving = {}, False

    def at(self, now_s: float) -> list[Shown]:
        self._advance(self._people.values(), now_s)
        return [self._show(shown, now_s) for shown in self._people.values()]

    def _advance(self, people: Iterable[_Shown], now_s: float) -> None:
        passed_s = self._passed_s(now_s)
        self._now_s, self.moving = now_s, False
        for shown in people:
            target = shown.target.box
            shown.box = _glided(shown.box, target, passed_s)
            parts = (*(shown.years or ()), *(shown.words or ()))
            for part in parts:
                part.step(passed_s)
            still = shown.box == target and all(part.still for part in parts) and now_s - shown.born_s >= FADE_S
            self.moving = self.moving or not still

    def _passed_s(self, now_s: float) -> float:
        return 0.0 if self._now_s is None else max(0.0, now_s - self._now_s)

    @staticmethod
    def _show(shown: _Shown, now_s: float) -> Shown:
        opacity = min(1.0, max(0.0, (now_s - shown.born_s) / FADE_S))
        plain = dataclasses.replace(as_it_is(shown.target), box=shown.box, opacity=opacity)
        if shown.years is None or shown.words is None:
            return plain
        low, age, high = (years.whole for years in shown.years)
        return dataclasses.replace(
            plain, age=age, low=min(low, age), high=max(high, age), gender=shown.words[0].shown,
            expression=shown.words[1].shown, stale_s=now_s - shown.read_s,
        )  # fmt: skip


def _glided(box: Box, target: Box, passed_s: float) -> Box:
    share = 1 - math.exp(-passed_s / BOX_S)
    nearer = Box(*(a + share * (b - a) for a, b in zip(box, target, strict=True)))
    return target if max(abs(a - b) for a, b in zip(nearer, target, strict=True)) < STILL_PX else nearer
