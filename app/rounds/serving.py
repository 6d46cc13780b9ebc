"""What is read in a round, and how deep: the policy is asked for an operating point, and the network reads at it.

A round is one frame, or of several cameras the newest frame of each that has one: one crowd to the policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from align.crop import crop_batch
from app.faults import NETWORK
from app.network.elsewhere import Elsewhere
from app.network.engine import Unanswered, bucket_of
from app.rounds.served import Served
from scheduler.load import Known, Load
from scheduler.log import Batch
from scheduler.places import decide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.controls import Operation
    from app.domain import Face
    from app.faults import Diary, Faults
    from app.network.elsewhere import Server
    from app.network.engine import Engine
    from app.people.estimates import People
    from app.rounds.served import Seen
    from scheduler.latency import LatencyModel
    from scheduler.load import Decision
    from scheduler.policy import Policy
    from scheduler.profile import OperatingPoint


@dataclass(frozen=True, kw_only=True)
class Scheduling:
    """What reads a frame's faces, and what decides how deep."""

    engine: Engine
    policy: Policy
    latency: LatencyModel
    #: says before each decision how many times slower than usual the machine is (network/probe.py), or 0
    probe: Callable[[], float] = lambda: 0.0
    #: called after a live frame, to do some milliseconds of work; the argument says whether somebody is in view
    spare: Callable[[bool], None] = lambda busy: None
    #: frees what was loaded; called when the loops have ended
    end: Callable[[], None] = lambda: None
    #: of the engine's points that are elsewhere
    server: Server | None = None


