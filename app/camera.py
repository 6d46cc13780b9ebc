"""One camera of a run, or whatever else delivers pictures: two loops, in the order in which a frame meets them.

    grab  ->  Mailbox  ->  front end  ->  Mailbox  ->  the pipeline

grab       takes the newest picture from the source
front end  finds the faces and aligns them (faces/front_end.py)

Live sources drop the oldest frame where a loop is behind; files wait, so that nothing is lost and the same file gives the
same answer: which pictures get a second look follows from the file alone, not from which loop is faster.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain import DropCause, SourceState, SourceStatus
from app.errors import DeviceError, SourceStalled
from app.faults import FRONT_END
from app.mailbox import Mailbox, WhenFull
from app.totals import Totals

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from app.controls import Controls
    from app.domain import Box, Frame, Result
    from app.faces.front_end import FrameFaces, FrontEnd
    from app.faces.front_end_process import FrontEndProcess
    from app.faults import Faults
    from app.sources.source import Source

# Longer than any pause of a healthy source; sources themselves report a stall after 5 s where they can.
STALL_S = 10.0
FPS_WINDOW = 30
# How many frames of a file are decoded ahead, and the memory that they may take: a second look takes as long as a dozen
# frames, and begins as soon as its picture is there. What is found does not depend on it.
AHEAD, AHEAD_BYTES = 16, 200e6


@dataclass(frozen=True, kw_only=True)
class View:
    """What a camera is made of."""

    source: Source
    front_end: FrontEnd | FrontEndProcess
    name: str = ""  # where there are several
    #: waits until the front end has started; called once, on its loop's thread
    front_end_ready: Callable[[], None] = lambda: None
    #: makes of a Result, and of all places where a face may be, what sinks and window see
    protect: Callable[[Result, Sequence[Box]], Result] | None = None


class Camera:
    """The loops of one view, and what is counted of it."""

    def __init__(
        self,
        view: View,
        controls: Controls,
        faults: Faults,
        clock: Callable[[], float],
        changed: threading.Condition,
    ) -> None:
        """`changed` is shared by the mailboxes that the pipeline waits for."""
        self.name, self.source, self.protect = view.name, view.source, view.protect
        self.front_end, self._front_end_ready = view.front_end, view.front_end_ready
        self._controls, self._faults, self._clock = controls, faults, clock
        if view.source.live:
            self.grabbed: Mailbox[Frame] = Mailbox(1, WhenFull.DROP_OLDEST)
            self.aligned: Mailbox[FrameFaces] = Mailbox(1, WhenFull.DROP_OLDEST, changed=changed)
        else:
            self.grabbed = Mailbox(AHEAD, WhenFull.WAIT, lambda frame: frame.image.nbytes / AHEAD_BYTES)
            self.aligned = Mailbox(1, WhenFull.WAIT, changed=changed)
        self.totals = Totals()
        self.latest: Result | None = None
        self.alive: set[int] = set()  # people who may come back, as of the newest frame
        self.failure: Exception | None = None  # what has ended it
        self.plain = True  # pictures are shown as they come, since none was searched yet
        self.times: deque[float] = deque(maxlen=FPS_WINDOW)  # of results
        # Set by the pipeline: what is told of lost frames, and what is done with each as it comes. A file's goes to the
        # front end, which begins what does not depend on the frames before.
        self.dropped: Callable[[Frame, DropCause], None] = lambda frame, cause: None
        self.show: Callable[[Frame], None] = lambda frame: None
        if not view.source.live:
            self.show = view.front_end.begin

    @property
    def part(self) -> str:
        """The front end's name among the parts that may fail."""
        return f"{FRONT_END} of {self.name}" if self.name else FRONT_END

    def grab(self) -> None:
        for frame in self.source:
            if self.name:
                frame = dataclasses.replace(frame, camera=self.name)
            self.show(frame)
            dropped = self.grabbed.put(frame)
            if dropped:
                self.dropped(dropped, DropCause.GRAB_FULL)

    def find(self) -> None:
        self._front_end_ready()
        while (frame := self._next_frame()) is not None:
            try:
                found = self.front_end(self.stamped(frame))
            except DeviceError:
                raise  # later frames would fail, too
            except Exception as error:
                self._faults.survive(self.part, error)
                self.dropped(frame, DropCause.FAILED)
                continue
            self._faults.well(self.part)
            dropped = self.aligned.put(found)
            if dropped:
                self.dropped(dropped.frame, DropCause.FRONT_END_FULL)

    def _next_frame(self) -> Frame | None:
        """The next one that was grabbed. Raises SourceStalled where none comes, and Closed."""
        while True:
            try:
                return self.grabbed.get(STALL_S if self.source.live else None)  # a file may take its time
            except TimeoutError:
                if self.source.status().state is SourceState.LOST:
                    continue  # the source knows, and is trying again
                raise SourceStalled(
                    f"{self.source.name} has not delivered a picture for {STALL_S:.0f} s: "
                    "check that it is connected and on"
                ) from None

    def stamped(self, frame: Frame) -> Frame:
        """The frame with its budget; a file's frame is born now, when it is taken."""
        born_s = frame.born_s if self.source.live else self._clock()
        return dataclasses.replace(frame, budget_ms=self._controls.budget_ms, born_s=born_s)

    def born_s(self, found: FrameFaces) -> float:
        """When a frame's time began to run. Of a file's frame the wait for the network does not count, so that it is read as
        deep as a camera's frame."""
        return found.frame.born_s if self.source.live else self._clock() - sum(found.stages_ms.values()) / 1e3

    def status(self) -> SourceStatus:
        """The source's state; a camera that was given up is lost for good."""
        if self.failure:
            return SourceStatus(SourceState.LOST, text=str(self.failure))
        return self.source.status()

    def fps(self, now_s: float) -> float:
        """Results a second, one at `now_s` included."""
        self.times.append(now_s)
        span = self.times[-1] - self.times[0]
        return (len(self.times) - 1) / span if span > 0 else 0.0

    def give_up(self) -> None:
        """No more pictures: the loops finish what they were given, and end."""
        self.source.close()
        self.grabbed.close()

    def stop(self) -> None:
        """Throws away what waits."""
        self.give_up()
        self.aligned.close()
        self.grabbed.clear()
        self.aligned.clear()
