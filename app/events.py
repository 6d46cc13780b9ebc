"""People as they come and go: who entered, who left, and for how long they were there.

Taken from the results alone, by the source's own time: somebody has entered when first in a result, and has left when in
none for the tracker's memory. Whom the tracker holds back as no face yet is in no result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from app.files import TextFile
from app.outputs import estimate_record
from app.tracker import FORGET_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


class EventsWriter:
    """One JSON line when a person enters and one when they leave; added to what the file holds already.

    With `wall` (seconds since 1970) each line has the time of day too.
    """

    def __init__(self, path: Path, wall: Callable[[], float] | None = None) -> None:
        self._file, self._wall = TextFile(path, append=True), wall
        self._visits = Visits()
        self._now_s = 0.0

    def deliver(self, result: Result) -> None:
        self._now_s = result.frame.time_s
        entered, left = self._visits.update(result)
        for visit in left:
            self._leave(visit)
        for visit in entered:
            self._write("enter", visit, visit.entered_s)

    def close(self) -> None:
        """Everybody leaves with the end of the run."""
        for visit in self._visits.end():
            self._leave(visit)
        self._file.close()

    def _leave(self, visit: Visit) -> None:
        self._write("leave", visit, visit.seen_s, dwell_s=round(visit.dwell_s, 3))

    def _write(self, event: str, visit: Visit, time_s: float, **more: Any) -> None:
        at = {"at": clock_time(self._wall() - (self._now_s - time_s))} if self._wall else {}
        record = {"event": event, "time_s": round(time_s, 4), **at, "id": visit.person, **more}
        self._file.write(json.dumps(record | estimate_record(visit.estimate), separators=(",", ":")) + "\n")


def clock_time(seconds: float) -> str:
    """ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
