"""`simulate`: what a machine would do with a crowd, under our rule and every other, without a camera."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from app.errors import UsageError
from app.files import check_writable
from app.reports.outcomes import outcome_table
from app.reports.worlds import known_profile, read_crowd, recorded_moments
from scheduler.latency import LatencyModel
from scheduler.policy import policy_from_text
from scheduler.rivals import compete, ours
from scheduler.simulate import FrontEnd, Noise, draw_moments, make_world, simulate

MOST_FRAMES = 10_000_000


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
    profile, about = known_profile(profile_path)
    chance = random.Random(seed).random
    recorded = recorded_moments(noise)
    drawn = draw_moments(recorded, frames, chance)
    drawn_apart = draw_moments(recorded, frames, chance) if runs_apart else ()
    people = read_crowd(crowd, frames, fps)
    front_end = FrontEnd(ms=front_ms, ms_per_face=front_ms_per_face)
    world = make_world(people, profile, budget_ms, Noise.of(drawn, drawn_apart), front_end=front_end)
    print(f"{about}; crowd {crowd}, {len(world.faces)} frames at {fps:g} fps, up to {max(world.faces)} faces; "
          f"budget {budget_ms:g} ms, of which the front end takes {front_ms:g}"
          + (f" + {front_ms_per_face:g} a face" if front_ms_per_face else "")
          + (f"; noise of {noise}" if noise else "; no noise") + (", of each batch" if runs_apart else ""))  # fmt: skip
    started = time.perf_counter()
    if policy == "all":
        outcomes = list(compete(world, profile, memory_s=memory_s))
    else:
        try:
            rule = ours(world) if policy == "auto" else policy_from_text(policy, tuple(p.point for p in profile.points))
        except ValueError as error:
            raise UsageError(f"--policy: {error}, all") from error
        outcomes = [simulate(world, rule, LatencyModel(profile), policy, memory_s)]
    took = time.perf_counter() - started
    for line in outcome_table(outcomes):
        print(line)
    if policy != "all":
        print(
            f"points    {', '.join(f'{p} {n / frames:.0%}' for p, n in outcomes[0].points.items()) or 'none was run'}"
        )
        print(f"speed     {frames / took * 60 / 1e6:.2f} million frames a minute")
    if json_path:
        figures = {"crowd": crowd, "budget_ms": budget_ms, "fps": fps, "memory_s": memory_s, "seed": seed}
        rows = [o.to_json() for o in outcomes]
        json_path.write_text(json.dumps({**figures, "profile": profile.to_json(), "runs": rows}, indent=1) + "\n")
    return 0
