"""The file of events: a line when a person enters and one when they leave; of a crowd taken together, a line a window."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from app.files import TextFile
from app.outputs.results import estimate_record
from app.people.visits import Visits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.domain import Crowd, Result
    from app.people.visits import Visit


class EventsWriter:
    """One JSON line when a person enters and one when they leave; added to what the file holds already.

    With `wall` (seconds since 1970) each line has the time of day too. Results without people but with a Crowd
    (`--privacy aggregate`) give one line per window of time instead, when it has passed.
    """

    def __init__(self, path: Path, wall: Callable[[], float] | None = None) -> None:
        self._file, self._wall = TextFile(path, append=True), wall
        self._visits = Visits()
        self._crowd: Crowd | None = None
        self._now_s = 0.0
        self._named: dict[str, str] = {}  # of several cameras, this one's name

    def deliver(self, result: Result) -> None:
        self._now_s = result.frame.time_s
        self._named = {"camera": result.frame.camera} if result.frame.camera else {}
        if self._crowd and (result.crowd is None or result.crowd.from_s != self._crowd.from_s):
            self._window(self._crowd)
        self._crowd = result.crowd
        entered, left = self._visits.update(result)
        for visit in left:
            self._leave(visit)
        for visit in entered:
            self._write("enter", visit, visit.entered_s)

    def close(self) -> None:
        """Everybody leaves with the end of the run, and the last window ends. May be called twice."""
        for visit in self._visits.end():
            self._leave(visit)
        if self._crowd:
            self._window(self._crowd)
            self._crowd = None
        self._file.close()

    def _window(self, crowd: Crowd) -> None:
        self._line({"event": "window", **self._named, **crowd_record(crowd)}, crowd.to_s)

    def _leave(self, visit: Visit) -> None:
        self._write("leave", visit, visit.seen_s, dwell_s=round(visit.dwell_s, 3))

    def _write(self, event: str, visit: Visit, time_s: float, **more: Any) -> None:
        times = {"time_s": round(time_s, 4)}
        self._line(
            {"event": event, **self._named, **times, "id": visit.person, **more, **estimate_record(visit.estimate)},
            time_s,
        )

    def _line(self, record: dict[str, Any], time_s: float) -> None:
        """Adds the time of day of a moment of the source."""
        if self._wall:
            record["at"] = clock_time(self._wall() - (self._now_s - time_s))
        self._file.write(json.dumps(record, separators=(",", ":")) + "\n")


def crowd_record(crowd: Crowd) -> dict[str, Any]:
    """The fields of a window of time that has passed."""
    times = {"from_s": round(crowd.from_s, 4), "to_s": round(crowd.to_s, 4)}
    dwell = {"dwell_s": None if crowd.dwell_s is None else round(crowd.dwell_s, 1)}
    record = {**asdict(crowd), **times, **dwell}
    del record["present"]
    return record


def clock_time(seconds: float) -> str:
    """ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
