"""`bench truth`: every rule before the same known people, on the same machine, judged by what the screen shows of them.

The machine is that of scheduler.simulate: a profile, and the ups and downs of a recorded run. The people are those of
truth_crowd.py; what is shown of them is fused by the application's own code (truth_screen.py).
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.bench.truth_crowd import FPS, Visit, make_visits
from app.bench.truth_readings import Faces, Readings, record
from app.bench.truth_screen import SCREEN_COLUMNS, TruthScreen, counts, figures_of
from app.errors import UsageError
from app.files import check_writable
from scheduler.rivals import CONFIDENT, IN_NO_TIME, PARTS, RIVALS, Rival
from scheduler.simulate import walk
from scheduler.world import FrontEnd, Noise, World, draw_moments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scheduler.latency import LatencyModel
    from scheduler.policy import Rule
    from scheduler.profile import Profile
    from scheduler.simulate import Step
    from scheduler.world import Moment

# What finding, following and aligning takes of a budget (docs/reference/front-end.md).
FRONT_END = FrontEnd(ms=5.5, ms_per_face=0.23)
# Of rules that need a point to start from, every fourth one is tried; the table shows the best in hindsight.
EACH = 4
MISSES_ALLOWED = 0.01
# What counts as no more misses, of all frames, and as no higher error.
MISS_SLACK, ERROR_SLACK = 0.002, 1.01


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
    """How much of the time that was left was used, and who was left unread though worth it, also while there was time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.left_ms = self.used_ms = 0.0
        self.faces = self.unread = self.could = 0

    def __call__(self, step: Step) -> None:
        self.faces += step.faces
        if not step.faces:
            return
        self.left_ms += max(step.left_ms, 0.0)
        self.used_ms += min(step.took_ms, max(step.left_ms, 0.0))
        unread, rest = max(step.due - step.served, 0), step.left_ms - step.took_ms
        self.unread += unread
        if unread:
            cheapest = self._world.profile.front[0]
            self.could += self._world.profile.most_faces(cheapest, rest / self._world.moments[step.frame], unread)


def judge(readings: Readings, case: Case, rival: Rival, profile: Profile) -> dict[str, dict[str, float]]:
    """Figures of each of a rule's tries in one world."""
    world, visits = truth_world(readings, profile, case)
    world = rival.in_world(world)
    tries = rival.make(profile, world)
    tries = tries[::-EACH] if len(tries) > EACH else tries
    return {what: led(readings, world, visits, rule, latency) for what, rule, latency in tries}


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
        "unread": spare.unread / max(spare.faces, 1),
        "unread_in_time": spare.could / max(spare.faces, 1),
        "left_used": spare.used_ms / max(spare.left_ms, 1e-9),
    }


COLUMNS = (
    ("less", "less ours", 1.0, "+.3f"),
    *SCREEN_COLUMNS,
    ("misses", "missed", 100.0, ".2f"),
    ("busy", "ms/s", 1000.0, ".1f"),
    ("left_used", "left used", 100.0, ".0f"),
    ("unread", "unread", 100.0, ".1f"),
    ("unread_in_time", "in time", 100.0, ".2f"),
)


