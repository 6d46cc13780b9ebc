"""Decision rules. A rule is called once per frame that has faces, with the frame's load and the latency model.

Live, replay and simulation call the very same objects; a rule reads no clock and no random number.

The rule of `--exit auto` is ValuePerPerson: read those of whom the screen shows the most wrong, and stop where another reading
is not worth its time. DeepestThatFits is the plain one (docs/reference/scheduler.md).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from scheduler.load import Decision, Known, Load
from scheduler.profile import OperatingPoint, faces_in, time_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.latency import LatencyModel


class Rule(Protocol):
    def rank(self, people: Sequence[Known]) -> list[int]:
        """Places of people in the order in which they are to be read."""
        ...

    def __call__(self, load: Load, latency: LatencyModel) -> Decision: ...

    def again(self, load: Load, latency: LatencyModel) -> Decision | None:
        """After a batch: whether there is time for another, for those of the frame's people who are still to be read."""
        ...


class Policy(Rule, Protocol):
    """A rule that a log can name."""

    def to_json(self) -> dict[str, Any]:
        """Name and parameters; `policy_from_json` makes the same rule, in its first state, from it."""
        ...


class InTurn:
    """A rule that decides once a frame, and reads people in turn: those never read, then who waited longest."""

    def rank(self, people: Sequence[Known]) -> list[int]:
        return sorted(range(len(people)), key=lambda i: -people[i].waited_ms)

    def again(self, load: Load, latency: LatencyModel) -> Decision | None:
        return None


@dataclass(frozen=True)
class Fixed(InTurn):
    """Always the same point, for all faces, whatever it costs."""

    point: OperatingPoint

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        return Decision(self.point, load.faces, latency.predict_ms(self.point, load.faces, load))

    def to_json(self) -> dict[str, Any]:
        return {"name": "fixed", **self.point.to_json()}


@dataclass
class ValuePerPerson:
    """The point, and the people, by whom the most error is taken off the screen.

    What is shown of somebody errs by what the point that read them last does, and by more the longer ago that was, since
    expressions change: `change` after long, two thirds of it after `change_s`. Nothing shown errs by the profile's
    `blank_error`. A reading at a point takes away what is above that point's own error; it is worth its time where
    that is more than `least`. So newcomers come first, and somebody settled waits until enough may have changed.

    Of each point as many people, the worst first, as are predicted to be done in what is left of the budget and before the
    next frame comes; the point that takes away the most in all wins. `margin` covers what comes after the network. Where
    somebody is worth it and nothing fits, one is read all the same. After each batch, of at most `batches` a frame, what is
    left is decided on again: by then it is known how fast the machine is in this very frame.
    """

    period_ms: float = 40.0
    change: float = 1.5
    change_s: float = 4.0
    least: float = 0.1
    margin: float = 1.1
    batches: int = 3

    def __post_init__(self) -> None:
        if not (1 <= self.margin < 100 and 1 <= self.batches <= 100):
            raise ValueError(f"margin and batches must be at least 1, got {self.margin} and {self.batches}")
        positive, others = (self.period_ms, self.change_s), (self.change, self.least)
        if not (all(0 < n < 1e6 for n in positive) and all(0 <= n < 1e3 for n in others)):
            raise ValueError(f"period, change and least must be positive, got {self.to_json()}")

    def worth(self, known: Known, blank: float) -> float:
        """The expected error of what is shown of somebody, relative as Profile.error."""
        if known.waited_ms == math.inf:
            return blank
        return known.error - self.change * math.expm1(-known.waited_ms / (1e3 * self.change_s))

    def rank(self, people: Sequence[Known]) -> list[int]:
        worth = [self.worth(known, math.inf) for known in people]
        return sorted(range(len(people)), key=lambda i: -worth[i])

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        decision = self._most(load, latency)
        if decision is None:
            cheapest = latency.profile.front[0]
            serve = min(self._due(load, latency), 1)
            predicted = latency.predict_ms(cheapest, 1, load) if serve else 0.0
            decision = Decision(cheapest, serve, predicted, load)
        return decision._replace(due=self._due(load, latency))

    def again(self, load: Load, latency: LatencyModel) -> Decision | None:
        return self._most(load, latency) if load.faces and load.batches < self.batches else None

    def _due(self, load: Load, latency: LatencyModel) -> int:
        """How many are worth a reading at the dearest point."""
        blank, error = latency.profile.blank_error, latency.profile.choices[0].error
        return sum(self.worth(known, blank) - error > self.least for known in load.people)

    def _most(self, load: Load, latency: LatencyModel) -> Decision | None:
        """None where nothing fits, or nobody is worth it."""
        worth = [self.worth(known, latency.profile.blank_error) for known in load.people]
        pace = latency.pace(load)
        room_ms = min(load.left_ms, self.period_ms - load.taken_ms) / self.margin / pace / latency.tail
        most, least_ms, best = 0.0, math.inf, None
        for point, error, times in latency.profile.choices:
            total, serve = 0.0, 0
            for value in worth[: faces_in(times, room_ms)]:
                if value - error <= self.least:
                    break
                total += value - error
                serve += 1
            took_ms = time_of(times, serve)
            if serve and (total > most or (total == most and took_ms < least_ms)):
                most, least_ms, best = total, took_ms, (point, serve, took_ms * pace * latency.tail)
        return Decision(*best, load) if best else None

    def to_json(self) -> dict[str, Any]:
        return {"name": "value-per-person", **asdict(self)}


@dataclass
class DeepestThatFits(InTurn):
    """The dearest point worth choosing (Profile.front) whose predicted latency for all faces fits the budget that is left.

    A dearer point than the frame's before must fit with `headroom` to spare. Where not even the cheapest fits for all, as
    many are served as fit, and at least one.
    """

    margin: float = 1.1
    headroom: float = 0.1

    def __post_init__(self) -> None:
        if not (1 <= self.margin < 100 and 0 <= self.headroom < 100):
            raise ValueError(
                f"margin must be at least 1 and headroom at least 0, got {self.margin} and {self.headroom}"
            )
        self._rank = -1

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        front = latency.profile.front
        for rank in range(len(front) - 1, -1, -1):
            predicted = latency.predict_ms(front[rank], load.faces, load)
            room = self.margin * (1 + self.headroom if rank > self._rank >= 0 else 1)
            if predicted * room <= load.left_ms:
                self._rank = rank
                return Decision(front[rank], load.faces, predicted, load)
        self._rank = 0
        serve = max(latency.most_faces(front[0], load.left_ms / self.margin, load), 1)
        return Decision(front[0], serve, latency.predict_ms(front[0], serve, load), load)

    def to_json(self) -> dict[str, Any]:
        return {"name": "deepest-that-fits", **asdict(self)}
