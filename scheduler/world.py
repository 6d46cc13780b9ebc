"""A world that rules are led through: who is in view when, and how the machine is at every moment."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.crowd import Crowd
    from scheduler.profile import Profile

# Frames of a recorded noise that stay together when it is drawn from: long enough to keep stalls and busy spells whole.
BLOCK = 50


class Moment(NamedTuple):
    """How the machine was in one frame: a batch's time over its profiled median, and what a probe had said beforehand."""

    ratio: float
    probe: float = 0.0


@dataclass(frozen=True, kw_only=True)
class World:
    """What is the same for all rules. Sequences have one entry per frame."""

    name: str
    profile: Profile  # as it truly is; what a rule believes is another matter
    budget_ms: Sequence[float]
    born_ms: Sequence[float]
    ready_ms: Sequence[float]  # when the front end is done with the frame
    faces: Sequence[int]
    arrivals: Sequence[int]
    moments: Sequence[float]
    further_moments: Sequence[float] = ()  # of a frame's batches after the first; none: as the first
    probes: Sequence[float] = ()  # what a rule may know of the moment beforehand (Load.probe); none: nothing

    def __post_init__(self) -> None:
        each = (self.budget_ms, self.born_ms, self.ready_ms, self.faces, self.arrivals, self.moments)
        lengths = {len(x) for x in (*each, *(x for x in (self.further_moments, self.probes) if x))}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"a world needs the same number of budgets, births, faces and moments, got {sorted(lengths)}"
            )
        if any(b < a for a, b in pairwise(self.born_ms)):
            raise ValueError("the frames of a world must not be born before those in front of them")

    @property
    def period_ms(self) -> float:
        """Between frames, on average."""
        return (self.born_ms[-1] - self.born_ms[0]) / max(len(self.born_ms) - 1, 1) or 40.0


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The machine's ups and downs, an entry per frame: the fields of the same names in World."""

    moments: Sequence[float]
    further_moments: Sequence[float] = ()
    probes: Sequence[float] = ()

    @classmethod
    def of(cls, moments: Sequence[Moment], further: Sequence[Moment] = ()) -> Self:
        """What was drawn, with another draw for further batches or none."""
        return cls(
            moments=[m.ratio for m in moments],
            further_moments=[m.ratio for m in further],
            probes=[m.probe for m in moments],
        )


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """Milliseconds that the front end takes of a frame's budget."""

    ms: float = 0.0
    ms_per_face: float = 0.0


NO_TIME = FrontEnd()


def make_world(
    crowd: Crowd, profile: Profile, budget_ms: float, noise: Noise, *, front_end: FrontEnd = NO_TIME, name: str = ""
) -> World:
    """A crowd before a machine."""
    period = 1000 / crowd.fps
    born = [i * period for i in range(len(crowd.faces))]
    ready = [b + front_end.ms + front_end.ms_per_face * n for b, n in zip(born, crowd.faces, strict=True)]
    return World(
        name=name or crowd.name,
        profile=profile,
        budget_ms=[budget_ms] * len(born),
        born_ms=born,
        ready_ms=ready,
        faces=crowd.faces,
        arrivals=crowd.arrivals,
        moments=noise.moments,
        further_moments=noise.further_moments,
        probes=noise.probes,
    )


def draw_moments(recorded: Sequence[Moment], frames: int, chance: Callable[[], float]) -> list[Moment]:
    """A noise as long as is needed, in blocks of a recorded one; `chance` gives numbers in [0, 1)."""
    if not recorded:
        return [Moment(1.0)] * frames
    block = min(BLOCK, len(recorded))
    moments: list[Moment] = []
    while len(moments) < frames:
        start = int(chance() * (len(recorded) - block + 1))
        moments += recorded[start : start + block]
    return moments[:frames]
