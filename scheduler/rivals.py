"""Every other rule, and ours with a part left out, as a table: what to measure against, in the same world.

A rival gets a world and gives a rule and what it believes about latency. Rules that need a fixed point to start from
are made once for each point of the front; the table then shows the best of them, chosen afterwards by somebody who has
seen all frames: no operator could choose better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scheduler.before import FormerLatency, LeastError
from scheduler.latency import LatencyModel
from scheduler.load import Decision, Load
from scheduler.policy import DeepestThatFits, Fixed, InTurn, ValuePerPerson
from scheduler.profile import OperatingPoint, Profile, quantile
from scheduler.serving import Clockwork, ConfidenceExits, EdgeServing, SlackFit
from scheduler.simulate import MEMORY_S, Outcome, simulate
from scheduler.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scheduler.load import Known
    from scheduler.policy import Rule

# A rule with more misses than this is not an option where another has fewer.
MISSES_ALLOWED = 0.01
SURE_YEARS = (5.0, 7.0, 9.0)  # thresholds of ConfidenceExits


def expect_ms(latency: LatencyModel, point: OperatingPoint, load: Load) -> float:
    """Milliseconds that half of the batches for all faces stay under."""
    return latency.profile.median_ms(point, load.faces) * latency.pace(load)


# --- rules of others -------------------------------------------------------------------------------------------------


@dataclass
class FrameSkip(InTurn):
    """A fixed point for all faces; a frame whose prediction does not fit is let pass, though never more than `most`
    one after another."""

    point: OperatingPoint
    most: int = 8
    skipped: int = 0

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        predicted = latency.predict_ms(self.point, load.faces, load)
        if predicted > load.left_ms and self.skipped < self.most:
            self.skipped += 1
            return Decision(self.point, 0, 0.0)
        self.skipped = 0
        return Decision(self.point, load.faces, predicted)


@dataclass(frozen=True)
class FaceCap(InTurn):
    """A fixed point for at most `cap` faces; the others wait for their turn."""

    point: OperatingPoint
    cap: int = 16

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        serve = min(load.faces, self.cap)
        return Decision(self.point, serve, latency.predict_ms(self.point, serve, load))


@dataclass(frozen=True)
class CountTable(InTurn):
    """A table from the number of faces to a point, made once: the dearest whose profiled time fits what the budget
    usually leaves."""

    left_ms: float

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        profile = latency.profile
        fits = [p for p in profile.front if profile.median_ms(p, load.faces) * profile.tail <= self.left_ms]
        point = fits[-1] if fits else profile.front[0]
        return Decision(point, load.faces, profile.median_ms(point, load.faces))


@dataclass
class AdditiveIncrease(InTurn):
    """Additive increase, multiplicative decrease: a step up the front after `patience` frames in time, down to half of
    the way after a miss. All faces."""

    patience: int = 8
    level: float = 0.0

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        front = latency.profile.front
        self.level = self.level / 2 if load.late else min(self.level + 1 / self.patience, len(front) - 1)
        point = front[int(self.level)]
        return Decision(point, load.faces, latency.predict_ms(point, load.faces, load))


@dataclass
class ApproxDet(InTurn):
    """The most accurate point whose expected latency is at most the budget / 1.3, chosen anew every 8 frames.

    After R. Xu et al., "ApproxDet: content and contention-aware approximate object detection for mobiles", SenSys 2020:
    their predictor of content and contention is here the profile for the faces in view times the slowdown.
    """

    every: int = 8
    reserve: float = 1.3
    age: int = 0
    point: OperatingPoint | None = None

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        if self.point is None or self.age % self.every == 0:
            front = latency.profile.front
            fits = [p for p in front if expect_ms(latency, p, load) <= load.left_ms / self.reserve]
            self.point = fits[-1] if fits else front[0]
        self.age += 1
        return Decision(self.point, load.faces, expect_ms(latency, self.point, load))


class Kalman(LatencyModel):
    """ALERT's slowdown: a Kalman filter with process noise that follows its innovations.

    C. Wan et al., "ALERT: accurate learning for energy and timeliness", USENIX ATC 2020, after its
    description; the constants are ours, not checked against its code.
    """

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self.variance, self._gain, self._noise = 0.1, 0.5, 0.1

    def observe(self, point: OperatingPoint, faces: int, measured_ms: float, load: Load) -> None:
        innovation = measured_ms / self.profile.median_ms(point, faces) - self.slowdown
        self._noise = max(0.1, 0.3 * self._noise + 0.7 * (self._gain * innovation) ** 2)
        self.variance = (1 - self._gain) * self.variance + self._noise
        self._gain = self.variance / (self.variance + 0.001)
        self.slowdown = max(self.slowdown + self._gain * innovation, 0.01)


@dataclass(frozen=True)
class Alert(InTurn):
    """ALERT: the point with the most expected quality, where a result after the deadline is worth nothing. All faces."""

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        assert isinstance(latency, Kalman)
        profile = latency.profile
        spread, blank = math.sqrt(2 * latency.variance), profile.blank_error
        least, best = math.inf, profile.front[0]
        for point in profile.front:
            allowed = load.left_ms / profile.median_ms(point, load.faces)
            in_time = 0.5 * (1 + math.erf((allowed - latency.slowdown) / spread))
            error = profile.error(point) * in_time + blank * (1 - in_time)
            if error < least:
                least, best = error, point
        return Decision(best, load.faces, expect_ms(latency, best, load))


# --- parts of ours, and references -------------------------------------------------------------------------------------


class Frozen(LatencyModel):
    """Believes what it began with."""

    def pace(self, load: Load) -> float:
        return self.slowdown

    def observe(self, point: OperatingPoint, faces: int, measured_ms: float, load: Load) -> None:
        pass


class Unprobed(LatencyModel):
    """Does not hear what the probe says."""

    def pace(self, load: Load) -> float:
        return super().pace(load._replace(probe=0.0))

    def observe(self, point: OperatingPoint, faces: int, measured_ms: float, load: Load) -> None:
        super().observe(point, faces, measured_ms, load._replace(probe=0.0))


@dataclass(frozen=True)
class Oracle:
    """A rule that knows the true latency of every point in the very frame that it decides."""

    rule: Rule
    world: World

    def rank(self, people: Sequence[Known]) -> list[int]:
        return self.rule.rank(people)

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        latency.slowdown = self.world.moments[load.frame]
        return self.rule(load, latency)

    def again(self, load: Load, latency: LatencyModel) -> Decision | None:
        latency.slowdown = (self.world.further_moments or self.world.moments)[load.frame]
        return self.rule.again(load, latency)


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rival:
    """A row: one rule, or several of whom the best counts."""

    name: str
    about: str
    make: Callable[[Profile, World], list[tuple[str, Rule, LatencyModel]]]
    in_world: Callable[[World], World] = lambda world: world  # where it is to be another one


def _one(rule: Callable[[World], Rule], model: Callable[[Profile], LatencyModel] = LatencyModel) -> Any:
    return lambda believed, world: [("", rule(world), model(believed))]


def _each(rule: Callable[[OperatingPoint], Rule]) -> Any:
    return lambda believed, _: [(str(p), rule(p), Unprobed(believed)) for p in believed.front]


def _oracles(_: Profile, world: World) -> list[tuple[str, Rule, LatencyModel]]:
    true = replace(world.profile, tail=1.0)
    rules = (ours(world, margin=1), DeepestThatFits(1, 0))
    return [(r.to_json()["name"], Oracle(r, world), Frozen(true)) for r in rules]


def ours(world: World, **changes: float) -> ValuePerPerson:
    return ValuePerPerson(**{"period_ms": world.period_ms, **changes})  # type: ignore[arg-type]


RIVALS = (
    Rival("value per person", "ours, the rule of --exit auto", _one(ours)),
    Rival("deepest that fits", "the plain rule", _one(lambda _: DeepestThatFits())),
    Rival(
        "least error", "the former rule, with its correction", _one(lambda w: LeastError(w.period_ms), FormerLatency)
    ),
    Rival("no probe", "ours, but learns of a slow moment when it is over", _one(ours, Unprobed)),
    Rival(
        "ApproxDet",
        "most accurate within budget / 1.3, chosen anew every 8 frames",
        _one(lambda _: ApproxDet(), Unprobed),
    ),
    Rival("ALERT", "most expected quality under a Kalman-filtered slowdown", _one(lambda _: Alert(), Kalman)),
    Rival(
        "AIMD",
        "a point deeper after 8 frames in time, half as deep after a miss",
        _one(lambda _: AdditiveIncrease(), Unprobed),
    ),
    Rival(
        "count table",
        "from the number of faces to a point, made once",
        _one(lambda w: CountTable(usual_left_ms(w)), Unprobed),
    ),
    Rival("SlackFit", "the fullest bucket of latency that the slack allows", _one(lambda _: SlackFit(), Unprobed)),
    Rival("EdgeServing", "the least urgency left in the queue", _one(lambda _: EdgeServing(), Unprobed)),
    Rival("Clockwork", "a fixed point for those who are done in time", _each(Clockwork)),
    Rival("frame skip", "a fixed point; frames that do not fit pass", _each(FrameSkip)),
    Rival("face cap 16", "a fixed point for at most 16 faces", _each(FaceCap)),
    Rival("best fixed", "the best fixed point in hindsight", _each(Fixed)),
    Rival("oracle", "knows every point's true latency", _oracles),
)


def _confident(believed: Profile, _: World) -> list[tuple[str, Rule, LatencyModel]]:
    """Early exits against late ones, each with several thresholds."""
    front = believed.front
    pairs = [(early, late) for late in (front[-1], front[-4 % len(front)]) for early in front[:-4:2] if early != late]
    rules = [ConfidenceExits(early, late, sure) for early, late in pairs for sure in SURE_YEARS]
    return [(f"{rule.early} {rule.late} {rule.sure:g}", rule, Unprobed(believed)) for rule in rules]


# Needs to know how unsure a network was of each face, which only recorded readings tell.
CONFIDENT = Rival("confidence exits", "early for those who are sure, else late, after Apparate", _confident)


def _in_no_time(world: World) -> World:
    points = tuple(replace(p, median_ms=tuple(1e-4 * ms for ms in p.median_ms)) for p in world.profile.points)
    return replace(world, profile=replace(world.profile, points=points), moments=[1.0] * len(world.moments), probes=())


# What no scheduler can be expected to beat: a machine that reads everybody at the dearest point, and takes no time.
IN_NO_TIME = Rival(
    "no limit", "everybody at the dearest point, in no time",
    lambda _, world: [("", Fixed(world.profile.front[-1]), Unprobed(world.profile))], _in_no_time,
)  # fmt: skip


def _by_all(believed: Profile) -> LatencyModel:
    latency = LatencyModel(believed, tail_quantile=0.98)
    latency.by_all = True
    return latency


# Ours with a part left out or changed.
PARTS = (
    Rival("one batch a frame", "never asked again", _one(lambda w: ours(w, batches=1))),
    Rival("late one in 50", "a less careful tail", _one(ours, lambda p: LatencyModel(p, tail_quantile=0.98))),
    Rival("tail by every surprise", "as in logs of schema 6", _one(ours, _by_all)),
    Rival("economy 0", "reads while there is time", _one(lambda w: ours(w, least=0.0))),
    Rival("economy 3", "reads a third as willingly", _one(lambda w: ours(w, least=3 * ValuePerPerson.least))),
)


def usual_left_ms(world: World) -> float:
    """What the front end leaves of the budget in the median frame."""
    each = zip(world.budget_ms, world.ready_ms, world.born_ms, strict=True)
    return quantile([budget - (ready - born) for budget, ready, born in each], 0.5)


def compete(
    world: World, believed: Profile, rivals: Sequence[Rival] = RIVALS, memory_s: float = MEMORY_S
) -> Iterator[Outcome]:
    """An outcome for each rival, all in the same world; rules that had several tries show their best."""
    for rival in rivals:
        tries = [
            simulate(world, rule, latency, f"{rival.name} {what}".strip(), memory_s)
            for what, rule, latency in rival.make(believed, world)
        ]
        yield best(tries)


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """The least streaming MAE among those that miss little, or else the fewest misses."""
    return min(outcomes, key=lambda o: (max(o.miss_share, MISSES_ALLOWED), o.streaming_mae))
