"""The latency log: JSON lines, a header and then one record per frame. No pixels and nothing about a person.

header  {"type": "header", "schema", "created", "machine", "model", "settings", "policy", "profile", "correction"}
frame   {"type": "frame", "id", "time_s", "faces", "wanted", "new", "served", "exit", "size", "bucket", "budget_ms",
         "left_ms", "probe", "predicted_ms", "measured_ms", "slowdown", "tail", "age_ms", "stages_ms": {...}, "miss",
         "provider", "known": [[waited_ms, error] or null, ...]}
        "known": what the rule may know of each of those wanted, in the order of their turns (policy.Known); null: nothing is
         shown of them
        "engine": "openvino", only where it was another than ONNX Runtime; also in each entry of
        "more": [{"left_ms", "served", "exit", "size", "predicted_ms", "measured_ms"}, ...]  each time that it was decided on
         again; "served" 0 and the last where no further batch was run. "served", "exit", ... of the frame are its first batch's
        "cameras": [{"camera", "id", "faces", "wanted", "read", "age_ms", "miss"}, ...]  only of several cameras, where a
         line is a round: the newest frame of each camera that had one, decided on together. "id" counts rounds then, and
         the other numbers are of all its faces, and of the frame that has the least time left
drop    {"type": "drop", "id", "cause"}, of several cameras "camera"
event   {"type": "event", "name", ...}: what changed between two frames; the name says what else is in it
         "policy"  {"policy": {...}}  the rule from the next frame on
         "points"  {"points": [...], "profile": {...}}  what may be chosen from the next frame on, since the others are not
          loaded yet, say; "profile" only where it was measured anew
         "server"  {"there"}  whether a server's points may be chosen from the next frame on
         "unanswered"  {"exit", "size", "engine", "faces", "left_ms", "took_ms", "first"}  it did not read a batch; where that
         was the first one, the next frame's numbers are of what was decided and read here instead
face    drops of single faces are counted in the frame's "unserved": {cause: faces}

Schema 1 had no "new" and no events, and its predictions came from another correction of the profile: such logs are read,
but their decisions cannot be made again bit for bit. Nor can schema 2's, which had no "more" and a tail for each point.
Schema 3 had no "probe": nobody looked, and its decisions are made again as they were. Schema 4 had no "engine": there was one.
Schema 5 had no "known", no "points" and no "cameras", and another rule and correction (before.py), which still replay it.
In schema 6 further batches moved the tail, too. "known" of schemas 6 and 7 goes on with moved and sharpness
(before.ValueOfMovement).

A batch is one execution of the network for some faces of a frame; in a policy's parameters they are called "runs".

Floats are written in full: replay must decide on the very numbers that the live run decided on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from scheduler.before import FormerLatency, FormerPlaces
from scheduler.load import Known
from scheduler.places import SERVER, latency_model
from scheduler.profile import OperatingPoint, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scheduler.latency import LatencyModel
    from scheduler.load import Decision

SCHEMA = 8
READABLE = (1, 2, 3, 4, 5, 6, 7, 8)
REPEATABLE = (3, 4, 5, 6, 7, 8)
LAST_FORMER = 5  # last schema with the correction of before.py
LOGGED = 2  # the first fields of Known are logged
BY_ALL = 6  # schema whose tail followed further batches, too
LONGEST_MESSAGE = 1000
# Of the latency model in logs that do not say.
FIRST_CORRECTION = {"tail_quantile": 0.99, "tail_step": 0.15, "further_quantile": 0.995, "tail_limit": 8.0}


class LogError(ValueError):
    """A log that cannot be read."""

    def __str__(self) -> str:
        text = super().__str__()  # may quote what was read, whatever its length
        return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


class Batch(NamedTuple):
    """What was decided on again after a frame's first batch; `served` 0 and `exit` "" where it was to stop."""

    left_ms: float
    served: int = 0
    exit: str = ""
    size: int = 0
    predicted_ms: float = 0.0
    measured_ms: float = 0.0
    engine: str = ""

    @property
    def point(self) -> OperatingPoint:
        return OperatingPoint(self.exit, self.size, self.engine)

    @classmethod
    def of(cls, decision: Decision, left_ms: float, measured_ms: float) -> Self:
        exit, size, engine = decision.point
        return cls(left_ms, decision.serve, exit, size, decision.predicted_ms, measured_ms, engine)


