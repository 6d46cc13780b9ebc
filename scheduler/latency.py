"""How long an operating point takes for n faces: a measured profile, corrected while the program runs.

    prediction = profile's median(point, faces) x slowdown x probe x bias(point) x tail

Why a slowdown: when another program takes a core or the chip throttles, all points slow down by about the same factor,
so one filtered ratio measured / profiled moves the whole table at once, points that were not used included. Its filter
takes the median of the last three ratios, so that a single stall passes unnoticed, and then moves most of the way, so that
a lasting change is known after three frames.

Why a probe: what slows a single frame down is over before a filter follows. Whoever decides may time a fixed piece of work
first (app/network/probe.py), and where that takes several times as long as usual, so will the network. Such frames are no
news about the machine until BRIEF of them came in a row; from then on the slowdown rises to what they show, and the two
are not multiplied any more.

Why a bias of each point: the profile's own error there. It follows slowly, and is let go slowly, since what all points have
in common is the slowdown's.

Why a tail: what is left of the ratios is noise, and the quantile that 399 of 400 batches stay under says how much of it must be
expected. It follows by steps, up when a batch took longer, down when not, of sizes that balance where one batch in four
hundred is longer; so no single batch moves it by more than TAIL_STEP, a stall included. Why 99.75 and not 95: a rule that fills
its budget in every frame misses as often as its prediction fails, and a frame of three batches can fail three times. Why one
for all points: on a wide front each is used too seldom to learn one in four hundred of its own (docs/reference/scheduler.md
has both, measured).

Why another tail for further batches of a frame: whether the machine is slow just now is known by then. Their level is the
slowdown or what the frame's batches so far showed, whichever is more, and what is left above that is a noise of its own. There
may be two of them in a frame; each has the risk of a first batch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

SLOWDOWN_GAIN = 0.7
SLOWDOWN_RANGE = (0.2, 50.0)
CHANGE = 1.25
BRIEF = 4
EQUAL = 1 + 1e-9  # equal but for rounding is not longer
TAIL_QUANTILE = 0.9975
TAIL_STEP = 0.5
TAIL_LIMIT = 20.0
# A profile that was measured on a busy machine has a long tail, which must not hold for ever.
LONGEST_PROFILED_TAIL = 1.3
BIAS_STEP, BIAS_KEPT = 0.005, 0.99  # a bias comes to 0.5 or 1.5 at most
# A dearer point that is better by less is not worth its place on the front: a thousand validation faces cannot tell.
LEAST_GAIN = 0.005
# Another engine is worth a place beside the one that is quicker over all where it takes so much less for some batches.
SOONER = 0.95
# A decision's tables hold so many times the largest bucket: 64 faces where that is 16.
CROWD = 4
# An answer that looks at nobody: UTKFace's median age for everybody is 15.5 years off, and over all three tasks the
# constant answers are about four times as wrong as the shipped network's (app/network/calibrate.py has the figures).
BLANK_MAE, BLANK_ERROR = 15.5, 4.0


class OperatingPoint(NamedTuple):
    """What can be chosen per frame: how deep, at which input size, and by which engine. An exit's name says whether it
    reads the mirror image too. (A tuple, since it is looked up all the time.)"""

    exit: str
    size: int
    engine: str = ""  # "" is ONNX Runtime, on the provider that the run has

    def __str__(self) -> str:
        return f"{self.engine}/{self.exit}@{self.size}" if self.engine else f"{self.exit}@{self.size}"

    def to_json(self) -> dict[str, Any]:
        """Without the engine where it is ONNX Runtime, as before there were others."""
        return {"exit": self.exit, "size": self.size} | ({"engine": self.engine} if self.engine else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError where the data is no point."""
        return cls(str(data["exit"]), int(data["size"]), str(data.get("engine", "")))


@dataclass(frozen=True, slots=True)
class PointProfile:
    """One operating point as measured: median milliseconds for each batch bucket of its profile, and its quality."""

    point: OperatingPoint
    median_ms: tuple[float, ...]
    mae: float  # years, on the validation set
    error: float  # over all that it estimates, validation set, each relative to the best point's: what is ranked by


class Choice(NamedTuple):
    """A point of the front, its error, and its milliseconds for 0, 1, 2, ... faces up to CROWD times the largest bucket."""

    point: OperatingPoint
    error: float
    times: tuple[float, ...]


def time_of(times: Sequence[float], faces: int) -> float:
    """Milliseconds for any number of faces, by a table up to the largest bucket."""
    if faces < len(times):
        return times[faces]
    whole, rest = divmod(faces, len(times) - 1)
    return whole * times[-1] + times[rest]


def faces_in(times: Sequence[float], ms: float) -> int:
    """How many faces such a table says are done in `ms`."""
    if ms < times[1]:
        return 0
    if ms < times[-1]:
        return bisect_right(times, ms) - 1
    whole, rest = divmod(ms, times[-1])
    return int(whole) * (len(times) - 1) + bisect_right(times, rest) - 1