class Rounds:
    """Serves one round after the other."""

    def __init__(
        self, scheduling: Scheduling, people: People, faults: Faults, clock: Callable[[], float], log: Diary | None
    ) -> None:
        self.policy, self.engine = scheduling.policy, scheduling.engine
        self._latency, self._probe = scheduling.latency, scheduling.probe
        self._people, self._faults, self._clock, self._log = people, faults, clock, log
        self.elsewhere = Elsewhere(scheduling.server, self._latency, clock)
        self.elsewhere.tell = lambda text: faults.tell(text)
        if log:
            self.elsewhere.note = log.event
        profile = scheduling.latency.profile
        self.offered = profile, tuple(p.point for p in profile.points)
        self.chosen: OperatingPoint | None = None  # for the newest round that had faces
        self.number = 0  # of the newest round
        self.was_late = False  # the newest round

    def take_up(self, now: Operation) -> None:
        """Other points, or another rule, from this frame on: the log says so."""
        if now.policy is None or now.profile is None:
            return
        if (now.profile, now.points) != self.offered:
            anew = None if now.profile is self.offered[0] else now.profile
            self.offered = now.profile, now.points
            self._latency.offer(now.points, anew)
            if self._log:
                details = {"profile": anew.to_json()} if anew else {}
                self._log.event("points", points=[p.to_json() for p in now.points], **details)
        if now.policy is not self.policy:
            self.policy = now.policy
            if self._log:
                self._log.event("policy", policy=now.policy.to_json())

    def serve(self, seen: Sequence[Seen], alive: set[int]) -> Served:
        """Decides and reads, in as many batches as the policy finds time for; `alive` may come back."""
        self.number += 1
        self._people.keep(alive)
        faces = [face for one in seen for face in one.found.faces]
        known = [self._known(face.person, one.found.frame.time_s) for one in seen for face in one.found.faces]
        new = sum(self._people.estimate(f.person) is None for f in faces)
        hurried = any(math.isfinite(one.found.frame.budget_ms) for one in seen)
        probe = self._probe() if faces and hurried else 0.0
        order = self.policy.rank(known)
        waiting, people = [faces[i] for i in order], tuple(known[i] for i in order)
        served = Served(Load(len(people), self._left_ms(seen), new, self.was_late, probe=probe, people=people))
        served.order = tuple(face.person for face in waiting)
        if not faces:
            return served
        decision = decide(self.policy, served.load, self._latency)
        self.chosen = decision.point
        served.slowdown, served.tail = self._latency.slowdown, self._latency.tail
        try:
            self._run(seen, waiting, decision, served)
        except Exception as error:
            self._faults.survive(NETWORK, error)
            return Served(served.load)
        self._faults.well(NETWORK)
        return served

    def _known(self, person: int, time_s: float) -> Known:
        """What the policy may know of somebody."""
        seen = self._people.known(person, time_s)
        if seen is None:
            return Known()
        return Known(seen.waited_s * 1e3, self.offered[0].error_at(seen.exit, seen.size))

    def _run(self, seen: Sequence[Seen], waiting: Sequence[Face], decision: Decision, served: Served) -> None:
        """Reads the first of those who wait, and others while the policy finds time; notes in `served` what was done."""
        served.decision = decision
        if not decision.serve:
            return
        began_s = self._clock()
        try:
            read, measured_ms = self._read(seen, waiting[: decision.serve], decision, served.load)
        except Unanswered:
            self.elsewhere.failed(decision, served.load, (self._clock() - began_s) * 1e3, first=True)
            served.load = served.load._replace(left_ms=self._left_ms(seen))
            decision = served.decision = decide(self.policy, served.load, self._latency)
            if not decision.serve:
                return
            read, measured_ms = self._read(seen, waiting[: decision.serve], decision, served.load)
        load = served.load
        self._latency.observe(decision.point, decision.serve, measured_ms, load)
        further = list[Batch]()
        while len(read) < len(waiting):
            left_ms, began_s = self._left_ms(seen), self._clock()
            rest = load.after(len(read), left_ms, 1 + len(further))
            again = self.policy.again(rest, self._latency)
            if again is None:
                further.append(Batch(left_ms))
                break
            try:
                others, took_ms = self._read(seen, waiting[len(read) :][: again.serve], again, rest)
                self._latency.observe(again.point, again.serve, took_ms, rest)
            except Unanswered:
                others, waited_ms = set(), (self._clock() - began_s) * 1e3
                took_ms = self.elsewhere.failed(again, rest, waited_ms, first=False)
            further.append(Batch.of(again, left_ms, took_ms))
            if not others:
                break
            read |= others
        served.people, served.measured_ms, served.further = read, measured_ms, tuple(further)

    def _left_ms(self, seen: Sequence[Seen]) -> float:
        """Milliseconds left to the frame that has the least."""
        now_s = self._clock()
        return min(one.found.frame.budget_ms - (now_s - one.born_s) * 1e3 for one in seen)

    def _read(
        self, seen: Sequence[Seen], chosen: Sequence[Face], decision: Decision, load: Load
    ) -> tuple[set[int], float]:
        """One batch: who was read, and the milliseconds that it took. Raises Unanswered where a server does not read it."""
        started, people = self._clock(), {f.person for f in chosen}
        new = sum(self._people.estimate(person) is None for person in people)
        self.elsewhere.before(decision, load, new)
        if len(seen) == 1:
            parts = [(seen[0].found.frame, list(chosen))]
        else:
            parts = [(one.found.frame, [f for f in one.found.faces if f.person in people]) for one in seen]
        cut = [
            crop_batch(frame.image, [f.matrix for f in faces], decision.point.size) for frame, faces in parts if faces
        ]
        readings = iter(self.engine.read(decision.point, cut[0] if len(cut) == 1 else np.concatenate(cut)))
        for frame, faces in parts:
            for face in faces:
                self._people.read(face.person, next(readings), self.number, frame.time_s)
        return people, (self._clock() - started) * 1e3

    def bucket(self, served: Served) -> int:
        """How many faces the first batch was filled up to."""
        serve = served.decision.serve if served.decision else 0
        return bucket_of(self.engine.buckets, serve) if serve else 0