NAMES = ("value per person", "deepest that fits", "least error", "no probe")
RULES = {
    "all": (*RIVALS, CONFIDENT, IN_NO_TIME),
    "parts": (*(r for r in RIVALS if r.name in NAMES), *PARTS, IN_NO_TIME),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which worlds are met by which rules."""

    people: tuple[int, ...]
    budgets_ms: tuple[float, ...]
    noises: dict[str, Sequence[Moment]]
    seeds: int
    seconds: float
    rivals: tuple[Rival, ...] = (*RIVALS, CONFIDENT, IN_NO_TIME)


Row = dict[str, Any]


def tables(readings: Readings, profile: Profile, plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    """For each world its name, and a row of figures for each rule: mean and half of the 95 % interval over the seeds.

    Of rules with several tries the row is that of the least error among those that miss little, over all seeds. `less`: the
    error less that of the first rule before the same crowds. `error_at`: the least error of a rule's tries that miss no more
    than the first rule, and `attained_at`: the most frames in time of those whose error is no higher, with what MISS_SLACK and
    ERROR_SLACK allow; absent where there is none.
    """
    for people, budget, (name, noise) in product(plan.people, plan.budgets_ms, plan.noises.items()):
        case = Case(people=people, budget_ms=budget, noise=noise, front_end=FRONT_END, seconds=plan.seconds)
        cases = [replace(case, seed=seed) for seed in range(1, plan.seeds + 1)]
        rows, anchor = list[Row](), list[dict[str, float]]()
        for rival in plan.rivals:
            told = [judge(readings, one, rival, profile) for one in cases]
            tries = {what: [outcome[what] for outcome in told] for what in told[0]}
            what = min(tries, key=lambda w: (max(_mean(tries[w], "misses"), MISSES_ALLOWED), _mean(tries[w], "error")))
            anchor = anchor or tries[what]
            each = [t | {"less": t["error"] - a["error"]} for t, a in zip(tries[what], anchor, strict=True)]
            row = {"rule": f"{rival.name} {what}".strip(), **figures_of(each)}
            rows.append(row | _at_equal(list(tries.values()), anchor))
        yield f"{people} people, {budget:g} ms, {name}", rows


def _at_equal(tries: Sequence[Sequence[dict[str, float]]], anchor: Sequence[dict[str, float]]) -> dict[str, float]:
    errors = [_mean(t, "error") for t in tries if _mean(t, "misses") <= _mean(anchor, "misses") + MISS_SLACK]
    attained = [1 - _mean(t, "misses") for t in tries if _mean(t, "error") <= _mean(anchor, "error") * ERROR_SLACK]
    return {k: f(v) for k, f, v in (("error_at", min, errors), ("attained_at", max, attained)) if v}


def _mean(told: Sequence[dict[str, float]], key: str) -> float:
    return sum(t[key] for t in told) / len(told)


def summary(worlds: dict[str, list[Row]]) -> Iterator[str]:
    """Markdown, for each rule and world: error, * where it differs from the first rule's by more than its interval; per cent of
    frames missed; milliseconds a person-second. Then at equal misses and at equal error, over all worlds."""
    yield f"| rule | {' | '.join(worlds)} | error at equal misses | in time at equal error |"
    yield "|---|" + "---:|" * (len(worlds) + 2)
    for name in dict.fromkeys(_family(row) for rows in worlds.values() for row in rows):
        mine = [next(row for row in rows if _family(row) == name) for rows in worlds.values()]
        cells = []
        for row in mine:
            (less, half), (error, _), (misses, _), (busy, _) = (row[k] for k in ("less", "error", "misses", "busy"))
            cells.append(f"{error:.3f}{'*' if abs(less) > half else ''} {100 * misses:.1f} {1e3 * busy:.0f}")
        for key, form in (("error_at", "{:.3f}"), ("attained_at", "{:.1%}")):
            known = [row[key] for row in mine if key in row]
            cells.append(f"{form.format(sum(known) / len(known))} ({len(known)})" if known else "never")
        yield f"| {name} | " + " | ".join(cells) + " |"


def _family(row: Row) -> str:
    return str(row["rule"]).split(" exit_")[0].removesuffix(" value-per-person").removesuffix(" deepest-that-fits")


Column = tuple[str, str, float, str]


def table(rows: Sequence[dict[str, Any]], columns: Sequence[Column] = COLUMNS) -> Iterator[str]:
    """Markdown."""
    yield "| rule | " + " | ".join(title for _, title, _, _ in columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for row in rows:
        cells = []
        for key, _, scale, form in columns:
            mean, half = row[key]
            spread = f" ± {scale * half:{form.strip('+')}}" if key in ("less", "error", "busy") else ""
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
        print(f"\n**{name}**\n", *table(rows), sep="\n", flush=True)
        out[name] = rows
    print("\n**all worlds**\n", *summary(out), sep="\n")
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
    kept = tuple(p for p in profile.points if p.point in readings.points)
    if not kept:
        raise UsageError("the profile has no point that was recorded: record them again, or take another profile")
    return replace(profile, points=kept)