@dataclass(frozen=True)
class Profile:
    """Measured latency of every operating point. Refuses nonsense.

    `tail` is the 95 % quantile of measurement / median, pooled over all points, since a few measurements of each say little
    about its own. `padded` says that whatever is more than one bucket takes as long as the next, which is how engines that
    fill batches up were profiled before they were measured at both ends of each batch. `blank_mae` and `blank_error` are what
    a person costs of whom nothing is known, on the scales of the points' `mae` and `error`.
    """

    buckets: tuple[int, ...]
    points: tuple[PointProfile, ...]
    tail: float = 1.1
    padded: bool = False
    blank_mae: float = BLANK_MAE
    blank_error: float = BLANK_ERROR

    def __post_init__(self) -> None:
        if not self.buckets or self.buckets[0] != 1 or list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError(f"buckets must rise from 1, got {self.buckets}")
        if not self.points:
            raise ValueError("a profile needs at least one operating point")
        if len({p.point for p in self.points}) != len(self.points):
            raise ValueError("an operating point stands in the profile twice")
        for p in self.points:
            if len(p.median_ms) != len(self.buckets) or not all(1e-6 < ms < 1e9 for ms in p.median_ms):
                raise ValueError(
                    f"{p.point}: needs a positive time for each of {len(self.buckets)} buckets, got {p.median_ms}"
                )
            if not (0 < p.mae < float("inf") and 0 < p.error < float("inf")):
                raise ValueError(f"{p.point}: validation MAE and error must be positive, got {p.mae} and {p.error}")
        if not 1.0 <= self.tail < float("inf"):
            raise ValueError(f"the tail is a quantile over a median and cannot be below 1, got {self.tail}")
        if not (0 < self.blank_mae < float("inf") and 0 < self.blank_error < float("inf")):
            raise ValueError(f"errors of a blank answer must be positive, got {self.blank_mae} and {self.blank_error}")

    def median_ms(self, point: OperatingPoint, faces: int) -> float:
        """Expected milliseconds for a number of faces: between buckets interpolated, or taken from the next one where the
        profile is `padded`; more than the largest bucket holds take as long as the parts that they are cut into."""
        return time_of(self._table[point], faces)

    def most_faces(self, point: OperatingPoint, ms: float, limit: int) -> int:
        """How many faces, up to `limit`, the median says are done in `ms`."""
        return min(faces_in(self._table[point], ms), limit)

    def mae(self, point: OperatingPoint) -> float:
        return self._figures[point].mae

    def error(self, point: OperatingPoint) -> float:
        return self._figures[point].error

    def only(self, points: Collection[OperatingPoint]) -> Self:
        """Without the other points. Raises ValueError where none is left."""
        return replace(self, points=tuple(p for p in self.points if p.point in points))

    def cost(self, point: OperatingPoint) -> float:
        """Milliseconds over all buckets: what points are ranked by."""
        return sum(self._figures[point].median_ms)

    @cached_property
    def front(self) -> tuple[OperatingPoint, ...]:
        """The points worth choosing, cheapest first: each has a lower error, by LEAST_GAIN, than all that are cheaper. In front
        of it stands the same by another engine, where that takes less time for some numbers of faces."""
        best, front = float("inf"), list[OperatingPoint]()
        for p in sorted(self.points, key=lambda p: (sum(p.median_ms), p.error)):
            if p.error < best * (1 - LEAST_GAIN):
                front += [*self._sooner(p), p.point]
                best = p.error
        return tuple(front)

    def _sooner(self, one: PointProfile) -> Iterator[OperatingPoint]:
        """The same exit and size by other engines, where they take less time by SOONER than `one` and each before."""
        least = list(one.median_ms)
        for p in self.points:
            if p.point[:2] == one.point[:2] and p.point != one.point and p.error <= one.error:
                if any(ms < SOONER * known for ms, known in zip(p.median_ms, least, strict=True)):
                    yield p.point
                least = [min(pair) for pair in zip(p.median_ms, least, strict=True)]

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The front with all that a decision looks at, dearest first."""
        faces = range(CROWD * self.buckets[-1] + 1)
        return tuple(Choice(p, self.error(p), tuple(self.median_ms(p, n) for n in faces)) for p in reversed(self.front))

    @cached_property
    def _figures(self) -> dict[OperatingPoint, PointProfile]:
        return {p.point: p for p in self.points}

    @cached_property
    def _table(self) -> dict[OperatingPoint, tuple[float, ...]]:
        """Milliseconds for 0, 1, 2, ... faces up to the largest bucket; never less for more faces."""
        return {p.point: tuple(accumulate(self._times(p), max)) for p in self.points}

    def _times(self, p: PointProfile) -> Iterator[float]:
        yield 0.0
        for faces in range(1, self.buckets[-1] + 1):
            i = bisect_left(self.buckets, faces)
            if self.padded or self.buckets[i] == faces:
                yield p.median_ms[i]
            else:
                low, high = self.buckets[i - 1], self.buckets[i]
                yield p.median_ms[i - 1] + (p.median_ms[i] - p.median_ms[i - 1]) * (faces - low) / (high - low)

    def to_json(self) -> dict[str, Any]:
        return {
            "buckets": list(self.buckets),
            "tail": self.tail,
            "padded": self.padded,
            "blank_mae": self.blank_mae,
            "blank_error": self.blank_error,
            "points": [
                {
                    **p.point.to_json(),
                    "median_ms": list(p.median_ms),
                    "mae": p.mae,
                    "error": p.error,
                }
                for p in self.points
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises ValueError, KeyError or TypeError where the data is no profile."""
        return cls(
            buckets=tuple(int(b) for b in data["buckets"]),
            points=tuple(
                PointProfile(
                    OperatingPoint.from_json(p),
                    tuple(float(ms) for ms in p["median_ms"]),
                    float(p["mae"]),
                    float(p["error"]),
                )
                for p in data["points"]
            ),
            tail=float(data["tail"]),
            padded=bool(data["padded"]),
            blank_mae=float(data.get("blank_mae", BLANK_MAE)),
            blank_error=float(data.get("blank_error", BLANK_ERROR)),
        )


