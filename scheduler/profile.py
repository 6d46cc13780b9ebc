"""Operating points, and how long each takes as it was measured."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

# A dearer point that is better by less is not worth its place on the front: a thousand validation faces cannot tell.
LEAST_GAIN = 0.005
# Another engine is worth a place beside the one that is quicker over all where it takes so much less for some batches.
SOONER = 0.95
# A decision's tables hold this many times the largest bucket: 64 faces where that is 16.
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
        """Raises KeyError, TypeError or ValueError where the data is not a point."""
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

    def error_at(self, exit: str, size: int) -> float:
        """The error at an exit and size, by any engine."""
        return self._by_exit[exit, size]

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
    def _by_exit(self) -> dict[tuple[str, int], float]:
        return {(p.point.exit, p.point.size): p.error for p in self.points}

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
        """Raises ValueError, KeyError or TypeError where the data is not a profile."""
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
