"""Reads latency logs (log.py), and refuses whatever no run could have written."""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Any

from scheduler.load import Known
from scheduler.log import (
    FIRST_CORRECTION,
    READABLE,
    Batch,
    Event,
    FrameRecord,
    LatencyLog,
    LogError,
    measured_anew,
    offered,
)
from scheduler.policy import Fixed
from scheduler.profile import OperatingPoint, Profile
from scheduler.rules import policy_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST_FACES = 10_000
# A frame's line has about 500 bytes, a header some thousands; a day at 25 frames a second is about 1 GB.
MOST_BYTES, LONGEST_LINE = 2**31, 1_000_000


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
            f"{path} is not a latency log: its first line is not a header. Logs are made by `main.py run --log FILE`"
        )
    if header.get("schema") not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise LogError(f"log {path} has schema {header.get('schema')!r}; this version reads schemas {known}")
    frames, events, drops, read = list[FrameRecord](), list[Event](), dict[str, int](), 1
    try:
        profile = _profile(header)
        points = {p.point for p in profile.points}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise LogError(f"log {path}, line 1: the header is incomplete or wrong: {error}") from error
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
            raise LogError(f"log {path}, line {number}: the record is incomplete or wrong: {error}") from error
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
