"""A latency log that may be given to others: numbers about times, and nothing that says where or when it was made.

Only what is listed here stays; everything else is left out. What comes out is read again and must replay as before.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from app.errors import UsageError
from scheduler.log import LogError
from scheduler.reading import read_log
from scheduler.replay import differs, exact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LICENCE = "CC0-1.0"
HEADER = ("type", "schema", "machine", "model", "settings", "policy", "profile", "correction")
MACHINE = ("system", "machine", "processor", "cores", "python", "onnxruntime")
SETTINGS = (
    "live",
    "budget_ms",
    "exit",
    "policy",
    "economy",
    "device",
    "provider",
    "max_faces",
    "align_share",
    "threads",
)
# Of what happened between frames, what a replay needs; texts name cameras and addresses.
EVENTS = {
    "policy": ("policy",),
    "server": ("there",),
    "unanswered": ("exit", "size", "engine", "faces", "left_ms", "took_ms", "first"),
}
# What the longest of the strings that stay has in common with no address, path or name of a camera.
FORBIDDEN = ("://", "/", "\\", "@", "rtsp", "192.168.", "cam")


def shared(path: Path, out: Path) -> list[str]:
    """Writes what may be given away of the log at `path`; returns what was left out. Raises UsageError."""
    try:
        log = read_log(path)
        lines = path.read_text(encoding="utf-8").splitlines()[
            : len(log.frames) + sum(log.drops.values()) + 1 + len(log.events)
        ]
        left_out = set[str]()
        kept = [one for line in lines if (one := _kept(json.loads(line), left_out))]
        out.write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in kept), encoding="utf-8")
        again = read_log(out)
    except (LogError, OSError) as error:
        raise UsageError(str(error)) from error
    _check(kept[0])
    if log.repeatable and sum(differs(r, d) for r, d in exact(again)) != sum(differs(r, d) for r, d in exact(log)):
        raise UsageError(f"{path} replays differently without what was left out: please report it")
    return sorted(left_out)


def _kept(record: Mapping[str, Any], left_out: set[str]) -> dict[str, Any] | None:
    kind = record["type"]
    if kind == "header":
        header = _only(record, HEADER, "header", left_out)
        header["machine"] = _only(record.get("machine", {}), MACHINE, "machine", left_out)
        header["settings"] = _only(record.get("settings", {}), SETTINGS, "settings", left_out)
        return header | {"licence": LICENCE}
    if kind == "event":
        if record["name"] not in EVENTS:
            left_out.add(f"event {record['name']}")
            return None
        return _only(record, ("type", "name", *EVENTS[record["name"]]), f"event {record['name']}", left_out)
    return dict(record)


def _only(record: Mapping[str, Any], names: tuple[str, ...], where: str, left_out: set[str]) -> dict[str, Any]:
    left_out.update(f"{where}: {name}" for name in record if name not in names)
    return {name: value for name, value in record.items() if name in names}


def _check(header: Mapping[str, Any]) -> None:
    """Raises UsageError where a text that stays looks like a place."""
    for part in ("machine", "model", "settings"):
        for name, value in header.get(part, {}).items():
            text = str(value).lower()
            if name != "processor" and any(sign in text for sign in FORBIDDEN):
                raise UsageError(
                    f"the log's {part} says {name} = {str(value)[:80]!r}, which may name a place: change it by hand"
                )
