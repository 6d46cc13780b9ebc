"""A site with many kiosks and one server: how it is, what is asked for, and what became of it.

Ways to use the server:
OURS     the rule of `--exit auto`; what is not answered in time is read by the kiosk, in the same frame
DEEPEST  the same with DeepestThatFits, which reads everybody in every frame, as the ways below do
FIXED    always one point at the server, however long it takes
TIMEOUT  the same, but given up at the frame's deadline, which is all that a server's own timeout can do
HERE     OURS without the server
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from scheduler.load import Known, Load
from scheduler.places import SERVER
from scheduler.policy import DeepestThatFits, ValuePerPerson
from scheduler.profile import OperatingPoint, PointProfile, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy import Rule

OURS, DEEPEST, FIXED = "ours", "deepest that fits", "fixed exit"
TIMEOUT, HERE = "server's timeout alone", "without a server"
WAYS = (OURS, DEEPEST, FIXED, TIMEOUT, HERE)


@dataclass(frozen=True, kw_only=True)
class Site:
    """What is simulated. Milliseconds."""

    kiosks: int
    here: Profile  # of a kiosk
    server: Profile  # of the server's own machine, without the way
    round_trips_ms: Sequence[float]  # drawn from
    faces: Sequence[int]  # in view, a frame; each kiosk begins somewhere
    arrivals: Sequence[int]
    budget_ms: float = 66.7
    fps: float = 25.0
    seconds: float = 10.0
    workers: int = 1
    front_ms: float = 0.0

    def __post_init__(self) -> None:
        if not (self.kiosks >= 1 and self.workers >= 1 and self.seconds > 0 and self.round_trips_ms and self.faces):
            raise ValueError("a site needs kiosks, workers, time, round trips and a crowd")
        if not {p.point[:2] for p in self.here.points} & {p.point[:2] for p in self.server.points}:
            raise ValueError("kiosks and server have no operating point in common: are the profiles of one network?")

    @property
    def known(self) -> Profile:
        """What a kiosk has measured while nobody else asked: its own points and the server's, round trip included."""
        usual = sorted(self.round_trips_ms)[len(self.round_trips_ms) // 2]
        theirs = [
            PointProfile(
                p.point._replace(engine=SERVER),
                tuple(usual + self.server.median_ms(p.point, n) for n in self.here.buckets),
                p.mae,
                p.error,
            )
            for p in self.server.points
        ]
        shared = {p.point[:2] for p in self.here.points}
        return replace(self.here, points=(*self.here.points, *(p for p in theirs if p.point[:2] in shared)))


@dataclass
class Figures:
    """What became of the frames with somebody in them, over all kiosks."""

    how: str
    frames: int = 0
    in_time: int = 0
    dropped: int = 0  # a newer one was there
    faces: int = 0
    read: int = 0
    shown: int = 0  # faces of frames that were decided
    years: float = 0.0  # off what is shown of those: MAE of the point that read each last, or of a blank answer
    unanswered: int = 0
    by: Counter[str] = field(default_factory=Counter)  # faces by who read them
    batches: int = 0  # of the server
    busy_ms: float = 0.0
    own_ms: float = 0.0  # that kiosks read by themselves

    @property
    def attainment(self) -> float:
        return self.in_time / self.frames if self.frames else math.nan

    @property
    def mae(self) -> float:
        return self.years / self.shown if self.shown else math.nan


class Request(NamedTuple):
    """At the server."""

    number: int
    kiosk: int
    point: OperatingPoint
    faces: int
    sent_ms: float
    until_ms: float  # the kiosk waits until then
    new: bool


class Frame(NamedTuple):
    born_ms: float
    faces: int
    new: int


class Visitors:
    """Who stands before a kiosk, and what is known of each."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._people = list[list[float]]()  # when they were last read, and error and MAE of that point

    def come_and_go(self, faces: int, arrivals: int) -> None:
        """Who came first goes first."""
        arrivals = max(arrivals, faces - len(self._people))
        del self._people[: len(self._people) + arrivals - faces]
        self._people += [[-math.inf, math.inf, math.nan] for _ in range(arrivals)]

    def load(self, now_ms: float, left_ms: float, late: bool) -> Load:
        """What the rule is asked; its order of people is kept."""
        known = [Known(now_ms - seen, error) for seen, error, _ in self._people]
        order = self._rule.rank(known)
        self._people = [self._people[i] for i in order]
        new = sum(seen == -math.inf for seen, *_ in self._people)
        return Load(len(known), left_ms, new, late, people=tuple([known[i] for i in order]))

    def read(self, now_ms: float, count: int, error: float, years: float = math.nan) -> None:
        for person in self._people[:count]:
            person[:] = now_ms, error, years

    def years(self, blank: float) -> float:
        """Sum of the errors of what is shown of them."""
        return sum(blank if seen == -math.inf else years for seen, _, years in self._people)


def rule_of(how: str, period_ms: float) -> Rule:
    return ValuePerPerson(period_ms=period_ms, batches=1) if how in (OURS, HERE) else DeepestThatFits()