# Not frozen: a frozen one takes twice as long to make, and reading a log a sixth longer.
@dataclass(slots=True, kw_only=True)
class FrameRecord:
    """One frame, not to be changed. Times in milliseconds; `exit` is "" where the network was not run."""

    id: int
    time_s: float
    faces: int  # in view
    wanted: int  # of those, handed to the scheduler
    served: int
    exit: str
    size: int
    bucket: int
    budget_ms: float  # inf (null in the file) without a deadline, as frames of a file are
    left_ms: float  # when the scheduler decided; inf without a deadline
    predicted_ms: float
    measured_ms: float
    slowdown: float  # as the scheduler believed it before this frame
    tail: float
    age_ms: float  # from birth to result
    miss: bool
    provider: str
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    unserved: Mapping[str, int] = field(default_factory=dict)
    new: int = 0  # of those wanted, people who were never read
    probe: float = 0.0  # how many times slower than usual the machine was when the scheduler decided; 0: about as usual
    engine: str = ""
    further: tuple[Batch, ...] = ()  # after the first batch, whose numbers are above
    cameras: tuple[Mapping[str, Any], ...] = ()  # of several cameras, each one's part in it
    people: tuple[Known, ...] = ()  # of those wanted, in the order of their turns; older logs have none

    @property
    def point(self) -> OperatingPoint:
        """The point of the first batch."""
        return OperatingPoint(self.exit, self.size, self.engine)

    @property
    def read(self) -> int:
        """Faces served in all batches."""
        return self.served + sum(batch.served for batch in self.further)

    def batches(self) -> Iterator[tuple[OperatingPoint, int, float]]:
        """Point, faces and measured milliseconds of each batch."""
        if self.served:
            yield self.point, self.served, self.measured_ms
        for batch in self.further:
            if batch.served:
                yield batch.point, batch.served, batch.measured_ms


_FIELDS = tuple(f.name for f in fields(FrameRecord) if f.name not in ("further", "people", "cameras"))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed while the run went on, other than a frame's own numbers."""

    before: int  # how many frames the log has before it
    name: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class LatencyLog:
    """A whole log in memory."""

    header: Mapping[str, Any]
    profile: Profile  # the last that was measured: that of the most points
    frames: tuple[FrameRecord, ...]
    drops: Mapping[str, int]
    cut: bool  # the last line was incomplete and left out
    events: tuple[Event, ...] = ()

    @property
    def repeatable(self) -> bool:
        """Whether this version decides as the one did that wrote it."""
        return self.header["schema"] in REPEATABLE

    def latency(self) -> LatencyModel:
        """The latency model that the run began with."""
        numbers, profile = self.header.get("correction", {}), Profile.from_json(self.header["profile"])
        if self.header["schema"] > LAST_FORMER:
            latency = latency_model(profile, numbers)
            latency.by_all = self.header["schema"] == BY_ALL
            return latency
        away = any(p.point.engine == SERVER for p in profile.points)
        return (FormerPlaces if away else FormerLatency)(profile, **(FIRST_CORRECTION | numbers))

    @property
    def policy(self) -> Mapping[str, Any]:
        policy: Mapping[str, Any] = self.header["policy"]
        return policy


class Lines(Protocol):
    """What a log is written to: an open text file, or something like it."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class LogWriter:
    """Writes a log line by line; each line is complete on disk before the next begins. One thread at a time.

    `file` needs write, flush and close; what they raise is passed on.
    """

    def __init__(self, file: Lines, header: Mapping[str, Any]) -> None:
        self._file = file
        self._write({"type": "header", "schema": SCHEMA, **header})

    def frame(self, record: FrameRecord) -> None:
        more = [_without_engine(batch._asdict()) for batch in record.further]
        values = _without_engine({f: getattr(record, f) for f in _FIELDS})
        if record.budget_ms == inf:  # JSON has no such number
            values["budget_ms"] = values["left_ms"] = None
        people = [None if known.waited_ms == inf else list(known[:LOGGED]) for known in record.people]
        cameras = {"cameras": record.cameras} if record.cameras else {}
        self._write({"type": "frame", **values, "more": more, "known": people, **cameras})

    def drop(self, frame_id: int, cause: str, camera: str = "") -> None:
        named = {"camera": camera} if camera else {}
        self._write({"type": "drop", "id": frame_id, "cause": cause, **named})

    def event(self, name: str, **details: Any) -> None:
        """Notes what changed, such as the policy; `details` must be JSON and say nothing about a person."""
        self._write({"type": "event", "name": name, **details})

    def _write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _without_engine(record: dict[str, Any]) -> dict[str, Any]:
    """A record, its engine left out where that is ONNX Runtime."""
    if not record["engine"]:
        del record["engine"]
    return record


def measured_anew(event: Event) -> Profile | None:
    """The profile from an event on, where it is another."""
    return (
        Profile.from_json(event.details["profile"]) if event.name == "points" and "profile" in event.details else None
    )


def offered(event: Event) -> tuple[OperatingPoint, ...]:
    """What may be chosen after a "points" event."""
    return tuple(OperatingPoint.from_json(p) for p in event.details["points"])
