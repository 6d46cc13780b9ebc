"""What a rule is asked, and what it answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from scheduler.profile import OperatingPoint


class Known(NamedTuple):
    """What is known of somebody who wants to be read."""

    waited_ms: float = math.inf  # since the frame that they were last read in; inf: nothing is shown of them
    error: float = math.inf  # of the point that read them last (Profile.error)
    moved: float = 0.0  # of logs of schemas 6 and 7 alone, as is sharpness: before.ValueOfMovement
    sharpness: float = 1.0
    spread: float = 0.0  # years that an early exit is unsure by; ConfidenceExits alone is told, and no log


class Load(NamedTuple):
    """A frame as the scheduler meets it: faces that want to be read, and milliseconds left until its deadline."""

    faces: int
    left_ms: float
    new: int = 0  # of the faces, people of whom nothing is shown
    late: bool = False  # the frame before missed its deadline
    frame: int = 0  # its number; only an oracle looks at it
    batches: int = 0  # run for this frame already, for others of its people
    taken_ms: float = 0.0  # since the frame's first decision
    probe: float = 0.0  # how many times slower than usual the machine is just now; 0: about as usual, or nobody looked
    read: int = 0  # of the frame's people, by the batches already run; they are shown when the last is done
    read_new: int = 0  # of those, people who had never been read
    people: tuple[Known, ...] = ()  # the faces, in the order of the rule's `rank`

    def after(self, served: int, left_ms: float, batches: int) -> Load:
        """From a frame's first load: what a rule is asked about again, `served` of its faces having been read in `batches`."""
        read_new = min(self.new, served)
        return Load(
            self.faces - served, left_ms, self.new - read_new, self.late, self.frame, batches, self.left_ms - left_ms,
            read=served, read_new=read_new, people=self.people[served:],
        )  # fmt: skip


class Decision(NamedTuple):
    """Run `point` for the first `serve` of the faces; the others keep what they have. 0: for none of them.

    `also` names further batches of the same frame, for those who are next in turn; only simulation knows them.
    """

    point: OperatingPoint
    serve: int
    predicted_ms: float
    load: Load | None = None  # what it answers, where it looked at that
    due: int | None = None  # how many are worth a reading; None: all
    also: tuple[tuple[OperatingPoint, int], ...] = ()

    @property
    def why(self) -> str:
        """For people; made only where somebody looks."""
        if self.load is None:
            return f"{self.point} is fixed"
        faces = f"{self.load.faces} face{'' if self.load.faces == 1 else 's'}"
        slow = f", a moment {self.load.probe:.0f} times slower than usual" if self.load.probe else ""
        left = f"{faces}, {self.load.left_ms:.0f} ms left{slow}"
        if not self.serve:
            return f"{left}: all known well enough"
        turns = "" if self.serve == self.load.faces else f", {self.serve} of them in this frame"
        return f"{left}: {self.point}{turns}"