def quantile(values: Sequence[float], q: float) -> float:
    """The value below which a share q of the values lies, linear between neighbours; values must not be empty."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


class LatencyModel:
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
        self.profile = self._whole = profile
        self.slowdown = 1.0
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

    def offer(self, points: Collection[OperatingPoint], profile: Profile | None = None) -> None:
        """From now on only these points may be chosen. `profile` is one that was measured anew: what was learnt of the former
        one's errors is no longer true."""
        if profile:
            self._whole, self.biases = profile, {}
            self.slowdown = self._usual = 1.0
            self._ratios.clear()
        self.profile = self._whole.only(points)

    def level(self, probe: float = 0.0) -> float:
        """The slowdown at the beginning of a frame, of which a probe may have said how much slower than usual it is."""
        return max(self.slowdown, self._usual * probe)

    @property
    def level_now(self) -> float:
        """The slowdown within a frame of which a batch was run already."""
        return max(self.slowdown, self._now)

    def tail(self, point: OperatingPoint) -> float:
        """What 399 of 400 first batches of a frame stay under, over what is expected of them: the same for every point."""
        return self.first_tail

    def expect_ms(self, point: OperatingPoint, faces: int, probe: float = 0.0) -> float:
        """Milliseconds that half of the batches stay under."""
        return self.profile.median_ms(point, faces) * self.level(probe) * self.biases.get(point, 1.0)

    def predict_ms(self, point: OperatingPoint, faces: int, probe: float = 0.0) -> float:
        """Milliseconds that 399 of 400 batches stay under."""
        return self.expect_ms(point, faces, probe) * self.first_tail

    def most_faces(self, point: OperatingPoint, ms: float, limit: int, probe: float = 0.0) -> int:
        """How many faces, up to `limit`, are predicted to be done in `ms`."""
        return self.profile.most_faces(
            point, ms / (self.level(probe) * self.biases.get(point, 1.0) * self.first_tail), limit
        )

    def observe(
        self, point: OperatingPoint, faces: int, measured_ms: float, further: bool = False, probe: float = 0.0
    ) -> None:
        """Learns from one batch; `further` where it was not the first of its frame, else `probe` is what was
        said before it."""
        bias = self.biases.get(point, 1.0)
        ratio = measured_ms / (self.profile.median_ms(point, faces) * bias)
        if further:
            longer = ratio > self.level_now * self.further_tail * EQUAL
            self.further_tail = _within(self.further_tail * self._further[longer], self._tails)
            self._now = max(self._now, ratio)
            return
        self._now = ratio
        self._slow, self._calm = (self._slow + 1, 0) if probe else (0, self._calm + 1)
        if 0 < self._slow <= BRIEF:
            self._follow(ratio, self.level(probe))
            return
        self._ratios.append(ratio)
        level = sorted(self._ratios)[len(self._ratios) // 2]
        # While the machine changes, over the level of these very frames: the change is no noise.
        base = level if level > CHANGE * self.slowdown else self.slowdown
        self._follow(ratio, max(base, self._usual * probe))
        step = BIAS_STEP if ratio > self.slowdown * EQUAL else -BIAS_STEP if ratio < self.slowdown / EQUAL else 0.0
        self.biases[point] = 1 + (bias - 1) * BIAS_KEPT + step
        self.slowdown = _within(self.slowdown + SLOWDOWN_GAIN * (level - self.slowdown), SLOWDOWN_RANGE)
        if self._calm >= 3:  # or the median of three may still be of slow ones
            self._usual = self.slowdown

    def _follow(self, ratio: float, level: float) -> None:
        """Moves the tail of first batches after one that took `ratio` where `level` was expected."""
        longer = ratio > level * self.first_tail * EQUAL
        self.first_tail = _within(self.first_tail * self._first[longer], self._tails)


def _steps(step: float, share: float) -> tuple[float, float]:
    """What a tail is multiplied by after a batch that was not longer, and after one that was: in balance at that quantile."""
    return 1 + step * (share - 1), 1 + step * share


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])
