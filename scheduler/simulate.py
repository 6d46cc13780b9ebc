"""The path of a frame on a machine that exists on paper: a crowd, a profile and a noise in, what a rule makes of it out.

The machine is the application's: frames are born at a steady rate, the front end prepares them, a place for one frame
holds the newest of those prepared, and the network's loop takes it as soon as it is free. What it takes is the true
median of the point chosen for the faces served, times that frame's moment (a recorded ratio measured / median): every
rule meets the same moments at the same frames. Further batches of a frame meet its moment too, or one of their own where
the world has such. What a frame's batches gave is shown when the last of them is done, as in the application. Chance comes
from outside; the same world gives the same outcome, bit for bit.

What is on screen is judged at every instant, whether frames came in time, late, or not at all. A person whose answer
came from point p, out of a picture that was taken s ago, counts with the error

    mae(p) + (blank - mae(p)) x (1 - exp(-s / memory))

and one without an answer with `blank`, the error of saying the median age. The mean over all people in view and all time
is the *streaming MAE*. `memory` says how fast an answer loses its worth: what was read (an expression, above all) changes,
and so do those whom a tracker takes for one person.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from scheduler.fairness import wait_bound_ms
from scheduler.load import Known, Load
from scheduler.profile import OperatingPoint, Profile, quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scheduler.crowd import Crowd
    from scheduler.latency import LatencyModel
    from scheduler.load import Decision
    from scheduler.policy import Rule

MEMORY_S = 3.0
# Frames of a recorded noise that stay together when it is drawn from: long enough to keep stalls and busy spells whole.
BLOCK = 50


class Moment(NamedTuple):
    """How the machine was in one frame: a batch's time over its profiled median, and what a probe had said beforehand."""

    ratio: float
    probe: float = 0.0


@dataclass(frozen=True, kw_only=True)
class World:
    """What all rules meet alike. Sequences have one entry per frame."""

    name: str
    profile: Profile  # as it truly is; what a rule believes is another matter
    budget_ms: Sequence[float]
    born_ms: Sequence[float]
    ready_ms: Sequence[float]  # when the front end is done with the frame
    faces: Sequence[int]
    arrivals: Sequence[int]
    moments: Sequence[float]
    further_moments: Sequence[float] = ()  # of a frame's batches after the first; none: as the first
    probes: Sequence[float] = ()  # what a rule may know of the moment beforehand (Load.probe); none: nothing

    def __post_init__(self) -> None:
        each = (self.budget_ms, self.born_ms, self.ready_ms, self.faces, self.arrivals, self.moments)
        lengths = {len(x) for x in (*each, *(x for x in (self.further_moments, self.probes) if x))}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"a world needs the same number of budgets, births, faces and moments, got {sorted(lengths)}"
            )
        if any(b < a for a, b in pairwise(self.born_ms)):
            raise ValueError("the frames of a world must not be born before those in front of them")

    @property
    def period_ms(self) -> float:
        """Between frames, on average."""
        return (self.born_ms[-1] - self.born_ms[0]) / max(len(self.born_ms) - 1, 1) or 40.0


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The machine's ups and downs, an entry per frame: the fields of the same names in World."""

    moments: Sequence[float]
    further_moments: Sequence[float] = ()
    probes: Sequence[float] = ()

    @classmethod
    def of(cls, moments: Sequence[Moment], further: Sequence[Moment] = ()) -> Self:
        """What was drawn, with another draw for further batches or none."""
        return cls(
            moments=[m.ratio for m in moments],
            further_moments=[m.ratio for m in further],
            probes=[m.probe for m in moments],
        )


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """Milliseconds that the front end takes of a frame's budget."""

    ms: float = 0.0
    ms_per_face: float = 0.0


NO_TIME = FrontEnd()


def make_world(
    crowd: Crowd, profile: Profile, budget_ms: float, noise: Noise, *, front_end: FrontEnd = NO_TIME, name: str = ""
) -> World:
    """A crowd before a machine."""
    period = 1000 / crowd.fps
    born = [i * period for i in range(len(crowd.faces))]
    ready = [b + front_end.ms + front_end.ms_per_face * n for b, n in zip(born, crowd.faces, strict=True)]
    return World(
        name=name or crowd.name,
        profile=profile,
        budget_ms=[budget_ms] * len(born),
        born_ms=born,
        ready_ms=ready,
        faces=crowd.faces,
        arrivals=crowd.arrivals,
        moments=noise.moments,
        further_moments=noise.further_moments,
        probes=noise.probes,
    )


