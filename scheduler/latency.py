"""How long an operating point takes for n faces: a measured profile, corrected while the program runs.

Why a slowdown: when another program takes a core or the chip throttles, all points slow down by about the same factor,
so one filtered ratio measured / profiled moves the whole table at once, points that were not run included. Its filter
takes the median of the last three ratios, so that a single stall passes unnoticed, and then moves half way, so that a
lasting change is known after three to four frames.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLOWDOWN_GAIN = 0.5
SLOWDOWN_RANGE = (0.2, 50.0)
# Ratios of the last so many frames that the tail is taken from; the profile's own tail counts until there are as many.
TAIL_WINDOW = 60
TAIL_QUANTILE = 0.95
# A profile that was measured on a busy machine has a long tail, which must not hold for ever.
LONGEST_PROFILED_TAIL = 1.3
# Validation errors that differ by less are equal: with 1,000 faces the error of gender alone is known to a tenth of itself.
TIE = 0.03


@dataclass(frozen=True, order=True, slots=True)
class OperatingPoint:
    """What can be chosen per frame: how deep, and at which input size."""

    exit: str
    size: int

    def __str__(self) -> str:
        return f"{self.exit}@{self.size}"


@dataclass(frozen=True, slots=True)
class PointProfile:
    """One operating point as measured: median milliseconds for each batch bucket of its profile, and its quality."""

    point: OperatingPoint
    median_ms: tuple[float, ...]
    mae: float  # years, on the validation set
    error: float  # over all that it estimates, validation set, each relative to the best point's: what is ranked by


@dataclass(frozen=True)
class Profile:
    """Measured latency of every operating point. Refuses nonsense.

    `tail` is the 95 % quantile of measurement / median, pooled over all points, since a few runs of each say little
    about its own. `padded` tells whether the engine fills a batch up to the next bucket.
    """

    buckets: tuple[int, ...]
    points: tuple[PointProfile, ...]
    tail: float = 1.1
    padded: bool = False

    def __post_init__(self) -> None:
        if not self.buckets or self.buckets[0] != 1 or list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError(f"buckets must rise from 1, got {self.buckets}")
        if not self.points:
            raise ValueError("a profile needs at least one operating point")
        if len({p.point for p in self.points}) != len(self.points):
            raise ValueError("an operating point stands in the profile twice")
        for p in self.points:
            if len(p.median_ms) != len(self.buckets) or not all(0 < ms < 1e9 for ms in p.median_ms):
                raise ValueError(
                    f"{p.point}: needs a positive time for each of {len(self.buckets)} buckets, got {p.median_ms}"
                )
            if not (0 < p.mae < float("inf") and 0 < p.error < float("inf")):
                raise ValueError(f"{p.point}: validation MAE and error must be positive, got {p.mae} and {p.error}")
        if not 1.0 <= self.tail < float("inf"):
            raise ValueError(f"the tail is a quantile over a median and cannot be below 1, got {self.tail}")

    def median_ms(self, point: OperatingPoint, faces: int) -> float:
        """Expected milliseconds for a number of faces: between buckets interpolated, or taken from the next one where the
        engine pads; more than the largest bucket holds are run in several batches."""
        times = self._times[point]
        whole, rest = divmod(faces, self.buckets[-1])
        total = whole * times[-1]
        if rest:
            i = bisect_left(self.buckets, rest)
            if self.padded or self.buckets[i] == rest:
                total += times[i]
            else:
                low, high = self.buckets[i - 1], self.buckets[i]
                total += times[i - 1] + (times[i] - times[i - 1]) * (rest - low) / (high - low)
        return total

    def bucket(self, faces: int) -> int:
        """The smallest bucket that holds so many faces, or the largest."""
        return self.buckets[min(bisect_left(self.buckets, faces), len(self.buckets) - 1)]

    def mae(self, point: OperatingPoint) -> float:
        return self._maes[point]

    @cached_property
    def front(self) -> tuple[OperatingPoint, ...]:
        """The points worth choosing, cheapest first: none is worse than a cheaper one by more than TIE."""
        best, dearest, front = float("inf"), 0.0, list[OperatingPoint]()
        for p in sorted(self.points, key=lambda p: (sum(p.median_ms), p.error)):
            cost = sum(p.median_ms)
            if p.error <= best * (1 + TIE) and (cost > dearest or p.error < best):
                front.append(p.point)
                dearest = cost
            best = min(best, p.error)
        return tuple(front)

    @cached_property
    def _times(self) -> dict[OperatingPoint, tuple[float, ...]]:
        return {p.point: p.median_ms for p in self.points}

    @cached_property
    def _maes(self) -> dict[OperatingPoint, float]:
        return {p.point: p.mae for p in self.points}

    def to_json(self) -> dict[str, Any]:
        return {
            "buckets": list(self.buckets),
            "tail": self.tail,
            "padded": self.padded,
            "points": [
                {
                    "exit": p.point.exit,
                    "size": p.point.size,
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
                    OperatingPoint(str(p["exit"]), int(p["size"])),
                    tuple(float(ms) for ms in p["median_ms"]),
                    float(p["mae"]),
                    float(p["error"]),
                )
                for p in data["points"]
            ),
            tail=float(data["tail"]),
            padded=bool(data["padded"]),
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

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.slowdown = 1.0
        self.tail = self._least_tail = min(profile.tail, LONGEST_PROFILED_TAIL)
        self._ratios: deque[float] = deque(maxlen=3)
        self._relative: deque[float] = deque(maxlen=TAIL_WINDOW)

    def predict_ms(self, point: OperatingPoint, faces: int) -> float:
        """Milliseconds that 95 of 100 runs stay under."""
        return self.profile.median_ms(point, faces) * self.slowdown * self.tail if faces else 0.0

    def observe(self, point: OperatingPoint, faces: int, measured_ms: float) -> None:
        """Learns from one run of the network."""
        ratio = measured_ms / self.profile.median_ms(point, faces)
        self._relative.append(ratio / self.slowdown)
        self._ratios.append(ratio)
        median = sorted(self._ratios)[len(self._ratios) // 2]
        low, high = SLOWDOWN_RANGE
        self.slowdown = min(max(self.slowdown + SLOWDOWN_GAIN * (median - self.slowdown), low), high)
        missing = TAIL_WINDOW - len(self._relative)
        measured = quantile(self._relative, TAIL_QUANTILE)
        # Never below the profile's own tail: a calm minute is no promise.
        mixed = (measured * len(self._relative) + self._least_tail * missing) / TAIL_WINDOW
        self.tail = max(self._least_tail, mixed)
