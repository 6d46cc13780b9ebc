"""A log as a world to simulate in, and how far a simulation or a prediction is from what was measured."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

from scheduler.profile import Profile, quantile
from scheduler.world import Moment, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scheduler.log import FrameRecord, LatencyLog

QUANTILES = 200


def moments(frames: Iterable[FrameRecord], profile: Profile) -> list[Moment]:
    """How much longer than its profiled median each frame's first batch took, and what the probe had said."""
    return [Moment(_ratio(r, profile), r.probe) for r in frames if r.served]


def further_moments(frames: Iterable[FrameRecord], profile: Profile) -> list[float]:
    """Each frame's second batch over its first: 1 where they are equally fast or slow."""
    out = list[float]()
    for r in frames:
        ratios = [ms / profile.median_ms(point, n) for point, n, ms in r.batches()]
        out += [ratios[1] / ratios[0]] if len(ratios) > 1 else []
    return out


def _ratio(record: FrameRecord, profile: Profile) -> float:
    return record.measured_ms / profile.median_ms(record.point, record.served)


def world_of(
    log: LatencyLog, profile: Profile | None = None, drawn: Sequence[Moment] = (), budget_ms: float | None = None
) -> World:
    """The crowd, the births and the front end of a log. Moments are those recorded (that of the batch before where none
    was run) unless `drawn` gives others; the machine is the log's unless `profile` is another's."""
    recorded, last = list[Moment](), Moment(1.0)
    for r in log.frames:
        last = Moment(_ratio(r, log.profile), r.probe) if r.served else last
        recorded.append(last)
    met = drawn or recorded
    born = [r.time_s * 1e3 for r in log.frames]
    return World(
        name="log",
        profile=profile or log.profile,
        budget_ms=[r.budget_ms if budget_ms is None else budget_ms for r in log.frames],
        born_ms=born,
        ready_ms=_ready(log.frames),
        faces=[r.wanted for r in log.frames],
        arrivals=_arrivals(log.frames),
        moments=[m.ratio for m in met],
        probes=[m.probe for m in met],
    )


def _ready(frames: Sequence[FrameRecord]) -> list[float]:
    """When each frame could be taken: when it was taken, if nothing delayed it; else when the front end was done."""
    ready, free_ms = list[float](), 0.0
    for r in frames:
        born_ms = r.time_s * 1e3
        prepared_ms = born_ms + sum(r.stages_ms.values())
        taken_ms = born_ms + r.budget_ms - r.left_ms if r.budget_ms < inf else prepared_ms
        ready.append(taken_ms if free_ms <= prepared_ms else prepared_ms)
        free_ms = born_ms + r.age_ms
    return ready


def _arrivals(frames: Sequence[FrameRecord]) -> list[int]:
    """Those who were never read and were not among the unread of the frame before, and at least what the count rose by."""
    arrivals = [frames[0].wanted]
    for before, now in pairwise(frames):
        came = now.new - max(before.new - before.served, 0)
        arrivals.append(min(max(now.wanted - before.wanted, came, 0), now.wanted))
    return arrivals


def prediction_error(log: LatencyLog) -> tuple[float, float, float]:
    """Median and 95 % quantile of |expected - measured| / measured, and the share of batches that took no longer than
    predicted. Expected is the prediction without its tail. Raises ValueError for a log without a batch."""
    ran = [r for r in log.frames if r.served]
    if not ran:
        raise ValueError("the network was never run in this log")
    off = [abs(r.predicted_ms / r.tail - r.measured_ms) / r.measured_ms for r in ran]
    return quantile(off, 0.5), quantile(off, 0.95), sum(r.measured_ms <= r.predicted_ms for r in ran) / len(ran)


def distance_ms(one: Sequence[float], other: Sequence[float]) -> float:
    """Earth mover's distance between two sets of times: how far each has to be moved, on average, to make the other."""
    places = [(i + 0.5) / QUANTILES for i in range(QUANTILES)]
    a, b = sorted(one), sorted(other)
    return sum(abs(quantile(a, q) - quantile(b, q)) for q in places) / QUANTILES


def share_apart(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Total variation: the share of frames that would have to change their point to turn one into the other."""
    a, b = max(sum(one.values()), 1), max(sum(other.values()), 1)
    return sum(abs(one.get(k, 0) / a - other.get(k, 0) / b) for k in {*one, *other}) / 2