def draw_moments(recorded: Sequence[Moment], frames: int, chance: Callable[[], float]) -> list[Moment]:
    """A noise as long as is needed, in blocks of a recorded one; `chance` gives numbers in [0, 1)."""
    if not recorded:
        return [Moment(1.0)] * frames
    block = min(BLOCK, len(recorded))
    moments: list[Moment] = []
    while len(moments) < frames:
        start = int(chance() * (len(recorded) - block + 1))
        moments += recorded[start : start + block]
    return moments[:frames]


@dataclass(frozen=True, slots=True)
class Step:
    """One decided frame. Times in milliseconds."""

    frame: int
    faces: int
    point: OperatingPoint | None  # of the first batch; None where nobody was in view, or the rule let the frame pass
    served: int  # in all its batches
    left_ms: float
    predicted_ms: float
    took_ms: float
    age_ms: float  # from birth to result
    batches: tuple[tuple[OperatingPoint, int], ...] = ()
    due: int = 0  # faces that the rule called worth a reading


@dataclass(frozen=True)
class Outcome:
    """What a rule made of a world, in figures. Shares are of all frames, or of all faces in all frames."""

    rule: str
    frames: int
    late: int
    dropped: int  # never decided: a newer one was there
    age_p50_ms: float
    age_p95_ms: float
    age_p99_ms: float
    faces: int
    served: int
    delivered_mae: float  # of the points used, over the faces served; nan where nobody was
    streaming_mae: float
    streaming_error: float  # the same with the relative error over all tasks
    longest_wait_ms: float  # of anybody in view between two readings, or until the first
    wait_bound_ms: float  # what that cannot exceed, by the fewest served in a frame (fairness.py)
    left_unread: int  # people who went away without having been read
    switches_per_minute: float
    points: dict[str, int] = field(default_factory=dict)

    @property
    def misses(self) -> int:
        """Frames without a result in time."""
        return self.late + self.dropped

    @property
    def miss_share(self) -> float:
        return self.misses / self.frames

    def to_json(self) -> dict[str, Any]:
        figures = {k: v for k, v in vars(self).items() if not (isinstance(v, float) and math.isnan(v))}
        return {**figures, "misses": self.misses}


@dataclass
class _Person:
    """A place on screen."""

    seen: int  # frame
    decided: int = -1  # frame in which their last reading was decided
    point: OperatingPoint | None = None  # and at which point
    slot: int = 0


class Screen(Protocol):
    """Who is in view, and what is shown of them."""

    def show(self, frame: int) -> None:
        """Moves on to the birth of a frame: what was on screen until then is judged, then people come and go."""
        ...

    def load(self, frame: int, rule: Rule) -> Load:
        """Who wants to be read, in the order of the rule's turns."""
        ...

    def serve(self, frame: int, point: OperatingPoint, count: int, done_ms: float) -> None:
        """Reads the next `count` people in that order; they are shown from `done_ms` on."""
        ...

    def close(self, frame: int) -> None:
        """The world ends with this frame."""
        ...


