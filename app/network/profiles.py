"""Profiles as files: what a machine's calibration found, with everything that it depends on.

    {"type": "latency profile", "schema": 1, "created", "machine": {...}, "model": {"name", "sha256"}, "provider",
     "threads", "profile": {...}}

Times of a machine and validation figures of a network; nothing about a person.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import OutputError, UsageError
from app.files import read_bounded
from scheduler.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.network.engine import Engine
    from models.manifest import Manifest
    from scheduler.profile import OperatingPoint

TYPE, SCHEMA = "latency profile", 1
MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class ProfileFile:
    """A profile and where it comes from."""

    created: str
    machine: Mapping[str, Any]
    model: Mapping[str, Any]
    provider: str
    threads: int
    profile: Profile

    def to_json(self) -> dict[str, Any]:
        return {"type": TYPE, "schema": SCHEMA, **vars(self), "profile": self.profile.to_json()}

    def only(self, points: Sequence[OperatingPoint]) -> ProfileFile:
        """Without the points that a run has not loaded, as one of a fixed exit, where any is left."""
        kept = tuple(p for p in self.profile.points if p.point in points)
        return replace(self, profile=replace(self.profile, points=kept)) if kept else self

    def check(self, path: Path, engine: Engine, manifest: Manifest, threads: int) -> str:
        """Raises UsageError where the profile is not of this network, provider and threads; returns a remark for people
        where only the machine is another, whose speed the running correction will find."""
        wrong = ""
        if self.model["sha256"] != manifest.sha256:
            wrong = f"network {self.model['name']} {self.model['sha256'][:8]}, this is {manifest.name} {manifest.sha256[:8]}"
        elif self.provider != engine.provider:
            wrong = f"{self.provider}, this run has {engine.provider}"
        elif self.threads != threads:
            wrong = f"{self.threads} threads, this run has {threads}"
        elif self.profile.buckets != measured_for(engine) or not {p.point for p in self.profile.points} <= set(
            engine.points
        ):
            wrong = "operating points or batches that this run does not have"
        if wrong:
            raise UsageError(
                f"profile {path} was measured with {wrong}: make one with `main.py calibrate --out {path}`"
            )
        here = machine()
        other = [k for k in ("processor", "cores", "onnxruntime") if self.machine.get(k) != here[k]]
        return f"from another machine ({', '.join(f'{k} {self.machine.get(k)}' for k in other)})" if other else ""


def measured_for(engine: Engine) -> tuple[int, ...]:
    """The numbers of faces that a profile of the engine has times for: its batches; where it fills them up, one face more than
    each holds as well. There the network takes a step, while cropping takes longer with every face; between them times are
    interpolated."""
    more = (b + 1 for b in engine.buckets[:-1]) if engine.pads else ()
    return tuple(sorted({*engine.buckets, *more}))


def machine() -> dict[str, Any]:
    """What a profile or log says about where it was made."""
    import onnxruntime

    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def made_here(profile: Profile, engine: Engine, manifest: Manifest, threads: int) -> ProfileFile:
    return ProfileFile(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        model={"name": manifest.name, "sha256": manifest.sha256},
        provider=engine.provider,
        threads=threads,
        profile=profile,
    )


def read_profile(path: Path) -> ProfileFile:
    """Raises UsageError for what is not a profile, with the reason."""
    try:
        data = json.loads(read_bounded(path, MAX_BYTES))
    except OSError as error:
        raise UsageError(f"profile {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a latency profile: {error}") from error
    if not isinstance(data, dict) or data.get("type") != TYPE:
        raise UsageError(f"{path} is not a latency profile. Profiles are made by `main.py calibrate --out FILE`")
    if data.get("schema") != SCHEMA:
        raise UsageError(f"profile {path} has schema {data.get('schema')!r}; this version reads schema {SCHEMA}")
    try:
        return ProfileFile(
            created=str(data["created"]),
            machine=dict(data["machine"]),
            model={"name": str(data["model"]["name"]), "sha256": str(data["model"]["sha256"])},
            provider=str(data["provider"]),
            threads=int(data["threads"]),
            profile=Profile.from_json(data["profile"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UsageError(f"profile {path} is incomplete or wrong: {error}") from error


def write_profile(path: Path, file: ProfileFile) -> None:
    """Replaces `path` in one go. Raises OutputError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(file.to_json(), indent=1) + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputError(f"profile {path} cannot be written: {error.strerror or error}") from error
