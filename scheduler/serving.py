"""Rules of serving systems, adapted to one queue of faces.

Each is written from its paper's description, with constants of ours; none was checked against its authors' code.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scheduler.load import Decision
from scheduler.policy import InTurn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.latency import LatencyModel
    from scheduler.load import Known, Load
    from scheduler.profile import OperatingPoint

BUCKETS = 16  # SlackFit's, of latency
WINDOW = 10  # batches that Clockwork looks back at
PATIENCE_MS = 320.0  # after which waiting counts e times as much, for EdgeServing


@dataclass
class SlackFit(InTurn):
    """Sorts all pairs of a point and a number of faces into equal buckets by latency, and takes from the last bucket that
    the slack allows the most faces, then the least error. After A. Khare et al., "SuperServe", NSDI 2025 (arXiv 2312.16733)."""

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        profile, pace = latency.profile, latency.pace(load)
        longest = profile.median_ms(profile.front[-1], load.faces) * pace
        best, most = None, (-1, 0, -math.inf)
        for point, error, _ in profile.choices:
            for serve in range(1, load.faces + 1):
                took = profile.median_ms(point, serve) * pace
                if took > load.left_ms:
                    break
                value = (int(took / longest * BUCKETS), serve, -error)
                if value > most:
                    most, best = value, Decision(point, serve, took)
        cheapest = profile.front[0]
        return best or Decision(cheapest, 1, profile.median_ms(cheapest, 1) * pace)


@dataclass
class Clockwork(InTurn):
    """A fixed point for as many faces as are done in time by the slowest of the last WINDOW batches; nobody where not even
    one is. After A. Gujarati et al., "Serving DNNs like Clockwork", OSDI 2020."""

    point: OperatingPoint
    ratios: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        self.ratios.append(latency.slowdown)
        slowest = max(self.ratios)
        serve = latency.profile.most_faces(self.point, load.left_ms / slowest, load.faces)
        return Decision(self.point, serve, latency.profile.median_ms(self.point, serve) * slowest)


@dataclass
class EdgeServing(InTurn):
    """The point and number of faces in time that leave the least urgency in the queue, exponential in how long each waits; of
    equal ones the least error. After J. Cao et al., "EdgeServing", ICCCN 2026 (arXiv 2605.05527), for one model."""

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        profile, pace = latency.profile, latency.pace(load)
        waited = [min(known.waited_ms, 4 * PATIENCE_MS) / PATIENCE_MS for known in load.people]
        best, least = None, (math.inf, math.inf)
        for point, error, _ in profile.choices:
            serve = profile.most_faces(point, load.left_ms / pace, load.faces)
            if not serve:
                continue
            took = profile.median_ms(point, serve) * pace
            urgency = sum(math.exp(one + took / PATIENCE_MS) for one in waited[serve:])
            if (urgency, error) < least:
                least, best = (urgency, error), Decision(point, serve, took)
        cheapest = profile.front[0]
        return best or Decision(cheapest, 1, profile.median_ms(cheapest, 1) * pace)


@dataclass(frozen=True)
class ConfidenceExits(InTurn):
    """All faces by an early exit; the network goes on to a late one for those of whom that is unsure by more than `sure` years.
    After Y. Dai et al., "Apparate", SOSP 2024 (arXiv 2312.05385), with thresholds and exits that are chosen in hindsight.

    It goes on from where the early exit left it, so a face costs what the exit takes that answers. How unsure the early exit
    is of this very crop stands in Known.spread."""

    early: OperatingPoint
    late: OperatingPoint
    sure: float

    def rank(self, people: Sequence[Known]) -> list[int]:
        return sorted(range(len(people)), key=lambda i: people[i].spread > self.sure)

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        sure = sum(known.spread <= self.sure for known in load.people)
        expected = latency.profile.median_ms(self.early, sure) if sure else 0.0
        return Decision(self.early, sure, expected, load, also=((self.late, load.faces - sure),))
