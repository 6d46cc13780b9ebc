"""What a latency log says beyond its own decisions: how well latency was predicted, what every rival would have made of the
same frames, and how far a simulation is from a live run."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler.compare import distance_ms, moments, share_apart, world_of
from scheduler.latency import LatencyModel
from scheduler.profile import quantile
from scheduler.rivals import compete
from scheduler.rules import policy_from_json
from scheduler.simulate import Outcome, Step, simulate
from scheduler.world import draw_moments

if TYPE_CHECKING:
    from scheduler.log import LatencyLog

SEED = 1


@dataclass(frozen=True)
class Comparison:
    """A live run beside a simulation of the same crowd. Ages in milliseconds."""

    live_ages: list[float]
    simulated_ages: list[float]
    live_misses: float
    simulated_misses: float
    live_points: Counter[str]
    simulated_points: Counter[str]
    live_read: float
    simulated_read: float
    live_network: list[float]
    simulated_network: list[float]
    again_ages: list[float]  # simulated with the ups and downs in yet another order: how far chance alone moves it
    again_points: Counter[str]

    @property
    def age_distance_ms(self) -> float:
        return distance_ms(self.live_ages, self.simulated_ages)

    @property
    def network_distance_ms(self) -> float:
        """Between what the network took in the frames in which it ran."""
        return distance_ms(self.live_network, self.simulated_network)

    @property
    def by_chance(self) -> tuple[float, float]:
        """How far two simulations are apart: ages in ms, share of frames with another point."""
        return distance_ms(self.again_ages, self.simulated_ages), share_apart(self.again_points, self.simulated_points)

    @property
    def points_apart(self) -> float:
        return share_apart(self.live_points, self.simulated_points)

    def to_json(self) -> dict[str, Any]:
        return {
            "live": _figures(self.live_ages, self.live_misses, self.live_read, self.live_points),
            "simulated": _figures(
                self.simulated_ages, self.simulated_misses, self.simulated_read, self.simulated_points
            ),
            "age_distance_ms": self.age_distance_ms,
            "network_distance_ms": self.network_distance_ms,
            "points_apart": self.points_apart,
            "by_chance": dict(zip(("age_distance_ms", "points_apart"), self.by_chance, strict=True)),
        }


def _figures(ages: list[float], misses: float, read: float, points: Counter[str]) -> dict[str, Any]:
    return {
        **{f"age_p{q}_ms": quantile(ages, q / 100) for q in (50, 95, 99)},
        "misses": misses,
        "read": read,
        "points": dict(points.most_common()),
    }


def compare(known: LatencyLog, live: LatencyLog) -> Comparison:
    """Simulates the crowd, the births, the front end and the budgets of `live` on the machine that `known` shows: its
    profile, and its ups and downs in another order. Both may be one log. Frames that `live` dropped before they were
    decided are in neither."""
    recorded, chance = moments(known.frames, known.profile), random.Random(SEED).random
    runs = []
    for _ in range(2):
        world = world_of(live, known.profile, draw_moments(recorded, len(live.frames), chance))
        steps: list[Step] = []
        latency = LatencyModel(known.profile)
        runs.append((simulate(world, policy_from_json(live.policy), latency, on_step=steps.append), steps))
    (outcome, steps), (_, others) = runs
    wanted = max(sum(r.wanted for r in live.frames), 1)
    return Comparison(
        live_ages=[r.age_ms for r in live.frames],
        simulated_ages=[s.age_ms for s in steps],
        live_misses=sum(r.miss for r in live.frames) / len(live.frames),
        simulated_misses=outcome.miss_share,
        live_points=Counter(str(r.point) for r in live.frames if r.served),
        simulated_points=Counter(str(s.point) for s in steps if s.point),
        live_network=[sum(ms for _, _, ms in r.batches()) for r in live.frames if r.served],
        simulated_network=[s.took_ms for s in steps if s.point],
        again_ages=[s.age_ms for s in others],
        again_points=Counter(str(s.point) for s in others if s.point),
        live_read=sum(r.read for r in live.frames) / wanted,
        simulated_read=outcome.served / wanted,
    )


def comparison_table(c: Comparison) -> list[str]:
    """Live and simulated side by side, and how far they are apart."""
    lines = [f"{'':<12}{'misses':>9}{'age p50':>10}{'p95':>9}{'p99':>9}{'read':>7}  points"]
    for name, f in ((n, c.to_json()[n]) for n in ("live", "simulated")):
        total = sum(f["points"].values()) or 1
        most = ", ".join(f"{p} {n / total:.0%}" for p, n in list(f["points"].items())[:4]) or "none"
        lines.append(
            f"{name:<12}{f['misses']:>9.2%}{f['age_p50_ms']:>7.1f} ms{f['age_p95_ms']:>6.1f} ms"
            f"{f['age_p99_ms']:>6.1f} ms{f['read']:>7.0%}  {most}"
        )
    return [
        *lines,
        f"apart: ages by {c.age_distance_ms:.2f} ms on average, the network's time by {c.network_distance_ms:.2f} ms, "
        f"points in {c.points_apart:.1%} of the frames",
        f"two simulations, for comparison: ages by {c.by_chance[0]:.2f} ms, points in {c.by_chance[1]:.1%}",
    ]


def rivals(log: LatencyLog, budget_ms: float | None = None) -> list[Outcome]:
    """Every rival in the world of a log, with the moments as recorded."""
    return list(compete(world_of(log, budget_ms=budget_ms), log.profile))
