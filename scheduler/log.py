"""The latency log: JSON lines, a header and then one record per frame. No pixels and nothing about a person.

header  {"type": "header", "schema", "created", "machine", "model", "settings", "policy", "profile", "correction"}
frame   {"type": "frame", "id", "time_s", "faces", "wanted", "new", "served", "exit", "size", "bucket", "budget_ms",
         "left_ms", "probe", "predicted_ms", "measured_ms", "slowdown", "tail", "age_ms", "stages_ms": {...}, "miss",
         "provider", "known": [[waited_ms, error, moved, sharpness] or null, ...]}
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
In schema 6 further batches moved the tail, too.

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
from scheduler.policy import Fixed
from scheduler.profile import OperatingPoint, Profile
from scheduler.rules import policy_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from scheduler.latency import LatencyModel
    from scheduler.load import Decision

SCHEMA = 7
READABLE = (1, 2, 3, 4, 5, 6, 7)
REPEATABLE = (3, 4, 5, 6, 7)
LAST_FORMER = 5  # schema of the correction of before.py
BY_ALL = 6  # schema whose tail followed further batches, too
MOST_FACES = 10_000
# A frame's line has about 500 bytes, a header some thousands; a day at 25 frames a second is about 1 GB.
MOST_BYTES, LONGEST_LINE = 2**31, 1_000_000
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
        """Of the first batch."""
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
        people = [None if known.waited_ms == inf else list(known) for known in record.people]
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


def read_log(path: Path) -> LatencyLog:
    """Reads a whole log. A cut last line, as a power failure leaves it, is left out; anything else wrong raises LogError."""
    try:
        lines = _lines(path)
    except OSError as error:
        raise LogError(f"log {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise LogError(f"{path} is not a latency log: it is not text") from error
    if not lines:
        raise LogError(f"log {path} is empty")
    records = _records(path, lines)
    _, header = next(records)
    if header.get("type") != "header":
        raise LogError(
            f"{path} is not a latency log: its first line is no header. Logs are made by `main.py run --log FILE`"
        )
    if header.get("schema") not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise LogError(f"log {path} has schema {header.get('schema')!r}; this version reads schemas {known}")
    frames, events, drops, read = list[FrameRecord](), list[Event](), dict[str, int](), 1
    try:
        profile = _profile(header)
        points = {p.point for p in profile.points}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise LogError(f"log {path}, line 1: the header lacks or garbles {error}") from error
    for number, record in records:
        read += 1
        try:
            if record["type"] == "frame":
                frames.append(_frame(record, points))
            elif record["type"] == "drop":
                drops[record["cause"]] = drops.get(record["cause"], 0) + 1
            elif record["type"] == "event":
                events.append(_event(record, len(frames), points))
                profile = measured_anew(events[-1]) or profile
            else:
                raise KeyError(f"type {record['type']!r}")
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise LogError(f"log {path}, line {number}: the record lacks or garbles {error}") from error
    return LatencyLog(header, profile, tuple(frames), drops, read < len(lines), tuple(events))


def _profile(header: Mapping[str, Any]) -> Profile:
    """Raises ValueError and others where the header cannot be."""
    profile = Profile.from_json(header["profile"])
    _check_policy(header["policy"], {p.point for p in profile.points})
    correction = header.get("correction", FIRST_CORRECTION)
    if not {"tail_quantile", "tail_step"} <= set(correction) <= set(FIRST_CORRECTION) or not all(
        _is_number(v) and (1 <= v < 1e6 if name == "tail_limit" else 0 < v < 1) for name, v in correction.items()
    ):
        raise ValueError(f"correction: {correction!r}")
    share = header.get("settings", {}).get("align_share")
    if share is not None and not (_is_number(share) and 0 < share <= 1):
        raise ValueError(f"align_share: {share!r}")
    return profile


def _lines(path: Path) -> list[str]:
    if path.exists() and not path.is_file():
        raise LogError(f"log {path} is not a regular file")
    with path.open("rb") as file:
        if path.stat().st_size > MOST_BYTES:
            raise LogError(f"log {path} is larger than {MOST_BYTES} bytes: replay a part of it (`head -n 1000000`)")
        lines = list[str]()
        while line := file.readline(LONGEST_LINE + 1):
            if len(line) > LONGEST_LINE:
                raise LogError(
                    f"{path} is not a latency log: line {len(lines) + 1} is longer than {LONGEST_LINE} bytes"
                )
            lines.append(line.decode().rstrip("\r\n"))
        return lines


def _check_policy(data: Mapping[str, Any], points: set[OperatingPoint]) -> None:
    policy = policy_from_json(data)
    if isinstance(policy, Fixed) and policy.point not in points:
        raise ValueError(f"policy: {policy.point} is not in the profile")


def _event(record: Mapping[str, Any], before: int, points: set[OperatingPoint]) -> Event:
    details = {k: v for k, v in record.items() if k not in ("type", "name")}
    if not isinstance(record["name"], str):
        raise ValueError("the name of an event")
    event = Event(before, record["name"], details)
    if event.name == "policy":
        _check_policy(details["policy"], points)
    elif event.name == "points":
        profile = measured_anew(event)
        points |= {p.point for p in profile.points} if profile else set()
        if not set(offered(event)) <= points:
            raise ValueError("points that are not in the profile")
    if event.name == "server" and type(details["there"]) is not bool:
        raise ValueError("there")
    if event.name == "unanswered":
        if OperatingPoint.from_json(details) not in points or type(details["faces"]) is not int:
            raise ValueError("what was not answered")
        if not 1 <= details["faces"] <= MOST_FACES or not (_is_positive(details["took_ms"]) and details["took_ms"]):
            raise ValueError("what was not answered")
        if details["left_ms"] is not None and not _is_number(details["left_ms"]):
            raise ValueError("left_ms")
    return event


def measured_anew(event: Event) -> Profile | None:
    """The profile from an event on, where it is another."""
    return (
        Profile.from_json(event.details["profile"]) if event.name == "points" and "profile" in event.details else None
    )


def offered(event: Event) -> tuple[OperatingPoint, ...]:
    """What may be chosen after a "points" event."""
    return tuple(OperatingPoint.from_json(p) for p in event.details["points"])


def _frame(record: Mapping[str, Any], points: set[OperatingPoint]) -> FrameRecord:
    values = dict(record)
    del values["type"]
    values["cameras"] = _cameras(values.pop("cameras", ()))
    values["further"] = further = tuple([Batch(**batch) for batch in values.pop("more", ())])
    values["people"] = people = tuple([Known(*one) if one else Known() for one in values.pop("known", ())])
    endless = values["budget_ms"] is None and values["left_ms"] is None
    if endless:
        values["budget_ms"] = values["left_ms"] = 0.0
    frame = FrameRecord(**values)
    # Loops, not all(...): this is most of what reading a long log takes.
    for count in (frame.id, frame.faces, frame.wanted, frame.new, frame.served, frame.size, frame.bucket):
        if type(count) is not int or not 0 <= count < 1e12:
            raise ValueError(f"counts of frame {frame.id}")
    if type(frame.miss) is not bool:
        raise ValueError(f"counts of frame {frame.id}")
    for ms in (frame.budget_ms, frame.probe, frame.predicted_ms, frame.measured_ms, frame.age_ms, frame.time_s):
        if not _is_positive(ms):
            raise ValueError(f"numbers of frame {frame.id}")
    if not (_is_number(frame.left_ms) and _is_number(frame.slowdown) and _is_number(frame.tail)):
        raise ValueError(f"numbers of frame {frame.id}")
    if frame.slowdown <= 0 or frame.tail <= 0:
        raise ValueError(f"numbers of frame {frame.id}")
    for part in (frame.stages_ms, frame.unserved):
        if not isinstance(part, dict):
            raise ValueError(f"stages_ms or unserved of frame {frame.id}")
        for value in part.values():
            if not _is_positive(value):
                raise ValueError(f"stages_ms or unserved of frame {frame.id}")
    if not (frame.served <= frame.wanted <= frame.faces <= MOST_FACES and frame.new <= frame.wanted):
        raise ValueError(f"faces of frame {frame.id}")
    if people and (
        len(people) != frame.wanted or not all(_is_positive(v) for one in people if one != Known() for v in one)
    ):
        raise ValueError(f"known of frame {frame.id}")
    if bool(frame.served) != bool(frame.exit) or (frame.served and frame.measured_ms <= 0):
        raise ValueError(f"exit of frame {frame.id}")
    if frame.exit and frame.point not in points:
        raise ValueError(f"exit of frame {frame.id}, which is not in the profile: {frame.exit!r}")
    if further:
        _check_further(frame, points)
    if endless:
        frame.budget_ms = frame.left_ms = inf
    return frame


def _cameras(lines: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(lines, list | tuple) or not all(isinstance(one, dict) and "camera" in one for one in lines):
        raise ValueError("cameras")
    return tuple(lines)


def _check_further(frame: FrameRecord, points: set[OperatingPoint]) -> None:
    for batch in frame.further:
        numbers = (batch.left_ms, batch.predicted_ms, batch.measured_ms)
        if type(batch.served) is not int or batch.served < 0 or not all(map(_is_number, numbers)):
            raise ValueError(f"more of frame {frame.id}")
        if batch.served and not (batch.measured_ms > 0 <= batch.predicted_ms and batch.point in points):
            raise ValueError(f"more of frame {frame.id}")
    if not frame.served or frame.read > frame.wanted or any(not batch.served for batch in frame.further[:-1]):
        raise ValueError(f"more of frame {frame.id}")


def _is_positive(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12  # type: ignore[operator]


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e12  # type: ignore[arg-type]


def _records(path: Path, lines: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines) > 1:
                return
            raise LogError(f"log {path}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise LogError(f"log {path}, line {number} is not a record")
        yield number, record
