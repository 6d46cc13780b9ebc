"""Feeds a log through a policy: what was decided, and what another policy or budget would have done.

A log does not hold the latency of points that were not chosen. Under the recorded policy and budget nothing is guessed:
each frame is decided on its recorded numbers and must come out as recorded. Otherwise a frame's latency is the
profile's median for the point chosen, times the slowdown of that moment (recorded measurement / its profiled median);
what the other choice would have changed for the frames behind (a longer queue, a warmer chip) is not modelled. Under another
budget the front end would have aligned fewer or more faces: that is counted in at the frame's own time per face.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.latency import LatencyModel, OperatingPoint, Profile, quantile
from scheduler.policy import Decision, Load, Policy, policy_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.log import FrameRecord, LatencyLog


@dataclass(frozen=True, slots=True)
class Replayed:
    """One frame as the policy would have had it."""

    record: FrameRecord
    decision: Decision | None  # None where nobody wanted to be read
    left_ms: float
    latency_ms: float
    age_ms: float
    miss: bool


@dataclass(frozen=True)
class Summary:
    """A whole replay in figures."""

    policy: str
    budget_ms: float
    frames: int
    misses: int
    age_p50_ms: float
    age_p95_ms: float
    faces: int  # in view, in all frames
    served: int
    exits: dict[str, int]  # frames by operating point
    expected_mae: float  # mean over served faces of their point's validation MAE; nan where nobody was served


def exact(log: LatencyLog) -> Iterator[tuple[FrameRecord, Decision | None]]:
    """Each frame with what the recorded policy decides on the recorded numbers."""
    policy, latency, late = policy_from_json(log.policy), LatencyModel(log.profile), False
    changes = {e.before: e.details["policy"] for e in log.events if e.name == "policy"}
    for i, record in enumerate(log.frames):
        if i in changes:
            policy = policy_from_json(changes[i])
        decision = None
        if record.wanted:
            decision = policy(Load(record.wanted, record.left_ms, record.new, late), latency)
        yield record, decision
        late = record.miss
        if record.served:
            latency.observe(OperatingPoint(record.exit, record.size), record.served, record.measured_ms)


def differs(record: FrameRecord, decision: Decision | None) -> bool:
    """Whether a decision is another one than was recorded, bit for bit."""
    if decision is None:
        return bool(record.exit)
    same = (decision.point.exit, decision.point.size, decision.serve) == (record.exit, record.size, record.served)
    return not (same and decision.predicted_ms == record.predicted_ms)


def replay(
    log: LatencyLog, policy: Policy, budget_ms: float | None = None, profile: Profile | None = None
) -> Iterator[Replayed]:
    """Each frame under another policy, budget or machine's profile."""
    profile = profile or log.profile
    latency, moment = LatencyModel(profile), 1.0
    share = log.header.get("settings", {}).get("align_share")
    for record in log.frames:
        change = 0.0 if budget_ms is None else budget_ms - record.budget_ms
        budget = record.budget_ms + change
        wanted, saved = _aligned(record, share * budget) if change and share and record.wanted else (record.wanted, 0.0)
        left = record.left_ms + change + saved
        if record.served:
            point = OperatingPoint(record.exit, record.size)
            moment = record.measured_ms / log.profile.median_ms(point, record.served)
        if not wanted:
            yield Replayed(record, None, left, 0.0, record.age_ms, record.age_ms > budget)
            continue
        decision = policy(Load(wanted, left), latency)
        took = profile.median_ms(decision.point, decision.serve) * moment
        latency.observe(decision.point, decision.serve, took)
        age = record.age_ms - saved - record.measured_ms + took
        yield Replayed(record, decision, left, took, age, age > budget)


def _aligned(record: FrameRecord, limit_ms: float) -> tuple[int, float]:
    """How many faces would have been aligned had none been begun later than `limit_ms`, and the milliseconds saved."""
    tried = record.wanted + record.unserved.get("unaligned", 0)
    align_ms = record.stages_ms.get("align", 0.0)
    each_ms = align_ms / tried
    if each_ms <= 0:
        return record.wanted, 0.0
    began_ms = record.budget_ms - record.left_ms - align_ms
    begun = 1 + max(0, int((limit_ms - began_ms) // each_ms))
    aligned = min(record.faces - record.unserved.get("max_faces", 0), begun)
    return max(aligned, 1), (tried - aligned) * each_ms


def summarise(frames: list[Replayed], profile: Profile, name: str, budget_ms: float) -> Summary:
    """Figures over a replay. Raises ValueError for one without frames."""
    if not frames:
        raise ValueError("the log has no frames: there is nothing to replay")
    ages = [f.age_ms for f in frames]
    served = sum(f.decision.serve for f in frames if f.decision)
    weighted = sum(profile.mae(f.decision.point) * f.decision.serve for f in frames if f.decision)
    return Summary(
        policy=name,
        budget_ms=budget_ms,
        frames=len(frames),
        misses=sum(f.miss for f in frames),
        age_p50_ms=quantile(ages, 0.5),
        age_p95_ms=quantile(ages, 0.95),
        faces=sum(f.record.faces for f in frames),
        served=served,
        exits=dict(sorted(Counter(str(f.decision.point) for f in frames if f.decision).items())),
        expected_mae=weighted / served if served else float("nan"),
    )


def as_recorded(log: LatencyLog) -> list[Replayed]:
    """The log itself in the form of a replay, to be compared with one."""
    out = []
    for r in log.frames:
        decision = Decision(OperatingPoint(r.exit, r.size), r.served, r.predicted_ms, "") if r.exit else None
        out.append(Replayed(r, decision, r.left_ms, r.measured_ms, r.age_ms, r.miss))
    return out
