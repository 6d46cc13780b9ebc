"""What other systems are told of a run: how many people, never anything about one of them.

    {"type": "enter" or "leave", "present": 3, ...}
    {"type": "summary", "seconds": 10.0, "present": 3, "most": 4, "entered": 2, "left": 1, "total": 17,
     "visits": 5, "dwell_s": {"5-15": 4, "60-120": 1}, "ages": {"25-34": 3, "35-44": 1, "unknown": 1}, ...}
    {"type": "window", ...} with `--privacy aggregate`, as in the file of events

Each has `run` (drawn by chance), `number` (counts up from 0: a gap was lost), `schema`, `time_s` (the source's own) and, of
live sources, `at` (time of day). No id, no place, no estimate of a single person, no picture.

How long those who left had stayed, and how old they looked, is told of LEAST_PEOPLE or more together. Fewer wait for the
next summaries, so that nobody is left out in the long run; those who still wait at the end of the run are not told of.
"""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.outputs.events import clock_time, crowd_record
from app.outputs.privacy import LEAST_PEOPLE
from app.people.visits import Visits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from app.domain import Crowd, Result
    from app.people.visits import Visit

SCHEMA = 1
SUMMARY_S = 10.0
# Lower ends of what is told together: seconds in view, and years.
DWELL_S = (0, 5, 15, 30, 60, 120, 300)
AGES = (0, 13, 18, 25, 35, 45, 55, 65)


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that is told; `kind` is its type."""

    kind: str
    body: dict[str, Any]


class Messages:
    """Makes messages of results, in their order. With `wall` (seconds since 1970) they have the time of day too."""

    def __init__(self, wall: Callable[[], float] | None = None, run: str | None = None, camera: str = "") -> None:
        """`camera`: of several cameras, the name that each message carries; each camera counts its own numbers."""
        self._wall, self._run, self._camera = wall, run or uuid.uuid4().hex, camera
        self._visits, self._crowd = Visits(), None
        self._number, self._total = 0, 0
        self._gone: list[Visit] = []
        self._now_s = 0.0
        self._begun_s: float | None = None
        self._present = self._most = self._entered = self._left = 0

    def of(self, result: Result) -> list[Message]:
        """The messages that one more result leads to."""
        self._now_s = result.frame.time_s
        if self._begun_s is None:
            self._begun_s = self._now_s
        told = list[Message]()
        if result.crowd:
            told += self._crowded(result.crowd)
        else:
            entered, left = self._visits.update(result)
            self._present = len(result.people)
            self._count(len(entered), len(left))
            self._gone += left
            told += [
                self._message(kind, present=self._present) for kind in ["leave"] * len(left) + ["enter"] * len(entered)
            ]
        self._most = max(self._most, self._present)
        if not 0 <= self._now_s - self._begun_s < SUMMARY_S:
            told.append(self._summary())
        return told

    def end(self) -> list[Message]:
        """The last messages: everybody leaves. May be called twice."""
        left = self._visits.end()
        self._gone += left
        self._present = 0
        self._count(0, len(left))
        told = [self._message("leave", present=0) for _ in left]
        if self._crowd:
            told.append(self._message("window", **crowd_record(self._crowd)))
            self._crowd = None
        if self._begun_s is not None:
            told.append(self._summary())
            self._begun_s = None
        return told

    def _crowded(self, crowd: Crowd) -> list[Message]:
        """With `aggregate` there are no single people: who came and went is what the counts grew by."""
        last, self._crowd = self._crowd, crowd
        told = list[Message]()
        if last and last.from_s != crowd.from_s:  # counts began anew, with those who are in view
            told.append(self._message("window", **crowd_record(last)))
            self._count(max(0, crowd.people - last.present), crowd.left)
        else:
            self._count(crowd.people - (last.people if last else 0), crowd.left - (last.left if last else 0))
        self._present = crowd.present
        return told

    def _count(self, entered: int, left: int) -> None:
        self._entered += entered
        self._left += left
        self._total += entered

    def _summary(self) -> Message:
        gone = self._gone if len(self._gone) >= LEAST_PEOPLE else None
        summary = self._message(
            "summary",
            seconds=round(max(0.0, self._now_s - (self._begun_s or 0.0)), 3),
            present=self._present,
            most=self._most,
            entered=self._entered,
            left=self._left,
            total=self._total,
            visits=len(gone or ()),
            dwell_s=_shares(DWELL_S, (int(v.dwell_s) for v in gone)) if gone else None,
            ages=_shares(AGES, (int(v.estimate.age) if v.estimate else None for v in gone)) if gone else None,
        )
        if gone:
            self._gone = []
        self._begun_s, self._entered, self._left, self._most = self._now_s, 0, 0, self._present
        return summary

    def _message(self, kind: str, **values: Any) -> Message:
        head: dict[str, Any] = {"type": kind, "schema": SCHEMA, "run": self._run, "number": self._number}
        head |= {"camera": self._camera} if self._camera else {}
        head["time_s"] = round(self._now_s, 3)
        if self._wall:
            head["at"] = clock_time(self._wall())
        self._number += 1
        return Message(kind, head | values)


def _shares(lower: Sequence[int], values: Iterable[int | None]) -> dict[str, int]:
    """How many values lie between two lower ends: {"5-15": 4}; the last one is open."""
    counts = Counter(-1 if v is None else max(0, bisect_right(lower, v) - 1) for v in values)
    return {_named(lower, place): n for place, n in sorted(counts.items())}


def _named(lower: Sequence[int], place: int) -> str:
    if place < 0:
        return "unknown"
    if place == len(lower) - 1:
        return f"{lower[-1]}+"
    # Years are whole: 13-17. Seconds are not: 5-15.
    return f"{lower[place]}-{lower[place + 1] - (lower is AGES)}"