class _Screen:
    """Judged by a model: an answer is worth what its point is, less and less as time goes by."""

    def __init__(self, world: World, memory_s: float) -> None:
        self._world, self._memory_ms = world, memory_s * 1e3
        most = max(world.faces) + 1
        self._rank = {p.point: i for i, p in enumerate(world.profile.points)}
        self._source = np.zeros(most, np.intp)  # the point that a slot's answer came from
        self._worth = np.zeros(most)  # exp(-age of the picture / memory); 0 without an answer
        self._free = list(range(most))
        self._queue: list[_Person] = []  # whose turn is next comes first
        self._guests: deque[_Person] = deque()  # who came first comes first
        self._pending: deque[tuple[float, float, OperatingPoint, list[_Person]]] = deque()
        self._now_ms = 0.0
        self.by_point = np.zeros(len(self._rank))
        self.longest_wait_ms, self.left_unread, self.new = 0.0, 0, 0

    def show(self, frame: int) -> None:
        """Moves on to the birth of a frame: what was on screen until then is judged, then people come and go."""
        now = self._world.born_ms[frame]
        if frame and self._guests:
            self._judge(self._now_ms, now)
        self._worth *= math.exp((self._now_ms - now) / self._memory_ms)
        self._now_ms = now
        arrivals = self._world.arrivals[frame]
        for _ in range(len(self._guests) + arrivals - self._world.faces[frame]):
            self._leave(self._guests.popleft(), frame)
        if arrivals:
            newcomers = [_Person(frame, slot=self._free.pop()) for _ in range(arrivals)]
            self._guests.extend(newcomers)
            self._queue[self.new : self.new] = newcomers  # behind those who were never read either: they head the queue
            self.new += arrivals

    def load(self, frame: int, rule: Rule) -> Load:
        people = [self._known(person) for person in self._queue]
        order = rule.rank(people)
        self._queue = [self._queue[i] for i in order]
        return Load(len(order), 0.0, self.new, frame=frame, people=tuple(people[i] for i in order))

    def _known(self, person: _Person) -> Known:
        if person.decided < 0:
            return Known()
        error = self._world.profile.error(person.point) if person.point else math.inf
        return Known(self._now_ms - self._world.born_ms[person.decided], error)

    def _judge(self, start_ms: float, end_ms: float) -> None:
        """Adds up what was shown of each point's answers: its worth, integrated over the time. Results appear meanwhile."""
        memory = self._memory_ms
        self.by_point += (
            memory
            * -math.expm1((start_ms - end_ms) / memory)
            * np.bincount(self._source, self._worth, len(self.by_point))
        )
        while self._pending and self._pending[0][0] <= end_ms:
            done_ms, born_ms, point, people = self._pending.popleft()
            slots = [p.slot for p in people if p.slot >= 0]
            if not slots:
                continue
            # On the scale of start_ms, at which all worth is held, and for the time that was left of the interval.
            rest = memory * (
                math.exp((start_ms - max(done_ms, start_ms)) / memory) - math.exp((start_ms - end_ms) / memory)
            )
            np.subtract.at(self.by_point, self._source[slots], rest * self._worth[slots])
            self._source[slots] = self._rank[point]
            self._worth[slots] = worth = math.exp((born_ms - start_ms) / memory)
            self.by_point[self._rank[point]] += rest * worth * len(slots)

    def _leave(self, person: _Person, frame: int) -> None:
        self._queue.remove(person)
        self._note_wait(person, frame)
        self.left_unread += person.decided < 0
        self.new -= person.decided < 0
        self._worth[person.slot] = 0.0
        self._free.append(person.slot)
        person.slot = -1

    def serve(self, frame: int, point: OperatingPoint, count: int, done_ms: float) -> None:
        """Reads the next `count` people; they are shown from `done_ms` on."""
        chosen = self._queue[:count]
        self._queue = self._queue[count:] + chosen
        for person in chosen:
            self._note_wait(person, frame)
            person.decided, person.point = frame, point
        self.new = max(self.new - count, 0)
        self._pending.append((done_ms, self._world.born_ms[frame], point, chosen))

    def _note_wait(self, person: _Person, frame: int) -> None:
        since = person.decided if person.decided >= 0 else person.seen
        waited = self._world.born_ms[frame] - self._world.born_ms[since]
        self.longest_wait_ms = max(self.longest_wait_ms, waited)

    def close(self, frame: int) -> None:
        """The world ends: whoever is in view has waited until now."""
        for person in self._queue:
            self._note_wait(person, frame)


class Tally:
    """Counts what became of the frames."""

    def __init__(self) -> None:
        self.late, self.dropped, self.served, self.switches = 0, 0, 0, 0
        self.ages, self.busy_ms = list[float](), 0.0
        self.used = dict[OperatingPoint, list[int]]()  # batches and faces
        self.turns = list[tuple[float, int, int]]()  # born, faces in view, faces served: every frame
        self._last: OperatingPoint | None = None

    def drop(self, born_ms: float, faces: int) -> None:
        self.dropped += 1
        self.turns.append((born_ms, faces, 0))

    def decided(self, born_ms: float, step: Step, late: bool) -> None:
        for point, count in step.batches:
            used = self.used.setdefault(point, [0, 0])
            used[0] += 1
            used[1] += count
        if step.point:
            self.switches += self._last is not None and step.point != self._last
            self._last = step.point
        self.late += late
        self.served += step.served
        self.ages.append(step.age_ms)
        self.busy_ms += step.took_ms
        self.turns.append((born_ms, step.faces, step.served))


def simulate(
    world: World,
    rule: Rule,
    latency: LatencyModel,
    name: str = "",
    memory_s: float = MEMORY_S,
    on_step: Callable[[Step], object] | None = None,
) -> Outcome:
    """Leads a rule through a world. `latency` is what the rule believes and learns; `on_step` sees every decided frame."""
    screen = _Screen(world, memory_s)
    return _outcome(name, world, screen, walk(world, rule, latency, screen, on_step))


