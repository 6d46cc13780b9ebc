"""What is known of the people in view: one memory of estimates each.

Age. What exit e says of a person at a time t is taken to be

    reading = age + person error + offset[e] + slow error(t) + frame error(t)

- the person error is shared by all frames and exits and does not average away: how old somebody looks;
- offset[e] is what exit e says of this person beside the other exits, the same in every frame;
- the slow error goes with pose and light and lasts for SLOW_S: readings closer together than 2 SLOW_S share it, so each
  brings only as much as its part of that time, as if its variance were 2 SLOW_S / (time since the last one) times larger;
- the frame error is new in every frame.

Each is a share of the square of the half interval that was calibrated for that exit and input size on held-out faces
(`Reading.half`; 68 of 100 ages lie in it, so it stands for a standard deviation). A Kalman filter per person estimates
m = age + person error together with the offsets of the exits that were seen, state (m, offset[1], ..., offset[k]):

    gain = P h / (h' P h + R)        h = 1 for m and for the reading's exit, else 0
    R = FRAME half^2 + (SLOW half^2 + blur) max(1, 2 SLOW_S / time since the last reading)

blur = half^2 - sharpest^2: by how much this reading is less certain than the sharpest of this person (least half, forgotten
within SHARPEST_S). A smeared or dark frame errs by that in a way of its own, which further frames like it share: so ten
blurred frames in a second never overrule one sharp one. Where a reading is sharper than all before, what was known is less
certain than it seemed: P[m, m] grows by the difference of the squares; and where it is clearly sharper (CLEARLY_SHARPER) it
shares no slow error with them.

The shown half interval is sqrt(P[m, m] + person variance), person variance being the readings' mean of (1 - FRAME - SLOW -
OFFSET) half^2: one reading is shown with its own interval, many with a narrower one that never shrinks below the person
error. A shallow exit with a wider interval weighs less; after a few frames of both its offset is known, so that switching
exits does not move the age. FRAME and OFFSET are measured on perturbed validation faces, SLOW and SLOW_S on a clip of a man
who talks, by `main.py bench estimates` (docs/reference/people.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from app.domain import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from app.domain import Reading

# Shares of the squared half interval, and how long the slow error lasts.
FRAME, SLOW, OFFSET, SLOW_S = 0.06, 0.08, 0.05, 1.5
# What is known of somebody fades: m may drift by this share of the squared half interval a second.
DRIFT = 0.002
# How long the sharpest reading of a person is held against the others.
SHARPEST_S = 60.0
# A reading whose variance is less than this share of the sharpest's shares no slow error with what was read before.
CLEARLY_SHARPER = 0.7
# The least half interval that a reading counts with, years: a certain network is not exact.
LEAST_HALF = 1.0
# Readings that for a while lie this many standard deviations from what is known are of somebody else: start anew.
OTHER_PERSON, SURPRISE_S = 4.0, 0.5

EXPRESSION_S = 0.3  # expressions follow within about this time
GENDER_MEMORY_S = 10.0
# An age whose half interval is wider says nothing, and an expression that is less probable would be a guess: neither is
# shown. What is shown already stays until it is worse by the margin.
TOO_WIDE, WIDE_MARGIN = 11.0, 2.0
LEAST_EXPRESSION, EXPRESSION_MARGIN = 0.5, 0.08
# Another label is shown when its probability exceeds that of the shown one by so much.
GENDER_LEAD, EXPRESSION_LEAD = 0.2, 0.1


class Seen(NamedTuple):
    """Somebody's last reading: how long ago, by which exit and input size."""

    waited_s: float
    exit: str
    size: int


@dataclass(slots=True)
class _Memory:
    points: list[tuple[str, int]]  # exits and input sizes whose offsets are in the state
    state: NDArray[np.float64]
    covariance: NDArray[np.float64]
    person_variance: float
    sharpest: float  # the least variance of a reading
    gender: NDArray[np.float64]
    gender_weight: float
    expression: NDArray[np.float64]
    exit: str
    size: int
    read_s: float
    surprise: float = 0.0
    shown: list[int] = field(default_factory=lambda: [0, 0])  # classes of gender and expression
    told: list[bool] = field(default_factory=lambda: [False, False])  # whether age and expression are sure enough

    @property
    def half(self) -> float:
        """Half of the interval that is shown, years."""
        return math.sqrt(self.covariance[0, 0] + self.person_variance)

    def judge(self) -> None:
        """Decides whether age and expression are sure enough to be shown."""
        age, expression = self.told
        least = LEAST_EXPRESSION - EXPRESSION_MARGIN * expression
        self.told = [self.half <= TOO_WIDE + WIDE_MARGIN * age, _share(self.expression, self.shown[1]) >= least]


