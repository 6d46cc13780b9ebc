"""Who came, who left, and how long they were there, taken from the results alone, by the source's own time.

Somebody has entered when first in a result, and has left when in none for the tracker's memory. Whom the tracker holds
back as no face yet is in no result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain import FORGET_S

if TYPE_CHECKING:
    from app.domain import Estimate, Result


@dataclass(slots=True)
class Visit:
    """One person's time in view, seconds of the source; `estimate` is the last one, fused over the whole visit."""

    person: int
    entered_s: float
    seen_s: float
    estimate: Estimate | None

    @property
    def dwell_s(self) -> float:
        return self.seen_s - self.entered_s


class Visits:
    """Keeps those who are in view, and no one longer than `forget_s`."""

    def __init__(self, forget_s: float = FORGET_S) -> None:
        self._forget_s = forget_s
        self._present: dict[int, Visit] = {}

    def update(self, result: Result) -> tuple[list[Visit], list[Visit]]:
        """(who entered with this result, who has left by it)."""
        now_s, entered = result.frame.time_s, list[Visit]()
        for person in result.people:
            visit = self._present.get(person.id)
            if visit is None:
                visit = self._present[person.id] = Visit(person.id, now_s, now_s, None)
                entered.append(visit)
            visit.seen_s, visit.estimate = now_s, person.estimate or visit.estimate
        left = [v for v in self._present.values() if now_s - v.seen_s > self._forget_s]
        for visit in left:
            del self._present[visit.person]
        return entered, left

    def end(self) -> list[Visit]:
        """Those who are still there; for when nothing more comes."""
        left = list(self._present.values())
        self._present.clear()
        return left
