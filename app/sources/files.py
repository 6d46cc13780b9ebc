"""Videos, animations and pictures as files; also a video behind http."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count

from app.domain import Frame
from app.errors import SourceError
from app.sources.decoding import Picture
from app.sources.live import Clock, Wait
from app.sources.selection import Selection
from app.sources.source import FALLBACK_FPS, Closable, Pacer
from app.sources.video import Footage

BROKEN_S = 10.0  # a picture's time this far ahead of its neighbours is taken as broken


class FileSource(Closable):
    """A video, an animation or a picture; also a video behind http."""

    def __init__(
        self,
        name: str,
        reopen: Callable[[], Footage],
        problem: str,
        *,
        loop: bool,
        realtime: bool,
        clock: Clock,
        wait: Wait | None,
        selection: Selection | None = None,
    ) -> None:
        """`problem` is what to say of a file that gives no picture. Raises SourceError."""
        self._footage = reopen()
        super().__init__(self._footage, clock, wait)
        self.name, self.note, self.live, self.damaged = name, "", realtime, ""
        self._reopen, self._loop, self._selection = reopen, loop, selection or Selection()
        self._pictures = self._footage.pictures()
        try:
            self._next = next(self._pictures, None)
            if self._next is None:
                raise SourceError(self._footage.problem or problem)
        except SourceError:
            self.close()
            raise
        self.first_s = 0.0 if math.isnan(self._next.time_s) else self._next.time_s  # by the file's own clock
        self.fps = self._footage.fps
        self.frame_count = None if loop else self._footage.frame_count

    def __iter__(self) -> Iterator[Frame]:
        self._start()
        timeline = Timeline(1 / (self.fps or FALLBACK_FPS))
        pacer, ids = Pacer(self._clock, self._wait), count()
        if self._closed.is_set():
            return
        try:
            while self._next is not None:
                timeline.new_pass()
                chooser, over = self._selection.chooser(), False
                began_s = timeline.expected_s
                while self._next is not None:
                    # The picture after this one is read first: it tells a gap from a time that is broken.
                    now, self._next = self._next, next(self._pictures, None)
                    time_s = timeline.at(now.time_s, self._next.time_s if self._next else math.nan)
                    number = next(ids)
                    if self._closed.is_set():
                        return
                    if over := chooser.is_over(time_s - began_s):
                        break
                    if not chooser.wants(time_s - began_s):
                        continue
                    if self.live:
                        pacer.until(time_s)
                    if self._closed.is_set():
                        return
                    yield Frame(number, now.image(), time_s, self._clock())
                self._next = None
                self._judge(timeline.first_s, ended_early=over)
                if self._loop and not self._closed.is_set():
                    self._open_again()
        finally:
            self._pictures.close()
            self._footage.close()

    def _open_again(self) -> None:
        self._pictures.close()
        self._footage.close()
        try:
            self._footage = self._reopen()
        except SourceError:  # it is gone, or was replaced by something else: the run ends with what it has
            self._next: Picture | None = None
            return
        self._pictures = self._footage.pictures()
        self._next = next(self._pictures, None)

    def _judge(self, first_s: float, *, ended_early: bool) -> None:
        """Says what was damaged, in the file's last pass."""
        damage, said = self._footage.damage, list[str]()
        if damage.places:
            places = "1 place" if damage.places == 1 else f"{damage.places} places"
            at_s = max(0.0, damage.first_s - first_s)
            where = "" if math.isnan(at_s) else f", the first at {at_s:.3f} s"
            said.append(f"{damage.pictures} pictures in {places} were damaged and left out{where}")
        if damage.cut_off and not ended_early:
            said.append(damage.cut_off)
        self.damaged = f"{self.name}: {'; '.join(said)}" if said else ""


class Timeline:
    """Seconds since the first picture: the file's own times, however far apart, where they rise; else the frame rate.

    Passes of a looped file follow each other, and so do parts of a file whose clock begins again.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s, self._shift_s, self._last_s = step_s, 0.0, -step_s
        self._fresh = True
        self.first_s = 0.0  # of the file's own clock

    @property
    def expected_s(self) -> float:
        """When the next picture comes if nothing is said of it."""
        return self._last_s + self._step_s

    def new_pass(self) -> None:
        self._fresh = True

    def at(self, position_s: float, next_s: float) -> float:
        """The time of a picture, from the file's times of it and of the next one; NaN where it has none."""
        expected_s = self.expected_s
        if self._fresh:
            self._fresh = False
            self.first_s = 0.0 if math.isnan(position_s) else position_s
            self._shift_s = expected_s - self.first_s
            time_s = expected_s
        else:
            time_s, then_s = position_s + self._shift_s, next_s + self._shift_s
            if not time_s > self._last_s:
                if not then_s > self._last_s:  # the next one comes no later either: the clock was set back
                    self._shift_s = expected_s - position_s if not math.isnan(position_s) else self._shift_s
                time_s = expected_s
            elif time_s > self._last_s + BROKEN_S and self._last_s < then_s < time_s:  # this one alone is far ahead
                time_s = expected_s
        self._last_s = time_s
        return time_s
