"""`bench truth`: every rule before the same known people, on the same machine, judged by what the screen shows of them.

The machine is that of scheduler.simulate: a profile, and the ups and downs of a recorded run. The people are those of
truth_crowd.py; what is shown of them is fused by the application's own code (truth_screen.py).
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.bench.truth_crowd import FPS, Visit, make_visits
from app.bench.truth_readings import Faces, Readings, record
from app.bench.truth_screen import SCREEN_COLUMNS, TruthScreen, counts, figures_of
from app.errors import UsageError
from app.files import check_writable
from scheduler.rivals import RIVALS, Rival
from scheduler.simulate import FrontEnd, Noise, World, draw_moments, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scheduler.latency import LatencyModel
    from scheduler.policy import Rule
    from scheduler.profile import Profile
    from scheduler.simulate import Moment, Step

# What finding, following and aligning takes of a budget (docs/reference/front-end.md).
FRONT_END = FrontEnd(ms=5.5, ms_per_face=0.23)
# Of rules that need a point to start from, every so manieth of the front is tried: the table shows the best in hindsight.
EACH = 4
MISSES_ALLOWED = 0.01


@dataclass(frozen=True, kw_only=True)
class Case:
    """One world: how many people, which budget, on a machine with such ups and downs."""

    people: int
    budget_ms: float
    noise: Sequence[Moment]
    front_end: FrontEnd
    seed: int = 1
    seconds: float = 40.0

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)


def truth_world(readings: Readings, profile: Profile, case: Case) -> tuple[World, list[Visit]]:
    """The machine's side of a case, and who comes."""
    visits = make_visits(readings, case.people, case.frames, case.seed)
    faces = counts(visits, case.frames)
    period = 1000 / FPS
    born = [i * period for i in range(case.frames)]
    front = case.front_end
    noise = Noise.of(draw_moments(case.noise, case.frames, random.Random(case.seed).random))
    world = World(
        name=f"{case.people} people",
        profile=profile,
        budget_ms=[case.budget_ms] * case.frames,
        born_ms=born,
        ready_ms=[b + front.ms + front.ms_per_face * n for b, n in zip(born, faces, strict=True)],
        faces=faces,
        arrivals=[0] * case.frames,
        moments=noise.moments,
        probes=noise.probes,
    )
    return world, visits


class _Spare:
    """How much of the time that was left was used, and who was left unread while there was time for them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.left_ms = self.used_ms = 0.0
        self.faces = self.read = self.could = 0

    def __call__(self, step: Step) -> None:
        self.faces += step.faces
        self.read += step.served
        if not step.faces:
            return
        self.left_ms += max(step.left_ms, 0.0)
        self.used_ms += min(step.took_ms, max(step.left_ms, 0.0))
        unread, rest = step.faces - step.served, step.left_ms - step.took_ms
        if unread:
            cheapest = self._world.profile.front[0]
            self.could += self._world.profile.most_faces(cheapest, rest / self._world.moments[step.frame], unread)


def judge(readings: Readings, case: Case, rival: Rival, profile: Profile) -> dict[str, Any]:
    """Figures of one rule in one world; of several tries the best by the error on screen among those that miss little."""
    world, visits = truth_world(readings, profile, case)
    tries = rival.make(profile, world)
    tries = tries[::-EACH] if len(tries) > EACH else tries
    outcomes = [led(readings, world, visits, rule, latency) | {"what": what} for what, rule, latency in tries]
    return min(outcomes, key=lambda o: (max(o["misses"], MISSES_ALLOWED), o["error"]))


def led(
    readings: Readings, world: World, visits: Sequence[Visit], rule: Rule, latency: LatencyModel
) -> dict[str, float]:
    """What a rule makes of a world, in figures."""
    screen, spare = TruthScreen(readings, visits, world.profile), _Spare(world)
    tally = walk(world, rule, latency, screen, spare)
    return {
        **screen.total.figures(),
        "misses": (tally.late + tally.dropped) / len(world.born_ms),
        "busy": tally.busy_ms / 1e3 / max(screen.total.seen, 1e-9),
        "read": spare.read / max(spare.faces, 1),
        "unread_in_time": spare.could / max(spare.faces, 1),
        "left_used": spare.used_ms / max(spare.left_ms, 1e-9),
    }


COLUMNS = (
    *SCREEN_COLUMNS,
    ("misses", "missed", 100.0, ".2f"),
    ("busy", "ms/s", 1000.0, ".1f"),
    ("left_used", "left used", 100.0, ".0f"),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which worlds are met by which rules."""

    people: tuple[int, ...]
    budgets_ms: tuple[float, ...]
    noises: dict[str, Sequence[Moment]]
    seeds: int
    seconds: float
    rivals: tuple[Rival, ...] = RIVALS


