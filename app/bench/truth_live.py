"""`bench truth --live`: the known people before the application itself, from source to result, judged by what results show.

Source, front end, rule, network and fusing are the application's, in real time. At every instant, twice a frame, the newest
result delivered by then is held against who stands there at that instant. A person's answer is that of the box whose middle
lies within half of a face's width of theirs in the result's own frame. Whoever looks away is not judged meanwhile.
"""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from app.bench.truth_crowd import AWAY, FPS
from app.bench.truth_screen import SCREEN_COLUMNS, Guest, Judged, figures_of
from app.bench.truth_stage import Stage, StageSource, cast_of
from app.errors import UsageError
from app.files import check_writable
from models.data.sets.base import EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from app.bench.truth import Plan
    from app.bench.truth_crowd import Visit
    from app.bench.truth_readings import Faces
    from app.compose import App
    from app.domain import Box, Estimate, Person, Result

SETTLE_S, MOST_WARM_S = 1.5, 120.0
INSTANTS = 2  # a frame
NEAR_WIDTHS = 0.5  # of a face: how far its box may be off


@dataclass
class Shown:
    """A sink that remembers what was delivered when, without pictures."""

    results: list[tuple[float, int, tuple[Person, ...]]] = field(default_factory=list)
    network_ms: float = 0.0

    def deliver(self, result: Result) -> None:
        self.results.append((time.monotonic(), result.frame.id, result.people))
        self.network_ms += result.stats.measured_ms

    def close(self) -> None:
        pass


POLICIES = ("value-per-person", "deepest-that-fits")
COLUMNS = (
    *SCREEN_COLUMNS,
    ("misses", "missed", 100.0, ".2f"),
    ("network", "network, ms/s", 1e3, ".1f"),
    ("busy", "all, ms/s", 1e3, ".0f"),
)


def bench_truth_live(faces: Faces | None, plan: Plan, json_path: Path | None) -> int:
    """Prints a table for each world. Raises UsageError and ModelError."""
    from app.bench.truth import table

    if faces is None:
        raise UsageError("--live needs --utkface DIR --fer2013 DIR")
    if json_path:
        check_writable(json_path)
    out = {}
    for name, rows in live_tables(faces, plan):
        print(f"\n**{name}**\n", *table(rows, COLUMNS), sep="\n", flush=True)
        out[name] = rows
    if json_path:
        json_path.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    return 0


def live_tables(faces: Faces, plan: Plan) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """For each number of people and budget a row of figures for each rule, over the same crowds. Raises ModelError."""
    from app.compose import load_manifest
    from app.settings import Settings
    from models.manifest import DEFAULT_MODEL

    cast = cast_of(faces, load_manifest(DEFAULT_MODEL))
    frames = round(plan.seconds * FPS)
    for people, budget in product(plan.people, plan.budgets_ms):
        told: dict[str, list[dict[str, float]]] = {policy: [] for policy in POLICIES}
        for seed in range(1, plan.seeds + 1):
            stage = Stage(cast, people, frames, seed)
            # Who begins changes: the first run finds a machine, and a profile, that others do not.
            for policy in POLICIES if seed % 2 else POLICIES[::-1]:
                told[policy].append(ran(stage, Settings(source="demo", budget_ms=budget, policy=policy, show=False)))
        yield (
            f"{people} people, {budget:g} ms, live",
            [{"rule": name} | figures_of(rows) for name, rows in told.items()],
        )