class People:
    """What is known of everybody in view. Readings of one person are fused, each weighted by its certainty."""

    def __init__(self, genders: Sequence[str], expressions: Sequence[str]) -> None:
        self._genders, self._expressions = tuple(genders), tuple(expressions)
        self._known: dict[int, _Memory] = {}

    def known(self, person: int, time_s: float) -> Seen | None:
        """When and at which point somebody was read last. None while nothing is shown of them."""
        known = self._known.get(person)
        if known is None or not known.told[0]:
            return None
        return Seen(time_s - known.read_s, known.exit, known.size)

    def read(self, person: int, reading: Reading, frame: int, time_s: float) -> None:
        """Fuses a new reading."""
        variance = max(reading.half, LEAST_HALF) ** 2
        known = self._known.get(person)
        passed = max(time_s - known.read_s, 1e-3) if known else math.inf
        if known is None or self._somebody_else(known, reading.age, variance, passed):
            self._known[person] = first = _first(reading, variance, frame, time_s)
            first.judge()
            return
        noise = _noise(known, variance, passed)
        _fuse_age(known, reading, variance, noise, passed)
        kept = known.gender_weight * math.exp(-passed / GENDER_MEMORY_S)
        known.gender_weight = kept + 1 / noise
        known.gender = known.gender + (reading.gender - known.gender) / noise / known.gender_weight
        quick = 1 - math.exp(-passed / EXPRESSION_S)
        known.expression = known.expression + quick * (reading.expression - known.expression)
        for i, (p, lead) in enumerate(((known.gender, GENDER_LEAD), (known.expression, EXPRESSION_LEAD))):
            best = _likeliest(p)
            if _share(p, best) > _share(p, known.shown[i]) + lead:
                known.shown[i] = best
        known.exit, known.size, known.read_s = reading.exit, reading.size, time_s
        known.judge()

    @staticmethod
    def _somebody_else(known: _Memory, age: float, variance: float, passed: float) -> bool:
        """Whether readings have been far from what is known for a while."""
        expected = known.covariance[0, 0] + (FRAME + SLOW + OFFSET) * variance
        step = min(1 - math.exp(-passed / SURPRISE_S), 0.4)  # one reading alone never decides
        known.surprise += step * ((age - known.state[0]) / math.sqrt(expected) - known.surprise)
        return abs(known.surprise) > OTHER_PERSON

    def estimate(self, person: int) -> Estimate | None:
        """The fused estimate; None before the first reading, and while the age's interval is too wide to say anything.

        Its expression is "" where none is probable enough, and so is what the network does not tell.
        """
        known = self._known.get(person)
        if known is None or not known.told[0]:
            return None
        (g, x), age = known.shown, float(known.state[0])
        return Estimate(
            age=age,
            age_low=max(age - known.half, 0.0),
            age_high=age + known.half,
            gender=self._genders[g] if self._genders else "",
            gender_p=_share(known.gender, g),
            expression=self._expressions[x] if known.told[1] else "",
            expression_p=_share(known.expression, x),
            exit=known.exit,
        )

    def keep(self, alive: set[int]) -> None:
        """Forgets everybody else."""
        for person in self._known.keys() - alive:
            del self._known[person]


def _likeliest(p: NDArray[np.float64]) -> int:
    """The likeliest class; 0 where the network does not tell any."""
    return int(p.argmax()) if len(p) else 0


def _share(p: NDArray[np.float64], which: int) -> float:
    return float(p[which]) if len(p) else 0.0


def _first(reading: Reading, variance: float, frame: int, time_s: float) -> _Memory:
    """The reading alone: m is the reading less an unknown offset and noise, so the whole variance is the interval's."""
    covariance = variance * np.array([[OFFSET + FRAME + SLOW, -OFFSET], [-OFFSET, OFFSET]])
    gender, expression = np.asarray(reading.gender, np.float64), np.asarray(reading.expression, np.float64)
    return _Memory(
        points=[(reading.exit, reading.size)],
        state=np.array([reading.age, 0.0]),
        covariance=covariance,
        person_variance=_person_share() * variance,
        sharpest=variance,
        gender=gender,
        gender_weight=1 / ((FRAME + SLOW) * variance),
        expression=expression,
        exit=reading.exit,
        size=reading.size,
        read_s=time_s,
        shown=[_likeliest(gender), _likeliest(expression)],
    )


def _noise(known: _Memory, variance: float, passed: float) -> float:
    """R of the reading (see the module). Remembers the sharpest reading."""
    blur = variance - known.sharpest
    shared = 1.0 if variance < CLEARLY_SHARPER * known.sharpest else max(1.0, 2 * SLOW_S / passed)
    if blur < 0:
        known.covariance[0, 0] -= blur
        known.sharpest = variance
    else:
        known.sharpest += blur * (1 - math.exp(-passed / SHARPEST_S))
    return FRAME * variance + (SLOW * variance + max(blur, 0.0)) * shared


def _fuse_age(known: _Memory, reading: Reading, variance: float, noise: float, passed: float) -> None:
    point = (reading.exit, reading.size)
    if point not in known.points:
        known.points.append(point)
        known.state = np.append(known.state, 0.0)
        known.covariance = np.pad(known.covariance, (0, 1))
        known.covariance[-1, -1] = OFFSET * variance
    known.covariance[0, 0] += DRIFT * variance * passed
    at = 1 + known.points.index(point)
    column = known.covariance[:, 0] + known.covariance[:, at]
    spread = column[0] + column[at]
    gain = column / (spread + noise)
    known.state = known.state + gain * (reading.age - known.state[0] - known.state[at])
    known.covariance = known.covariance - np.outer(gain, column)
    # By the same weight, that of m alone: a shallow exit widens the interval as far as it counts.
    known.person_variance += float(gain[0]) * (_person_share() * variance - known.person_variance)


def _person_share() -> float:
    return 1 - FRAME - SLOW - OFFSET
