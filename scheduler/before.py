"""The former rule and its correction, which decided until schema 5, and today's rule as schemas 6 and 7 have it: to
replay their logs, and as a rival.

LeastError weighs depth against turns by a model of its own: an answer loses its worth within three seconds, for everybody
alike. Judged by truth it takes several times as long as today's rule for the same error on screen
(docs/results/rules-on-truth.md). Its correction has parts that were not worth their place there either: a bias of each point,
a tail of further batches, a probe's history.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scheduler.latency import BRIEF, EQUAL, LONGEST_PROFILED_TAIL, SLOWDOWN_GAIN, LatencyModel
from scheduler.load import Decision, Known, Load
from scheduler.places import Places, latency_model
from scheduler.policy import InTurn, ValuePerPerson
from scheduler.profile import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.policy import Rule
    from scheduler.profile import Profile

SLOWDOWN_RANGE = (0.2, 50.0)
TAIL_QUANTILE, TAIL_STEP, TAIL_LIMIT = 0.9975, 0.5, 20.0
CHANGE = 1.25
BIAS_STEP, BIAS_KEPT = 0.005, 0.99  # a bias comes to 0.5 or 1.5 at most


@dataclass
class LeastError(InTurn):
    """The point, and the number of people, with the least expected error of what is on screen.

    Everybody is read in turn, those who were never read first, then who waited longest. A point that reads m of n faces
    in T ms gives each of them a turn every n / m frames, so what is on screen was seen T + n / m x period / 2 ago on
    average. Of newcomers nothing is known for T, and of those of them who are not read in this frame for longer. Where
    answers are worth 1 / e after `memory_ms`, the expected error is

        error + (blank - error) x ((T + n / m x period / 2) / memory + newcomers' time without an answer / (n x turn))

    with the turn of the dearest point, since it is the turn after this one that makes good what was read in haste.

    m is as many as are predicted to be read in what is left of the budget, and before the next frame comes: what took
    longer would cost that frame. `margin` covers what comes after the network (fusing the estimates).
    Where not even one face fits, one is read all the same, at the cheapest point, so that nobody waits for ever on a
    machine that is too slow.

    A prediction that holds 399 times of 400 leaves much of the budget unused nearly always, so after each batch, of at most
    `batches` a frame, what is left is decided on again: by then it is known how fast the machine is in this very frame.
    With `weigh` a further batch is run only where it is worth more than what it costs those who were read before it, since all
    that a frame's batches gave is shown when the last is done (`_pays`).
    """

    period_ms: float = 40.0
    memory_ms: float = 3000.0
    margin: float = 1.1
    batches: int = 3
    weigh: bool = True

    def __post_init__(self) -> None:
        if not (1 <= self.margin < 100 and 1 <= self.batches <= 100):
            raise ValueError(f"margin and batches must be at least 1, got {self.margin} and {self.batches}")
        if not (0 < self.period_ms < 1e6 and 0 < self.memory_ms < 1e9):
            raise ValueError(f"period and memory must be positive, got {self.period_ms} and {self.memory_ms} ms")
        self._last: OperatingPoint | None = None
        self._stay = 1.0  # factor on the error of the last frame's point: see LeastErrorThatStays

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        decision = self._least(load, latency, latency.pace(load), latency.tail)
        if decision is None:
            cheapest = latency.profile.front[0]
            decision = Decision(cheapest, 1, latency.predict_ms(cheapest, 1, load), load)
        self._last = decision.point
        return decision

    def again(self, load: Load, latency: LatencyModel) -> Decision | None:
        if load.faces < 1 or load.batches >= self.batches:
            return None
        assert isinstance(latency, FormerLatency)
        decision = self._least(load, latency, latency.level_now, latency.further_tail)
        if (
            decision
            and self.weigh
            and not self._pays(load, decision.serve, decision.predicted_ms / latency.further_tail)
        ):
            return None
        return decision

    def _pays(self, load: Load, serve: int, took_ms: float) -> bool:
        """Whether reading `serve` more of a frame's n people is worth it for the m who were read, and wait `took_ms` for it.

        Both sides in people x milliseconds without an answer, where an answer that is t older counts t / memory: turns come
        every n / (m + serve) frames instead of n / m, and newcomers need not wait for the next frame; those who were read go
        on with an answer of n / m frames ago, or with none.
        """
        read, period_ms = max(load.read, 1), self.period_ms
        everybody = load.faces + load.read
        turn_ms = everybody / read * period_ms
        sooner = everybody * period_ms * (turn_ms - everybody / (read + serve) * period_ms) / 2 / self.memory_ms
        gain = sooner + min(serve, load.new) * max(period_ms - took_ms, 0.0)
        return gain > took_ms * (load.read_new + (load.read - load.read_new) * min(turn_ms / self.memory_ms, 1.0))

    def _least(self, load: Load, latency: LatencyModel, level: float, tail: float) -> Decision | None:
        """The choice where a batch takes the profile's time x `level` and may take `tail` times that; None where nothing fits.

        Called between a frame's alignment and its network, with caches that hold neither its code nor its data: lean, in one
        piece, and it looks at as few points as it can."""
        assert isinstance(latency, FormerLatency)
        biases, last, stay = latency.biases, self._last, self._stay
        faces, new, blank = load.faces, load.new, latency.profile.blank_error
        period_ms, memory_ms = self.period_ms, self.memory_ms
        room_ms = min(load.left_ms, period_ms - load.taken_ms) / self.margin
        freshest = min(period_ms / 2 / memory_ms, 1.0)
        least, best, turn = float("inf"), None, 0.0
        for point, error, times in latency.profile.choices:
            if (error + (blank - error) * freshest) * stay >= least:
                break  # nor can those that are cheaper, and err more
            pace = level * biases.get(point, 1.0)
            most_ms = room_ms / (pace * tail)
            if faces < len(times):
                served = bisect_right(times, most_ms, 1, faces + 1) - 1
                took_ms = times[served] * pace
            else:
                served = latency.profile.most_faces(point, most_ms, faces)
                took_ms = latency.profile.median_ms(point, served) * pace
            turn = turn or faces / max(served, 1)
            if not served:
                continue
            lost = (took_ms + faces / served * period_ms / 2) / memory_ms
            if new:
                waiting = max(new - served, 0)
                unseen_ms = new * took_ms + waiting * (1 + waiting / served) / 2 * period_ms
                lost += unseen_ms / (faces * turn * period_ms)
            expected = error + (blank - error) * min(lost, 1.0)
            if point == last:
                expected *= stay
            if expected < least:
                least, best = expected, (point, served, took_ms * tail)
        return Decision(*best, load) if best else None

    def to_json(self) -> dict[str, Any]:
        """In the words of schema 4, in which a frame's batches are "runs"."""
        numbers = asdict(self)
        return {"name": "least-error", "runs": numbers.pop("batches"), **numbers}


@dataclass
class LeastErrorThatStays(LeastError):
    """The rule as it was, to replay the logs of that time: the last frame's point stays unless another is better by the share
    `keep`. Without it the error on screen is equal or lower in most worlds (docs/reference/scheduler.md)."""

    keep: float = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.keep < 1:
            raise ValueError(f"keep must be from 0 to 1, got {self.keep}")
        self._stay = 1 - self.keep


@dataclass
class ValueOfMovement(ValuePerPerson):
    """The rule of now as logs of schemas 6 and 7 have it. An expression that the last reading has moved was taken to go on
    moving (Known.moved, total variation, 0 to 1), and a smeared crop to tell less (Known.sharpness, 0 to 1, by how far the
    box moves between frames). Neither gained 1 % of error on truth."""

    moving: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.moving < 1e3:
            raise ValueError(f"moving must be positive, got {self.moving}")

    def worth(self, known: Known, blank: float) -> float:
        if known.waited_ms == math.inf:
            return blank
        changed = super().worth(known, blank) - known.error
        return known.error + (changed + self.moving * known.moved) * known.sharpness


class FormerLatency(LatencyModel):
    """The profile as it holds at this moment."""

    def __init__(
        self,
        profile: Profile,
        tail_quantile: float = TAIL_QUANTILE,
        tail_step: float = TAIL_STEP,
        further_quantile: float | None = None,
        tail_limit: float = TAIL_LIMIT,
    ) -> None:
        """`further_quantile`: of batches that are not the first of their frame; default: that of the first."""
        self.profile, self.slowdown = profile, 1.0
        self.first_tail = self.further_tail = min(profile.tail, LONGEST_PROFILED_TAIL)
        self.biases: dict[OperatingPoint, float] = {}
        further_quantile = tail_quantile if further_quantile is None else further_quantile
        self._first, self._further = _steps(tail_step, tail_quantile), _steps(tail_step, further_quantile)
        self._tails = 1.0, tail_limit
        self._ratios: deque[float] = deque(maxlen=3)
        self._now = 0.0  # what the batches of this frame showed
        self._slow = 0  # frames in a row that the probe called slow
        self._calm = 3  # frames in a row since then
        self._usual = 1.0  # the slowdown without them
        self._numbers = {
            "tail_quantile": tail_quantile,
            "tail_step": tail_step,
            "further_quantile": further_quantile,
            "tail_limit": tail_limit,
        }

    def to_json(self) -> dict[str, float]:
        """The numbers that `__init__` takes beside the profile."""
        return dict(self._numbers)

    def level(self, probe: float = 0.0) -> float:
        """The slowdown at the beginning of a frame, of which a probe may have said how much slower than usual it is."""
        return max(self.slowdown, self._usual * probe)

    @property
    def level_now(self) -> float:
        """The slowdown within a frame of which a batch was run already."""
        return max(self.slowdown, self._now)

    @property
    def tail(self) -> float:
        return self.first_tail

    @tail.setter
    def tail(self, tail: float) -> None:
        self.first_tail = tail

    def pace(self, load: Load) -> float:
        return self.level_now if load.batches else self.level(load.probe)

    def expect_ms(self, point: OperatingPoint, faces: int, load: Load) -> float:
        return self.profile.median_ms(point, faces) * self.level(load.probe) * self.biases.get(point, 1.0)

    def predict_ms(self, point: OperatingPoint, faces: int, load: Load) -> float:
        return self.expect_ms(point, faces, load) * self.first_tail

    def most_faces(self, point: OperatingPoint, ms: float, load: Load) -> int:
        pace = self.level(load.probe) * self.biases.get(point, 1.0) * self.first_tail
        return self.profile.most_faces(point, ms / pace, load.faces)

    def observe(self, point: OperatingPoint, faces: int, measured_ms: float, load: Load) -> None:
        bias = self.biases.get(point, 1.0)
        ratio = measured_ms / (self.profile.median_ms(point, faces) * bias)
        if load.batches:
            longer = ratio > self.level_now * self.further_tail * EQUAL
            self.further_tail = _within(self.further_tail * self._further[longer], self._tails)
            self._now = max(self._now, ratio)
            return
        self._now = ratio
        self._slow, self._calm = (self._slow + 1, 0) if load.probe else (0, self._calm + 1)
        if 0 < self._slow <= BRIEF:
            self._follow(ratio, self.level(load.probe))
            return
        self._ratios.append(ratio)
        level = sorted(self._ratios)[len(self._ratios) // 2]
        # While the machine changes, over the level of these very frames: the change is not noise.
        base = level if level > CHANGE * self.slowdown else self.slowdown
        self._follow(ratio, max(base, self._usual * load.probe))
        step = BIAS_STEP if ratio > self.slowdown * EQUAL else -BIAS_STEP if ratio < self.slowdown / EQUAL else 0.0
        self.biases[point] = 1 + (bias - 1) * BIAS_KEPT + step
        self.slowdown = _within(self.slowdown + SLOWDOWN_GAIN * (level - self.slowdown), SLOWDOWN_RANGE)
        if self._calm >= 3:  # or the median of three may still be of slow ones
            self._usual = self.slowdown

    def _follow(self, ratio: float, level: float) -> None:
        """Moves the tail of first batches after one that took `ratio` where `level` was expected."""
        longer = ratio > level * self.first_tail * EQUAL
        self.first_tail = _within(self.first_tail * self._first[longer], self._tails)


class FormerPlaces(Places, FormerLatency):
    """The same, with a server's place beside it."""

    one_place = FormerLatency


def _steps(step: float, share: float) -> tuple[float, float]:
    """What a tail is multiplied by after a batch that was not longer, and after one that was: in balance at that quantile."""
    return 1 + step * (share - 1), 1 + step * share


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])


def least_error_from_json(data: Mapping[str, Any]) -> LeastError:
    """The rule that a log of that time names."""
    numbers = {key: float(data[key]) for key in ("period_ms", "memory_ms", "margin")}
    batches, weigh = int(data.get("runs", 1)), bool(data.get("weigh", False))
    if "keep" in data:
        return LeastErrorThatStays(**numbers, batches=batches, weigh=weigh, keep=float(data["keep"]))
    return LeastError(**numbers, batches=batches, weigh=weigh)


def latency_for(rule: Rule, profile: Profile) -> LatencyModel:
    """The correction that a rule was made for."""
    return FormerLatency(profile) if isinstance(rule, LeastError) else latency_model(profile)
