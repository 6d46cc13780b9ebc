"""Worlds to simulate in, as the command line names them: a profile, a crowd, and the ups and downs of a recorded run."""

from __future__ import annotations

import json
import random
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from app.errors import UsageError
from app.network.profiles import read_profile
from scheduler.compare import moments
from scheduler.crowd import Crowd, from_counts, make_crowd, scaled
from scheduler.log import LogError
from scheduler.profile import Profile
from scheduler.reading import read_log
from scheduler.world import FrontEnd, Moment, Noise, World, draw_moments, make_world

BENCHMARK = "crowd benchmark"  # the type of what `bench crowd --json` writes

MOST_FRAMES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Who comes, as `read_crowd` names them, and how often they are seen."""

    crowd: str = "step"
    frames: int = 3000
    fps: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= MOST_FRAMES:
            raise UsageError(f"--frames must be from 1 to {MOST_FRAMES}, got {self.frames}")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A run whose ups and downs are drawn from; without one there are none."""

    path: Path | None = None
    apart: bool = False  # further batches of a frame have a noise of their own
    seed: int = 1

    def __str__(self) -> str:
        return (f"noise of {self.path}" if self.path else "no noise") + (", of each batch" * self.apart)


def simulated_world(
    camera: Camera, profile: Profile, budget_ms: float, front_end: FrontEnd, recording: Recording
) -> World:
    """A crowd before a machine. Raises UsageError for a crowd or a recording that there is not."""
    chance = random.Random(recording.seed).random
    recorded = recorded_moments(recording.path)
    drawn = draw_moments(recorded, camera.frames, chance)
    drawn_apart = draw_moments(recorded, camera.frames, chance) if recording.apart else ()
    people = read_crowd(camera.crowd, camera.frames, camera.fps)
    return make_world(people, profile, budget_ms, Noise.of(drawn, drawn_apart), front_end=front_end)


def known_profile(path: Path | None) -> tuple[Profile, str]:
    """The one of a file (also of a log), or this machine's for the default network."""
    if path is None:
        from app.compose import load_manifest, load_profile
        from app.network.calibrate import candidates
        from app.network.open import open_engine
        from models.manifest import DEFAULT_MODEL

        manifest = load_manifest(DEFAULT_MODEL)
        engine = open_engine(manifest, points=candidates(manifest))
        return load_profile(engine, manifest)[0], f"{manifest.name} on this machine"
    if path.suffix == ".jsonl":
        try:
            return read_log(path).profile, f"profile of log {path}"
        except LogError as error:
            raise UsageError(str(error)) from error
    if bench := _benchmark(path):
        return bench[0], bench[2]
    file = read_profile(path)
    return file.profile, f"{file.model['name']} on {file.machine.get('processor', 'an unnamed machine')}"


def recorded_moments(path: Path | None) -> list[Moment]:
    """The moments of a log, or of a `bench crowd --json`."""
    if path is None:
        return []
    try:
        bench = _benchmark(path)
        log = None if bench else read_log(path)
        recorded = moments(log.frames, log.profile) if log else bench[1]
    except LogError as error:
        raise UsageError(str(error)) from error
    if not recorded:
        raise UsageError(f"--noise: {path} has no frame in which the network ran")
    return recorded


def _benchmark(path: Path) -> tuple[Profile, list[Moment], str] | None:
    """Profile, moments and description of what `bench crowd --json` wrote; None for another file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["type"] != BENCHMARK:
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # whoever reads it as something else says what is wrong
    try:
        ratios = [float(m) for m in data["moments"]]
        probes = [float(p) for p in data.get("probes", [0.0] * len(ratios))]
        if not (all(0 < m < 1e6 for m in ratios) and all(0 <= p < 1e6 for p in probes) and len(probes) == len(ratios)):
            raise ValueError("moments or probes")
        recorded = [Moment(*m) for m in zip(ratios, probes, strict=True)]
        return Profile.from_json(data["profile"]), recorded, f"{data['model']} on {data['machine']['processor']}"
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"benchmark {path} is incomplete or wrong: {error}") from error


def read_crowd(text: str, frames: int, fps: float, most: int = 32) -> Crowd:
    """A crowd by name; or the faces of a recorded log, repeated, as LOG.jsonl, or as LOG.jsonl:N with N at the fullest."""
    name, _, number = text.rpartition(":") if re.search(r"\.jsonl:\d+$", text) else (text, "", "")
    try:
        if Path(name).suffix != ".jsonl":
            return make_crowd(text, frames, fps, most)
        records = read_log(Path(name)).frames
        if not records:
            raise UsageError(f"--crowd: log {name} has no frames")
        counts = _at(fps, [(r.time_s, r.faces) for r in records], frames)
        if number:
            counts = scaled(counts, min(int(number), 256))
        return from_counts(Path(name).name, fps, [min(n, 256) for n in counts])
    except LogError as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise UsageError(f"--crowd: {error}, or a log's name.jsonl") from error


def _at(fps: float, seen: list[tuple[float, int]], frames: int) -> list[int]:
    """What was seen at other times, as a camera of `fps` would have seen it, over and over."""
    first, last = seen[0][0], max(seen[-1][0], seen[0][0])
    lasts = last - first + ((last - first) / (len(seen) - 1) if len(seen) > 1 else 1.0)
    times = [t - first for t, _ in seen]
    if any(b < a for a, b in pairwise(times)):
        raise UsageError("--crowd: the frames of the log are not in order of time")
    lasts = round(lasts, 6)
    if lasts <= 0:
        return [seen[i % len(seen)][1] for i in range(frames)]
    return [seen[max(bisect_right(times, (i / fps + 1e-9) % lasts) - 1, 0)][1] for i in range(frames)]