def ran(stage: Stage, settings: Any) -> dict[str, float]:
    """One run of the application before a stage, in figures."""
    from app.compose import build

    source, shown = StageSource(stage), Shown()
    app = build(settings, sources=[source], watch=[shown])
    app.pipeline.start()
    try:
        before, began = _after_warming(app, source, shown)
        source.ended.wait(stage.frames / FPS + MOST_WARM_S)
        worked_s = _processor_s() - began
    finally:
        app.pipeline.close()
    if app.pipeline.failure:
        raise app.pipeline.failure
    totals = app.pipeline.totals
    late = totals.misses + sum(totals.drops[cause] for cause in totals.drops if cause.name.endswith("_FULL")) - before
    judged = judge(stage, shown.results, source.first, source.began_s)
    seen = max(judged.seen, 1e-9)
    return {
        **judged.figures(),
        "misses": late / stage.frames,
        "busy": (worked_s - source.drawing_s) / seen,
        "network": shown.network_ms / 1e3 / seen,
    }


def _after_warming(app: App, source: StageSource, shown: Shown) -> tuple[int, float]:
    """Lets people in when every point is loaded; frames late by then, and the processor seconds used."""
    wait, until_s = threading.Event().wait, time.monotonic() + MOST_WARM_S
    pipeline = app.pipeline
    while len(pipeline.controls.now.points) < len(app.network.engine.points) and time.monotonic() < until_s:
        wait(0.2)
        if pipeline.finished():
            break
    wait(SETTLE_S)
    totals = pipeline.totals
    late = totals.misses + sum(totals.drops[cause] for cause in totals.drops if cause.name.endswith("_FULL"))
    source.drawing_s = shown.network_ms = 0.0
    source.begin.set()
    return late, _processor_s()


def _processor_s() -> float:
    """Processor seconds of this process and its children so far."""
    import psutil

    one = psutil.Process()
    return sum(sum(p.cpu_times()[:2]) for p in (one, *one.children(recursive=True)))


def judge(stage: Stage, results: Sequence[tuple[float, int, tuple[Person, ...]]], first: int, began_s: float) -> Judged:
    """Judges results with the times of their delivery; the stage's first frame was `first` of the source's, at `began_s`."""
    total, guests, place = Judged(), dict[int, Guest](), -1
    answers: dict[int, Estimate | None] = {}
    for instant in range(INSTANTS * stage.frames):
        frame, now_s = instant // INSTANTS, instant / INSTANTS / FPS
        while place + 1 < len(results) and results[place + 1][0] - began_s <= now_s:
            place += 1
            _, frame_id, people = results[place]
            if frame_id >= first:
                answers = matched(stage.boxes(min(frame_id - first, stage.frames - 1)), people)
        for visit in stage.visits:
            total = _at(stage, visit, guests, frame, now_s, answers, total)
    for guest in guests.values():
        total += guest.leave(stage.frames / FPS)
    return total


def _at(
    stage: Stage, visit: Visit, guests: dict[int, Guest], frame: int, now_s: float,
    answers: dict[int, Estimate | None], total: Judged,
) -> Judged:  # fmt: skip
    """One instant of one visit."""
    person, i = visit.person, frame - visit.first
    if i == 0 and person not in guests:
        age = float(stage.cast.true_age[visit.face]) if stage.by_age(visit) else None
        gender = int(stage.cast.true_gender[visit.face]) if stage.by_age(visit) else None
        guests[person] = Guest(visit, now_s, age, gender, feels=not stage.by_age(visit))
    guest = guests.get(person)
    if guest is None:
        return total
    if frame >= visit.end:
        del guests[person]
        return total + guest.leave(now_s)
    guest.judge(now_s, count=visit.condition[max(i - 1, 0)] != AWAY)
    guest.expression = EXPRESSIONS[visit.expression[i]]
    if visit.condition[i] != AWAY:
        guest.tell(now_s, answers.get(person))
    return total


def matched(boxes: dict[int, Box], people: Sequence[Person]) -> dict[int, Estimate | None]:
    """What is said of each true person."""
    answers = {}
    for person, box in boxes.items():
        off = [(math.dist(p.box.centre, box.centre), p.estimate) for p in people]
        near = [one for one in off if one[0] <= NEAR_WIDTHS * box.width]
        answers[person] = min(near, key=lambda one: one[0])[1] if near else None
    return answers
