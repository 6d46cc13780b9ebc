"""Cameras and streams: a picture's time is when it came, and what breaks off is opened again.

A reader thread opens the device and reads it; the iteration takes its pictures and watches over it. So a driver's call
that never returns costs that thread and not the run. At most MOST_HUNG such threads are left behind: while that many hang,
nothing new is opened.

    reader ── picture ──► iteration ──► frames
       └──── SourceError: no picture for a while, gone, hung ──► lost ── back-off ──► new reader
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Protocol

from app.domain import Frame, Image, SourceEvent, SourceEventKind, SourceState, SourceStatus
from app.errors import SourceError, SourceStalled
from app.mailbox import Closed, Mailbox, WhenFull
from app.sources.captures import STALL_S

PAUSE_FIRST_S, PAUSE_LONGEST_S = 0.02, 0.5  # between reads that fail
# Without an answer to one call. Drivers and FFmpeg have time limits of their own, of STALL_S a step; opening has two.
HUNG_S, HUNG_OPENING_S = STALL_S + 3, 2 * STALL_S + 3
MOST_HUNG = 2
BACK_OFF_FIRST_S, BACK_OFF_LONGEST_S = 0.5, 10.0  # between tries to open it again
LOOK_S = 0.25  # how often a silent reader is looked at
LEAVE_S = 1.0  # for a reader to release its device before the iteration ends without it

Clock = Callable[[], float]
Wait = Callable[[float], object]  # seconds; may return early


class Feed(Protocol):
    """A camera or stream that is open."""

    fps: float | None
    skipped: int  # pictures so far that were left out, since newer ones had come

    def read(self) -> tuple[bool, Image | None]:
        """Whether something was read, and the picture; None where reading failed or it is broken. Raises SourceError where
        there is no use in reading again."""
        ...

    def close(self) -> None: ...


class Device(Protocol):
    """A camera or stream that can be opened again and again."""

    name: str  # for people, without passwords
    patience_s: float  # with failing reads, before it counts as lost

    def open(self) -> Feed:
        """Raises SourceError, saying what is wrong."""
        ...

    def problem(self) -> str:
        """Why an opened device gives no picture, for people; asked when that is so."""
        ...

    def gone(self) -> str | None:
        """For people: that it is no longer there; None where it may be."""
        ...


class _Reader(threading.Thread):
    """Opens a device and reads it until told to leave; then releases it, however late that may be."""

    def __init__(self, device: Device, clock: Clock, wait: Wait) -> None:
        super().__init__(name="reader", daemon=True)
        self._device, self._clock, self._wait = device, clock, wait
        self._pictures: Mailbox[tuple[Image | None, float]] = Mailbox(1, WhenFull.WAIT)
        self._left = threading.Event()
        self._due_s: float | None = None  # when the call into the driver that runs should have returned
        self._error: SourceError | None = None
        self.fps: float | None = None
        self.skipped = 0
        self.start()

    def take(self) -> tuple[Image | None, float]:
        """The next picture (None: a broken one) and when it came. Raises SourceError, also when asked again, and Closed."""
        while True:
            try:
                return self._pictures.get(LOOK_S)
            except TimeoutError:
                due_s = self._due_s
                if due_s is not None and self._clock() >= due_s:
                    self.leave()
                    self._error = SourceStalled(hangs(self._device))
            except Closed:
                if self._error:
                    raise self._error from None
                raise

    def leave(self) -> None:
        """Asks it to release the device; never waits."""
        self._left.set()
        self._pictures.close()

    def run(self) -> None:
        try:
            self._due_s = self._clock() + HUNG_OPENING_S
            feed = self._device.open()
            try:
                self._read(feed)
            finally:
                self._due_s = self._clock() + HUNG_S
                feed.close()
        except Closed:
            pass
        except SourceError as error:
            self._error = error
        except Exception as error:  # OpenCV's, a driver's: to be tried again like any other failure
            text = re.sub(r"\?\S*", "?", re.sub(r"//[^/\s]*@", "//", str(error)))  # an address's password and token
            self._error = SourceError(f"{self._device.name} failed: {type(error).__name__}: {text}")
        finally:
            self._due_s = None
            self._pictures.close()

    def _read(self, feed: Feed) -> None:
        self._due_s, last_s, pause_s, came = None, self._clock(), PAUSE_FIRST_S, False
        self.fps = feed.fps
        while not self._left.is_set():
            self._due_s = self._clock() + HUNG_S
            alive, image = feed.read()
            self._due_s, now_s = None, self._clock()
            self.skipped = feed.skipped
            if alive:
                self._pictures.put((image, now_s))
            if image is not None:
                last_s, pause_s, came = self._clock(), PAUSE_FIRST_S, True
                continue
            if came and not alive and (gone := self._device.gone()):
                raise SourceStalled(gone)
            if now_s - last_s >= (self._device.patience_s if came else STALL_S):
                raise SourceStalled(self._silence(alive)) if came else SourceError(self._device.problem())
            self._wait(pause_s)
            pause_s = min(2 * pause_s, PAUSE_LONGEST_S)

    def _silence(self, alive: bool) -> str:
        if alive:
            return f"{self._device.name} sends only broken pictures. Check its cable."
        return f"{self._device.name} sends no picture any more. Check its cable or network."


def hangs(device: Device) -> str:
    return f"{device.name} hangs: its driver or network does not answer. Unplug it and plug it in again."


class LiveSource:
    """A camera or a stream that is opened again when it breaks off."""

    live, frame_count = True, None

    def __init__(
        self,
        device: Device,
        clock: Clock,
        wait: Wait | None,
        *,
        camera: bool = False,
        reconnect_s: float | None = None,
        wait_for_it: bool = False,
    ) -> None:
        """Waits for a first picture; without one raises SourceError, or with `wait_for_it` begins as lost.

        A source that is lost for `reconnect_s` ends the iteration with an error: None never, 0 at once.
        """
        self.name, self.note, self.damaged, self.camera = device.name, "", "", camera
        self.on_event: Callable[[SourceEvent], None] = lambda event: None
        self._device, self._clock, self._closed = device, clock, threading.Event()
        self._wait, self._reconnect_s = wait or self._closed.wait, reconnect_s
        self._lock, self._started, self._hung = threading.Lock(), False, list[_Reader]()
        self._back_off_s, self._tries = BACK_OFF_FIRST_S, 0
        self._skipped = 0  # pictures of this reader that were told as skipped
        self._since_s, self._lost, self._retry_s = clock(), "", None  # lost: why; "" while pictures come
        self._reader = self._new_reader()
        try:
            while self._reader.take()[0] is None:
                pass  # the picture that proved it is dropped: it is old when we start
        except SourceError as error:
            if not wait_for_it:
                self.close()
                raise
            self._lost = str(error)
        except Closed:
            pass
        self.fps = self._reader.fps

    def __iter__(self) -> Iterator[Frame]:
        with self._lock:
            if self._started:
                raise RuntimeError("a source is read once; open it again")
            self._started = True
        first_s, began_s, ids = None, self._clock(), count()
        self._skipped = self._reader.skipped
        if self._lost:
            self.on_event(SourceEvent(SourceEventKind.LOST, 0, self._lost))
        try:
            while (picture := self._next()) is not None:
                image, born_s = picture
                if born_s < began_s:
                    continue  # it waited since before we started
                while self._skipped < self._reader.skipped:
                    self._skipped += 1
                    self.on_event(SourceEvent(SourceEventKind.SKIPPED, next(ids)))
                frame_id = next(ids)
                if image is None:
                    self.on_event(SourceEvent(SourceEventKind.BROKEN, frame_id))
                    continue
                self._found(frame_id)
                first_s = born_s if first_s is None else first_s
                yield Frame(frame_id, image, born_s - first_s, born_s)
        finally:
            self.close()
            self._leave()

    def status(self) -> SourceStatus:
        now_s, retry_s, text = self._clock(), self._retry_s, self._lost
        return SourceStatus(
            SourceState.LOST if text else SourceState.OK,
            now_s - self._since_s,
            max(0.0, retry_s - now_s) if retry_s is not None else None,
            text,
            bool(text) and self._device.gone() is not None,
        )

    def close(self) -> None:
        """Ends the iteration soon. May be called from any thread, and twice."""
        with self._lock:
            self._closed.set()
            self._reader.leave()
            if self._started:
                return  # the iteration sees to the rest
        self._leave()

    def _leave(self) -> None:
        """Waits a moment for the device's release, so that the next who wants it finds it free."""
        if self._reader not in self._hung and threading.current_thread() is not self._reader:
            self._reader.join(LEAVE_S)

    def _next(self) -> tuple[Image | None, float] | None:
        """The next picture, opening the device again where it breaks off; None when closed. Raises SourceError."""
        while not self._closed.is_set():
            try:
                return self._reader.take()
            except Closed:
                return None
            except SourceError as error:
                self._lose(error)
            self._pause()
            self._hung = [r for r in self._hung if r.is_alive()]
            with self._lock:
                if not self._closed.is_set() and len(self._hung) < MOST_HUNG:
                    self._tries += 1
                    self._reader, self._skipped = self._new_reader(), 0
        return None

    def _lose(self, error: SourceError) -> None:
        """Raises the error where no further try is allowed."""
        now_s, before = self._clock(), self._lost
        if self._reader.is_alive() and self._reader not in self._hung:
            self._hung.append(self._reader)
        if not before:
            if now_s - self._since_s >= STALL_S:  # it was fine for a while: try soon
                self._back_off_s = BACK_OFF_FIRST_S
            self._since_s = now_s
        self._lost = str(error)
        if self._reconnect_s is not None and now_s - self._since_s >= self._reconnect_s:
            raise error
        if not before:
            self.on_event(SourceEvent(SourceEventKind.LOST, 0, self._lost))

    def _pause(self) -> None:
        """Back-off: bounded, exponential."""
        pause_s = self._back_off_s
        if self._reconnect_s is not None:
            pause_s = min(pause_s, max(0.0, self._since_s + self._reconnect_s - self._clock()))
        self._back_off_s = min(2 * self._back_off_s, BACK_OFF_LONGEST_S)
        self._retry_s = self._clock() + pause_s
        if pause_s > 0:
            self._wait(pause_s)
        self._retry_s = None

    def _found(self, frame_id: int) -> None:
        if not self._lost:
            return
        now_s = self._clock()
        event = SourceEvent(SourceEventKind.BACK, frame_id, self.name, now_s - self._since_s, self._tries)
        self._since_s, self._lost, self._tries = now_s, "", 0
        self.on_event(event)

    def _new_reader(self) -> _Reader:
        return _Reader(self._device, self._clock, self._wait)
