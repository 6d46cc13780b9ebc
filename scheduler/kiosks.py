"""Many kiosks before one server, on paper: how many can it serve, and what becomes of their frames?

Each kiosk has its own processor, its own crowd and its own rule, which knows two places (places.py). A request takes half a
round trip to the server, waits there, is read together with whatever waits for the same point, newcomers first, and comes
back. A worker of the server reads one batch at a time. What has waited for longer than it may is thrown away unread.

Events in the order of their time; chance comes from outside, and the same site gives the same figures. Not modelled: batches
after the first of a frame, kiosks' own ups and downs, expressions that move, and what it costs the server to be asked whether
it is back.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from scheduler.load import Decision, Load
from scheduler.places import SERVER, Places
from scheduler.profile import OperatingPoint
from scheduler.site import DEEPEST, HERE, OURS, TIMEOUT, Figures, Frame, Request, Site, Visitors, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.policy import Rule

NOBODY = Load(0, 0.0)
MOST_FACES, QUEUE = 32, 256  # of a batch and of requests for a point, as the exported configuration has them
# As app/network/remote.py and watch.py have them.
LATE, FIRST_S, MOST_S, STEADY_S = 2, 0.25, 30.0, 10.0


@dataclass
class Kiosk:
    """One of many. What it is doing: nothing, reading `frame` here, or waiting for `request`."""

    latency: Places
    rule: Rule
    visitors: Visitors
    begin: int  # in the crowd
    frame: Frame | None = None
    waiting: Frame | None = None  # the newest one that came meanwhile
    request: int = -1
    decision: Decision | None = None
    load: Load = NOBODY
    started_ms: float = 0.0
    late: bool = False
    strikes: int = 0
    out_until_ms: float = -1.0
    back_ms: float = 0.0
    wait_s: float = FIRST_S


class Simulation:
    """Runs once."""

    def __init__(self, site: Site, how: str, fixed: OperatingPoint, chance: Callable[[], float]) -> None:
        """`fixed` is the point of FIXED and TIMEOUT, without an engine; `chance` gives numbers in [0, 1)."""
        self._site, self._how, self._fixed, self._chance = site, how, fixed._replace(engine=SERVER), chance
        known = site.known
        self._figures = {p.point: p for p in known.points}
        rules = [rule_of(how, 1000 / site.fps) for _ in range(site.kiosks)]
        self._kiosks = [Kiosk(Places(known), r, Visitors(r), int(chance() * len(site.faces))) for r in rules]
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()
        self._queues: dict[OperatingPoint, tuple[deque[Request], deque[Request]]] = {}
        self._idle = site.workers
        self.figures = Figures(how)

    def run(self) -> Figures:
        period_ms, end_ms = 1000 / self._site.fps, self._site.seconds * 1000
        for number in range(len(self._kiosks)):
            self._at(self._chance() * period_ms, lambda now, n=number: self._birth(n, 0, now, period_ms, end_ms))  # type: ignore[misc]
        while self._events:
            now, _, act = heapq.heappop(self._events)
            act(now)
        return self.figures

    def _at(self, ms: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (ms, next(self._numbers), act))

    # --- a kiosk ---------------------------------------------------------------------------------------------------

    def _birth(self, number: int, i: int, now: float, period_ms: float, end_ms: float) -> None:
        site, kiosk = self._site, self._kiosks[number]
        if now + period_ms < end_ms:
            self._at(now + period_ms, lambda t: self._birth(number, i + 1, t, period_ms, end_ms))
        place = (kiosk.begin + i) % len(site.faces)
        if site.faces[place]:
            self.figures.frames += 1
            self.figures.faces += site.faces[place]
            frame = Frame(now, site.faces[place], min(site.arrivals[place], site.faces[place]))
            self._at(now + site.front_ms, lambda t: self._ready(number, frame, t))

    def _ready(self, number: int, frame: Frame, now: float) -> None:
        kiosk = self._kiosks[number]
        if kiosk.frame:
            if kiosk.waiting:
                self.figures.dropped += 1
            kiosk.waiting = frame
            return
        self._begin(number, frame, now)

    def _begin(self, number: int, frame: Frame, now: float) -> None:
        kiosk = self._kiosks[number]
        kiosk.frame, kiosk.started_ms = frame, now
        left_ms = self._site.budget_ms - (now - frame.born_ms)
        kiosk.visitors.come_and_go(frame.faces, frame.new)
        load = kiosk.load = kiosk.visitors.load(frame.born_ms, left_ms, kiosk.late)
        if self._how in (OURS, DEEPEST, HERE):
            kiosk.latency.server(self._how != HERE and now >= kiosk.out_until_ms)
            decision = kiosk.latency.here(kiosk.rule(load, kiosk.latency), load)
            limit_ms = kiosk.latency.limit_ms(decision, load)
        else:
            decision = Decision(self._fixed, load.faces, 0.0, load)
            limit_ms = max(left_ms, 1.0) if self._how == TIMEOUT else math.inf
        if decision.serve and decision.point.engine == SERVER:
            self._send(number, load, decision, now, limit_ms)
        else:
            self._read_here(number, decision, now)

    def _read_here(self, number: int, decision: Decision, now: float) -> None:
        kiosk = self._kiosks[number]
        kiosk.decision = decision
        if not decision.serve:
            self._done(number, decision, now)
            return
        ms = self._site.here.median_ms(decision.point, decision.serve)
        self.figures.own_ms += ms
        kiosk.latency.observe(decision.point, decision.serve, ms, kiosk.load)
        self._at(now + ms, lambda t: self._done(number, decision, t))

    def _send(self, number: int, load: Load, decision: Decision, now: float, limit_ms: float) -> None:
        kiosk = self._kiosks[number]
        request = Request(
            next(self._numbers), number, decision.point, decision.serve, now, now + limit_ms, load.new > 0
        )
        kiosk.request, kiosk.decision = request.number, decision
        self._at(now + self._way_ms(), lambda t: self._arrive(request, t))
        if math.isfinite(limit_ms):
            self._at(now + limit_ms, lambda t: self._give_up(request, t))

    def _answer(self, request: Request, now: float) -> None:
        kiosk = self._kiosks[request.kiosk]
        if kiosk.request != request.number or kiosk.decision is None:
            return  # it was given up
        kiosk.request, kiosk.strikes = -1, 0
        kiosk.latency.observe(request.point, request.faces, now - request.sent_ms, kiosk.load)
        self._done(request.kiosk, kiosk.decision, now)

    def _give_up(self, request: Request, now: float) -> None:
        kiosk = self._kiosks[request.kiosk]
        if kiosk.request != request.number or kiosk.frame is None:
            return  # it was answered
        kiosk.request = -1
        self.figures.unanswered += 1
        if self._how == TIMEOUT:
            self._free(request.kiosk, now, late=True)
            return
        latency = kiosk.latency
        took_ms = latency.unanswered(request.point, request.faces, now - request.sent_ms)
        latency.observe(request.point, request.faces, took_ms, kiosk.load)
        kiosk.strikes += 1
        if kiosk.strikes >= LATE:
            self._out(kiosk, now)
        latency.server(False)
        load = kiosk.load = kiosk.load._replace(left_ms=self._site.budget_ms - (now - kiosk.frame.born_ms))
        self._read_here(request.kiosk, latency.here(kiosk.rule(load, latency), load), now)

    def _out(self, kiosk: Kiosk, now: float) -> None:
        """Asked again after a while, twice as long each time, as Watch does it; the answer is taken to be good."""
        if now - kiosk.back_ms > STEADY_S * 1000:
            kiosk.wait_s = FIRST_S
        kiosk.out_until_ms = kiosk.back_ms = now + kiosk.wait_s * (0.5 + self._chance()) * 1000
        kiosk.wait_s = min(2 * kiosk.wait_s, MOST_S)
        kiosk.strikes = 0

    def _done(self, number: int, decision: Decision, now: float) -> None:
        kiosk, figures = self._kiosks[number], self.figures
        assert kiosk.frame is not None
        late = now - kiosk.frame.born_ms > self._site.budget_ms
        known = self._figures[decision.point]
        kiosk.visitors.read(kiosk.frame.born_ms, decision.serve, known.error, known.mae)
        figures.read += decision.serve
        figures.by[decision.point.engine] += decision.serve
        if not late:
            figures.in_time += 1
        self._free(number, now, late=late)

    def _free(self, number: int, now: float, *, late: bool) -> None:
        kiosk = self._kiosks[number]
        if kiosk.frame:
            self.figures.shown += kiosk.frame.faces
            self.figures.years += kiosk.visitors.years(self._site.here.blank_mae)
        kiosk.frame, kiosk.late = None, late
        if kiosk.waiting:
            frame, kiosk.waiting = kiosk.waiting, None
            self._begin(number, frame, now)

    # --- the server ------------------------------------------------------------------------------------------------

    def _way_ms(self) -> float:
        """One way."""
        trips = self._site.round_trips_ms
        return trips[int(self._chance() * len(trips))] / 2

    def _arrive(self, request: Request, now: float) -> None:
        queues = self._queues.setdefault(request.point, (deque(), deque()))
        if sum(map(len, queues)) < QUEUE:  # else it is refused: the kiosk gives it up at its time
            queues[0 if request.new else 1].append(request)
        self._work(now)

    def _work(self, now: float) -> None:
        while self._idle and (batch := self._next_batch(now)):
            self._idle -= 1
            point = batch[0].point._replace(engine="")
            ms = self._site.server.median_ms(point, sum(r.faces for r in batch))
            self.figures.batches += 1
            self.figures.busy_ms += ms
            self._at(now + ms, lambda t, b=batch: self._read(b, t))  # type: ignore[misc]

    def _next_batch(self, now: float) -> list[Request]:
        """Everything that waits for the point whose first request came first, newcomers before others."""
        best: tuple[int, float, OperatingPoint] | None = None
        for point, queues in self._queues.items():
            for rank, queue in enumerate(queues):
                while queue and queue[0].until_ms <= now:
                    queue.popleft()
                if queue and (best is None or (rank, queue[0].sent_ms) < best[:2]):
                    best = rank, queue[0].sent_ms, point
        if best is None:
            return []
        batch, faces = list[Request](), 0
        for queue in self._queues[best[2]]:
            while queue and (not batch or faces + queue[0].faces <= MOST_FACES):
                request = queue.popleft()
                if request.until_ms > now:
                    batch.append(request)
                    faces += request.faces
        return batch

    def _read(self, batch: list[Request], now: float) -> None:
        self._idle += 1
        for request in batch:
            self._at(now + self._way_ms(), lambda t, r=request: self._answer(r, t))  # type: ignore[misc]
        self._work(now)
