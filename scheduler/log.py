"""The latency log: JSON lines, a header and then one record per frame. No pixels and nothing about a person.

header  {"type": "header", "schema", "created", "machine", "model", "settings", "policy", "profile"}
frame   {"type": "frame", "id", "time_s", "faces", "wanted", "served", "exit", "size", "bucket", "budget_ms", "left_ms",
         "predicted_ms", "measured_ms", "slowdown", "tail", "age_ms", "stages_ms": {...}, "miss", "provider"}
drop    {"type": "drop", "id", "cause"}
face    drops of single faces are counted in the frame's "unserved": {cause: faces}

Floats are written in full: replay must decide on the very numbers that the live run decided on.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any

from scheduler.latency import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCHEMA = 1


class LogError(ValueError):
    """A log that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRecord:
    """One frame. Times in milliseconds; `exit` is "" where the network was not run."""

    id: int
    time_s: float
    faces: int  # in view
    wanted: int  # of those, handed to the scheduler
    served: int
    exit: str
    size: int
    bucket: int
    budget_ms: float
    left_ms: float  # when the scheduler decided
    predicted_ms: float
    measured_ms: float
    slowdown: float  # as the scheduler believed it before this frame
    tail: float
    age_ms: float  # from birth to result
    miss: bool
    provider: str
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    unserved: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyLog:
    """A whole log in memory."""

    header: Mapping[str, Any]
    profile: Profile
    frames: tuple[FrameRecord, ...]
    drops: Mapping[str, int]
    cut: bool  # the last line was incomplete and left out

    @property
    def policy(self) -> Mapping[str, Any]:
        policy: Mapping[str, Any] = self.header["policy"]
        return policy


class LogWriter:
    """Writes a log line by line; each line is complete on disk before the next begins. Threads may share it."""

    def __init__(self, file: IO[str], header: Mapping[str, Any]) -> None:
        self._file, self._lock = file, threading.Lock()
        self._write({"type": "header", "schema": SCHEMA, **header})

    def frame(self, record: FrameRecord) -> None:
        self._write({"type": "frame", **asdict(record)})

    def drop(self, frame_id: int, cause: str) -> None:
        self._write({"type": "drop", "id": frame_id, "cause": cause})

    def _write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, separators=(",", ":")) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        with self._lock:
            self._file.close()


def read_log(path: Path) -> LatencyLog:
    """Reads a whole log. A cut last line, as a power failure leaves it, is left out; anything else wrong raises LogError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
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
    if header.get("schema") != SCHEMA:
        raise LogError(f"log {path} has schema {header.get('schema')!r}; this version reads schema {SCHEMA}")
    frames, drops, read = [], dict[str, int](), 1
    try:
        profile = Profile.from_json(header["profile"])
        header["policy"]["name"]
    except (KeyError, TypeError, ValueError) as error:
        raise LogError(f"log {path}, line 1: the header lacks or garbles {error}") from error
    for number, record in records:
        read += 1
        try:
            if record["type"] == "frame":
                frames.append(_frame(record))
            elif record["type"] == "drop":
                drops[record["cause"]] = drops.get(record["cause"], 0) + 1
            else:
                raise KeyError(f"type {record['type']!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise LogError(f"log {path}, line {number}: the record lacks or garbles {error}") from error
    return LatencyLog(header, profile, tuple(frames), drops, cut=read < len(lines))


def _frame(record: Mapping[str, Any]) -> FrameRecord:
    frame = FrameRecord(**{k: v for k, v in record.items() if k != "type"})
    numbers = (frame.time_s, frame.budget_ms, frame.left_ms, frame.predicted_ms, frame.measured_ms, frame.age_ms)
    if not all(isinstance(n, (int, float)) and abs(n) < float("inf") for n in numbers):
        raise ValueError(f"numbers of frame {frame.id}")
    if not 0 <= frame.served <= frame.wanted <= frame.faces:
        raise ValueError(f"faces of frame {frame.id}")
    return frame


def _records(path: Path, lines: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines) > 1:
                return
            raise LogError(f"log {path}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise LogError(f"log {path}, line {number} is not a record")
        yield number, record
