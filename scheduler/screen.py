"""What is on screen while a rule is led through a world, judged by a model.

A person whose answer came from point p, out of a picture that was taken s ago, counts with the error

    mae(p) + (blank - mae(p)) x (1 - exp(-s / memory))

and one without an answer with `blank`, the error of saying the median age. The mean over all people in view and all time
is the *streaming MAE*. `memory` says how fast an answer loses its worth: what was read (an expression, above all) changes,
and so do those whom a tracker takes for one person.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scheduler.load import Known, Load

if TYPE_CHECKING:
    from scheduler.policy import Rule
    from scheduler.profile import OperatingPoint
    from scheduler.world import World


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


class ModelScreen:
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
