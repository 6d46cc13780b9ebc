"""Feeds a log through a policy: what was decided, and what another policy or budget would have done.

A log does not hold the latency of points that were not chosen. Under the recorded policy and budget nothing is guessed:
each frame is decided on its recorded numbers and must come out as recorded. Otherwise a frame's latency is the
profile's median for the point chosen, times the slowdown of that moment (recorded measurement / its profiled median);
what the other choice would have changed for the frames behind (a longer queue, a warmer chip) is not modelled. Under another
budget the front end would have aligned fewer or more faces: that is counted in at the frame's own time per face.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from scheduler.before import latency_for
from scheduler.crowd import Guests
from scheduler.load import Decision, Load
from scheduler.log import measured_anew, offered
from scheduler.places import decide, offer
from scheduler.policy import Policy
from scheduler.profile import OperatingPoint, Profile, quantile
from scheduler.rules import policy_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.latency import LatencyModel
    from scheduler.log import Event, FrameRecord, LatencyLog


@dataclass(frozen=True, slots=True)
class Replayed:
    """One frame as the policy would have had it."""

    record: FrameRecord
    decision: Decision | None  # None where nobody wanted to be read
    left_ms: float
    latency_ms: float
    age_ms: float
    miss: bool
    batches: tuple[tuple[OperatingPoint, int], ...] = ()


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
    """Each frame with what the recorded policy decides on the recorded numbers: the first decision that is another one than
    recorded, or else the frame's first."""
    policy, latency, late = policy_from_json(log.policy), log.latency(), False
    events = list(log.events)
    for i, record in enumerate(log.frames):
        while events and events[0].before <= i:
            event = events.pop(0)
            if event.name == "policy":
                policy = policy_from_json(event.details["policy"])
            elif event.name == "points":
                latency.offer(offered(event), measured_anew(event))
            _elsewhere(event, record, late, policy, latency)
        decision = None
        if record.wanted:
            load = Load(record.wanted, record.left_ms, record.new, late, probe=record.probe, people=record.people)
            decision = decide(policy, load, latency)
        late = record.miss
        if record.served:
            latency.observe(record.point, record.served, record.measured_ms, load)
        if record.further:
            decision = _again(record, load, decision, policy, latency)
        yield record, decision


def _elsewhere(event: Event, record: FrameRecord, late: bool, policy: Policy, latency: LatencyModel) -> None:
    """What a server's coming and going changed for the frame that follows."""
    if event.name == "server":
        offer(latency, event.details["there"])
    if event.name == "unanswered" and event.details["first"]:
        left_ms = inf if event.details["left_ms"] is None else event.details["left_ms"]
        load = Load(record.wanted, left_ms, record.new, late, probe=record.probe, people=record.people)
        decide(policy, load, latency)
        latency.observe(OperatingPoint.from_json(event.details), event.details["faces"], event.details["took_ms"], load)


def _again(
    record: FrameRecord, load: Load, first: Decision | None, policy: Policy, latency: LatencyModel
) -> Decision | None:
    """Decides on a frame's further batches. What `differs` is to see where one is another than recorded, else `first`."""
    out, served = first, record.served
    for number, batch in enumerate(record.further, start=1):
        rest = load.after(served, batch.left_ms, number)
        decision = policy.again(rest, latency)
        if decision is None or not batch.served:
            same = decision is None and not batch.served
        else:
            same = decision[:3] == (batch.point, batch.served, batch.predicted_ms)
        if not same:
            out = decision or Decision(OperatingPoint("", 0), 0, -1.0)
        if batch.served:
            latency.observe(batch.point, batch.served, batch.measured_ms, rest)
            served += batch.served
    return out


def differs(record: FrameRecord, decision: Decision | None) -> bool:
    """Whether a decision is another one than was recorded, bit for bit."""
    if decision is None or not decision.serve:
        return bool(record.exit)
    point, serve, predicted = decision[:3]
    return not (point == record.point and serve == record.served and predicted == record.predicted_ms)


def replay(
    log: LatencyLog, policy: Policy, budget_ms: float | None = None, profile: Profile | None = None
) -> Iterator[Replayed]:
    """Each frame under another policy, budget or machine's profile."""
    profile = profile or log.profile
    latency, moment, late = latency_for(policy, profile), 1.0, False
    crowd = Guests()
    share = log.header.get("settings", {}).get("align_share")
    for record in log.frames:
        record = _with_deadline(record, budget_ms)
        change = 0.0 if budget_ms is None else budget_ms - record.budget_ms
        budget = record.budget_ms + change
        wanted, saved = _aligned(record, share * budget) if change and share and record.wanted else (record.wanted, 0.0)
        left = record.left_ms + change + saved
        if record.served:
            moment = record.measured_ms / log.profile.median_ms(record.point, record.served)
        if not wanted:
            late = record.age_ms > budget
            yield Replayed(record, None, left, 0.0, record.age_ms, late)
            continue
        people = crowd.at(record.time_s * 1e3, wanted, min(record.new, wanted), policy)
        load = Load(wanted, left, min(record.new, wanted), late, probe=record.probe, people=people)
        decision = policy(load, latency)
        took, served = 0.0, 0
        batches = list[Decision]()
        batch: Decision | None = decision if decision.serve else None
        rest = load
        while batch:
            ms = profile.median_ms(batch.point, batch.serve) * moment
            latency.observe(batch.point, batch.serve, ms, rest)
            batches.append(batch)
            crowd.read(batch.serve, profile.error(batch.point))
            took, served = took + ms, served + batch.serve
            rest = load.after(served, left - took, len(batches))
            batch = policy.again(rest, latency) if served < wanted else None
        age = record.age_ms - saved - sum(ms for _, _, ms in record.batches()) + took
        late = age > budget
        yield Replayed(record, decision, left, took, age, late, tuple((d.point, d.serve) for d in batches))


def _with_deadline(record: FrameRecord, budget_ms: float | None) -> FrameRecord:
    """A frame that had none gets `budget_ms`, of which its front end had used what it took."""
    if budget_ms is None or record.budget_ms < inf:
        return record
    return replace(record, budget_ms=budget_ms, left_ms=budget_ms - sum(record.stages_ms.values()))


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
    served = sum(count for f in frames for _, count in f.batches)
    weighted = sum(profile.mae(point) * count for f in frames for point, count in f.batches)
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
    return [
        Replayed(
            r,
            Decision(r.point, r.served, r.predicted_ms) if r.exit else None,
            r.left_ms,
            r.measured_ms,
            r.age_ms,
            r.miss,
            tuple((point, count) for point, count, _ in r.batches()),
        )
        for r in log.frames
    ]
