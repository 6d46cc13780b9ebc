"""`bench truth`: every rule before the same known people, on the same machine, judged by what the screen shows of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.bench.truth_crowd import FPS, make_visits
from app.bench.truth_screen import TruthScreen, counts
from scheduler.latency import LatencyModel
from scheduler.simulate import Noise, World, draw_moments, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.bench.truth_readings import Readings
    from scheduler.policy import Rule
    from scheduler.profile import Profile
    from scheduler.simulate import FrontEnd, Moment, Step


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


def truth_world(readings: Readings, profile: Profile, case: Case) -> tuple[World, list]:
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


def judge(
    readings: Readings, profile: Profile, case: Case, rule: Rule, latency: LatencyModel | None = None
) -> dict[str, float]:
    """Figures of one rule in one world."""
    world, visits = truth_world(readings, profile, case)
    screen, spare = TruthScreen(readings, visits, profile), _Spare(world)
    tally = walk(world, rule, latency or LatencyModel(profile), screen, spare)
    seen = screen.total.seen
    return {
        **screen.total.figures(),
        "misses": (tally.late + tally.dropped) / case.frames,
        "busy": tally.busy_ms / 1e3 / seen,
        "read": spare.read / max(spare.faces, 1),
        "could": spare.could / max(spare.faces, 1),
        "left_used": spare.used_ms / max(spare.left_ms, 1e-9),
    }