def walk(
    world: World,
    rule: Rule,
    latency: LatencyModel,
    screen: Screen,
    on_step: Callable[[Step], object] | None = None,
) -> Tally:
    """The same on a screen of one's own."""
    tally, free_ms, missed = Tally(), 0.0, False
    final = len(world.born_ms) - 1
    each = zip(world.born_ms, world.ready_ms, world.faces, world.budget_ms, strict=True)
    for frame, (born, ready, faces, budget) in enumerate(each):
        screen.show(frame)
        if frame < final and world.ready_ms[frame + 1] <= free_ms:
            tally.drop(born, faces)
            missed = True
            continue
        started = max(ready, free_ms)
        left = budget - (started - born)
        point, predicted, took, due, batches = None, 0.0, 0.0, 0, list[tuple[OperatingPoint, int]]()
        if faces:
            probe = world.probes[frame] if world.probes else 0.0
            load = screen.load(frame, rule)._replace(left_ms=left, late=missed, probe=probe)
            decision = rule(load, latency)
            due = faces if decision.due is None else decision.due
            batches, took = _carry_out(rule, decision, load, latency, world)
            for part, count in batches:
                screen.serve(frame, part, count, started + took)
            if batches:
                point, predicted = decision.point, decision.predicted_ms
        free_ms = started + took
        age = free_ms - born
        missed = age > budget
        served = sum(count for _, count in batches)
        step = Step(frame, faces, point, served, left, predicted, took, age, tuple(batches), due)
        tally.decided(born, step, missed)
        if on_step:
            on_step(step)
    screen.close(final)
    return tally


def _outcome(name: str, world: World, screen: _Screen, tally: Tally) -> Outcome:
    profile = world.profile
    on_screen_ms = sum(n * (b - a) for n, (a, b) in zip(world.faces, pairwise(world.born_ms), strict=False))
    shown = {p.point: float(w) for p, w in zip(profile.points, screen.by_point, strict=True)}
    p50, p95, p99 = _quantiles(tally.ages)
    minutes = (world.born_ms[-1] - world.born_ms[0] + world.period_ms) / 60_000
    delivered = sum(profile.mae(p) * n for p, (_, n) in tally.used.items())
    return Outcome(
        rule=name,
        frames=len(world.born_ms),
        late=tally.late,
        dropped=tally.dropped,
        age_p50_ms=p50,
        age_p95_ms=p95,
        age_p99_ms=p99,
        faces=sum(world.faces),
        served=tally.served,
        delivered_mae=delivered / tally.served if tally.served else math.nan,
        streaming_mae=_streaming(on_screen_ms, profile.blank_mae, ((w, profile.mae(p)) for p, w in shown.items())),
        streaming_error=_streaming(
            on_screen_ms, profile.blank_error, ((w, profile.error(p)) for p, w in shown.items())
        ),
        longest_wait_ms=screen.longest_wait_ms,
        wait_bound_ms=wait_bound_ms(tally.turns, world.arrivals),
        left_unread=screen.left_unread,
        switches_per_minute=tally.switches / minutes,
        points={str(p): n for p, (n, _) in sorted(tally.used.items(), key=lambda u: profile.cost(u[0]))},
    )


def _carry_out(
    rule: Rule, decision: Decision, load: Load, latency: LatencyModel, world: World
) -> tuple[list[tuple[OperatingPoint, int]], float]:
    """A frame's batches, and the milliseconds that they took. The rule is asked again after each batch."""
    ahead = [(decision.point, decision.serve), *decision.also]
    batches, took, rest = list[tuple[OperatingPoint, int]](), 0.0, load.faces
    while ahead:
        point, count = ahead.pop(0)
        if not count:
            continue
        further = bool(batches)
        moments = world.further_moments if further and world.further_moments else world.moments
        ms = world.profile.median_ms(point, count) * moments[load.frame]
        now = load.after(load.faces - rest, load.left_ms - took, len(batches)) if further else load
        latency.observe(point, count, ms, now)
        batches.append((point, count))
        took += ms
        rest -= count
        if not ahead and rest:
            again = rule.again(load.after(load.faces - rest, load.left_ms - took, len(batches)), latency)
            ahead = [(again.point, again.serve)] if again else []
    return batches, took


def _streaming(faces_ms: float, blank: float, shown: Iterable[tuple[float, float]]) -> float:
    """Mean error on screen, from the worth that was shown of each point."""
    return blank - sum(worth * (blank - error) for worth, error in shown) / faces_ms if faces_ms else math.nan


def _quantiles(ages: list[float]) -> tuple[float, float, float]:
    ordered = sorted(ages) or [0.0]
    return quantile(ordered, 0.5), quantile(ordered, 0.95), quantile(ordered, 0.99)