def tables(readings: Readings, profile: Profile, plan: Plan) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """For each world its name, and a row of figures for each rule: mean and half of the 95 % interval over the seeds."""
    for people, budget, (name, noise) in product(plan.people, plan.budgets_ms, plan.noises.items()):
        rows = []
        for rival in plan.rivals:
            told = [
                judge(
                    readings,
                    Case(
                        people=people,
                        budget_ms=budget,
                        noise=noise,
                        front_end=FRONT_END,
                        seed=seed,
                        seconds=plan.seconds,
                    ),
                    rival,
                    profile,
                )
                for seed in range(1, plan.seeds + 1)
            ]
            what = max({o["what"] for o in told}, key=[o["what"] for o in told].count)
            figures = figures_of([{k: v for k, v in o.items() if k != "what"} for o in told])
            rows.append({"rule": f"{rival.name} {what}".strip(), **figures})
        yield f"{people} people, {budget:g} ms, {name}", rows


Column = tuple[str, str, float, str]


def table(rows: Sequence[dict[str, Any]], columns: Sequence[Column] = COLUMNS) -> Iterator[str]:
    """Markdown."""
    yield "| rule | " + " | ".join(title for _, title, _, _ in columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for row in rows:
        cells = []
        for key, _, scale, form in columns:
            mean, half = row[key]
            spread = f" ± {scale * half:{form}}" if key in ("error", "busy") else ""
            cells.append(f"{scale * mean:{form}}{spread}")
        yield f"| {row['rule']} | " + " | ".join(cells) + " |"


def bench_truth(
    faces: Faces | None, recorded: Path | None, profile: Path | None, plan: Plan, json_path: Path | None
) -> int:
    """Records the readings where there are none, and prints a table for each world. Raises UsageError and ModelError."""
    from app.reports.worlds import known_profile

    for path in (json_path, recorded if recorded and not recorded.exists() else None):
        if path:
            check_writable(path)
    times, about = known_profile(profile)
    readings = _readings(faces, recorded, tuple(p.point for p in times.points)).half_of(judged=True)
    times = _only(times, readings)
    print(f"{about}; {len(readings.true_age)} faces to judge by, {len(readings.true_expression)} of expressions")
    out = {}
    for name, rows in tables(readings, times, plan):
        print(f"\n**{name}**\n")
        for line in table(rows):
            print(line)
        out[name] = rows
    if json_path:
        json_path.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    return 0


def _readings(faces: Faces | None, recorded: Path | None, points: Sequence[Any]) -> Readings:
    """Those of a file, or new ones, which are kept there."""
    if recorded and recorded.exists():
        return Readings.load(recorded)
    if faces is None:
        raise UsageError("--utkface DIR --fer2013 DIR are needed, or --readings FILE.npz that was recorded from them")
    from app.compose import load_manifest
    from models.manifest import DEFAULT_MODEL

    manifest = load_manifest(DEFAULT_MODEL)
    readings = record(manifest, faces, [p for p in points if not p.engine])
    if recorded:
        readings.save(recorded)
    return readings


def _only(profile: Profile, readings: Readings) -> Profile:
    """The points that were recorded."""
    from dataclasses import replace

    kept = tuple(p for p in profile.points if p.point in readings.points)
    if not kept:
        raise UsageError("the profile has no point that was recorded: record them again, or take another profile")
    return replace(profile, points=kept)
