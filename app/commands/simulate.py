"""`simulate`: what a machine would do with a crowd, under our rule and every other, without a camera."""

from __future__ import annotations

import json
import random
import re
import time
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path

from app.errors import UsageError
from app.files import check_writable
from app.profiles import read_profile
from scheduler.compare import moments
from scheduler.crowd import Crowd, from_counts, make_crowd, scaled
from scheduler.latency import LatencyModel, Profile
from scheduler.log import LogError, read_log
from scheduler.policy import policy_from_text
from scheduler.rivals import VARIANTS, compete, ours
from scheduler.simulate import Moment, Outcome, draw_moments, make_world, simulate

MOST_FRAMES = 10_000_000
BENCHMARK = "crowd benchmark"


def simulate_crowd(
    profile_path: Path | None,
    crowd: str,
    budget_ms: float,
    frames: int,
    fps: float,
    policy: str,
    noise: Path | None,
    front_ms: float,
    front_ms_per_face: float,
    memory_s: float,
    seed: int,
    json_path: Path | None,
    runs_apart: bool = False,
) -> int:
    """Raises UsageError for what makes no sense."""
    if not 1 <= frames <= MOST_FRAMES:
        raise UsageError(f"--frames must be from 1 to {MOST_FRAMES}, got {frames}")
    if not 1 <= budget_ms <= 10_000:
        raise UsageError(f"--budget-ms must be from 1 to 10000, got {budget_ms:g}")
    if not 0.01 <= memory_s <= 1e6:
        raise UsageError(f"--memory-s must be from 0.01 to 1000000, got {memory_s:g}")
    if not (0 <= front_ms < 1e5 and 0 <= front_ms_per_face < 1e5):
        raise UsageError("--front-ms and --front-ms-per-face must be from 0 to 100000")
    if json_path:
        check_writable(json_path)
    profile, about = _profile(profile_path)
    chance = random.Random(seed).random
    recorded = _recorded(noise)
    ratios, probes = zip(*draw_moments(recorded, frames, chance), strict=True)
    apart = [m.ratio for m in draw_moments(recorded, frames, chance)] if runs_apart else []
    people = read_crowd(crowd, frames, fps)
    world = make_world(
        people, profile, budget_ms, ratios, front_ms, front_ms_per_face, further_moments=apart, probes=probes
    )
    print(f"{about}; crowd {crowd}, {len(world.faces)} frames at {fps:g} fps, up to {max(world.faces)} faces; "
          f"budget {budget_ms:g} ms, of which the capture side takes {front_ms:g}"
          + (f" + {front_ms_per_face:g} a face" if front_ms_per_face else "")
          + (f"; noise of {noise}" if noise else "; no noise") + (", of each run" if runs_apart else ""))  # fmt: skip
    started = time.perf_counter()
    if policy == "all":
        outcomes = list(compete(world, profile, memory_s=memory_s))
    elif policy == "tune":
        outcomes = list(compete(world, profile, VARIANTS, memory_s))
    else:
        try:
            rule = ours(world) if policy == "auto" else policy_from_text(policy, tuple(p.point for p in profile.points))
        except ValueError as error:
            raise UsageError(f"--policy: {error}, all, tune") from error
        outcomes = [simulate(world, rule, LatencyModel(profile), policy, memory_s)]
    took = time.perf_counter() - started
    for line in outcome_table(outcomes):
        print(line)
    if policy not in ("all", "tune"):
        print(
            f"points    {', '.join(f'{p} {n / frames:.0%}' for p, n in outcomes[0].points.items()) or 'none was run'}"
        )
        print(f"speed     {frames / took * 60 / 1e6:.2f} million frames a minute")
    if json_path:
        figures = {"crowd": crowd, "budget_ms": budget_ms, "fps": fps, "memory_s": memory_s, "seed": seed}
        rows = [o.to_json() for o in outcomes]
        json_path.write_text(json.dumps({**figures, "profile": profile.to_json(), "runs": rows}, indent=1) + "\n")
    return 0


def outcome_table(outcomes: list[Outcome]) -> list[str]:
    """Lines for people; where there is an oracle, each row's regret against it."""
    oracle = next((o for o in outcomes if o.rule.startswith("oracle")), None)
    lines = [
        f"{'rule':<27}{'misses':>9}{'age p50':>9}{'p95':>7}{'p99':>7}{'read':>7}{'MAE':>7}{'streaming':>11}{'regret':>8}"
        f"{'longest wait':>14}{'its bound':>11}{'left unread':>13}{'switches/min':>14}"
    ]
    for o in outcomes:
        regret = f"{o.streaming_mae / oracle.streaming_mae - 1:+.1%}" if oracle and oracle.faces else ""
        lines.append(
            f"{o.rule:<27}{o.miss_share:>9.2%}{o.age_p50_ms:>9.1f}{o.age_p95_ms:>7.1f}{o.age_p99_ms:>7.1f}"
            f"{o.served / max(o.faces, 1):>7.0%}{o.delivered_mae:>7.2f}{o.streaming_mae:>11.3f}{regret:>8}"
            f"{o.longest_wait_ms:>11.0f} ms{o.wait_bound_ms:>8.0f} ms{o.left_unread:>13}{o.switches_per_minute:>14.0f}"
        )
    return lines


def _profile(path: Path | None) -> tuple[Profile, str]:
    """The one of a file (also of a log), or this machine's for the default network."""
    if path is None:
        from app.calibrate import candidates
        from app.compose import load_manifest, load_profile
        from app.engine import OnnxEngine
        from models.manifest import DEFAULT_MODEL

        manifest = load_manifest(DEFAULT_MODEL)
        points = candidates(manifest)
        engine = OnnxEngine(manifest, points=points)
        return load_profile(engine, manifest, points=points)[0], f"{manifest.name} on this machine"
    if path.suffix == ".jsonl":
        try:
            return read_log(path).profile, f"profile of log {path}"
        except LogError as error:
            raise UsageError(str(error)) from error
    if bench := _benchmark(path):
        return bench[0], bench[2]
    file = read_profile(path)
    return file.profile, f"{file.model['name']} on {file.machine.get('processor', 'an unnamed machine')}"


def _recorded(path: Path | None) -> list[Moment]:
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
        raise UsageError(f"benchmark {path} lacks or garbles {error}") from error


def read_crowd(text: str, frames: int, fps: float, most: int = 32) -> Crowd:
    """By name; or the faces of a recorded log, over and over, as LOG.jsonl, or as LOG.jsonl:N with N at the fullest."""
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
        raise UsageError("--crowd: the frames of the log must not be born before those in front of them")
    lasts = round(lasts, 6)
    if lasts <= 0:
        return [seen[i % len(seen)][1] for i in range(frames)]
    return [seen[max(bisect_right(times, (i / fps + 1e-9) % lasts) - 1, 0)][1] for i in range(frames)]
