"""What a latency log says beyond its own decisions: how well latency was predicted, what every rival would have made of the
same frames, and how far a simulation is from a live run."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scheduler.compare import distance_ms, moments, share_apart, world_of
from scheduler.latency import LatencyModel, OperatingPoint, quantile
from scheduler.policy import policy_from_json
from scheduler.rivals import compete
from scheduler.simulate import Outcome, Step, draw_moments, simulate

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

    @property
    def age_distance_ms(self) -> float:
        return distance_ms(self.live_ages, self.simulated_ages)

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
            "points_apart": self.points_apart,
        }


def _figures(ages: list[float], misses: float, read: float, points: Counter[str]) -> dict[str, Any]:
    return {
        **{f"age_p{q}_ms": quantile(ages, q / 100) for q in (50, 95, 99)},
        "misses": misses,
        "read": read,
        "points": dict(points.most_common()),
    }


def compare(known: LatencyLog, live: LatencyLog) -> Comparison:
    """Simulates the crowd, the births, the capture side and the budgets of `live` on the machine that `known` shows: its
    profile, and its ups and downs in another order. Both may be one log. Frames that `live` dropped before they were
    decided are in neither."""
    drawn = draw_moments(moments(known), len(live.frames), random.Random(SEED).random)
    world = world_of(live, known.profile, drawn)
    steps: list[Step] = []
    outcome = simulate(world, policy_from_json(live.policy), LatencyModel(known.profile), on_step=steps.append)
    wanted = max(sum(r.wanted for r in live.frames), 1)
    return Comparison(
        live_ages=[r.age_ms for r in live.frames],
        simulated_ages=[s.age_ms for s in steps],
        live_misses=sum(r.miss for r in live.frames) / len(live.frames),
        simulated_misses=outcome.miss_share,
        live_points=Counter(str(OperatingPoint(r.exit, r.size)) for r in live.frames if r.served),
        simulated_points=Counter(str(s.point) for s in steps if s.point),
        live_read=sum(r.served for r in live.frames) / wanted,
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
        f"apart: ages by {c.age_distance_ms:.2f} ms on average, points in {c.points_apart:.1%} of the frames",
    ]


def rivals(log: LatencyLog, budget_ms: float | None = None) -> list[Outcome]:
    """Every rival in the world of a log, with the moments as recorded."""
    return list(compete(world_of(log, budget_ms=budget_ms), log.profile))
