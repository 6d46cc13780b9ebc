"""From sources to screen: what a frame meets, in order.

    camera: grab -> Mailbox -> front end -> Mailbox  ->  infer  ->  latest result, sinks, log

infer      has a round served (rounds/serving.py), and its results delivered (rounds/delivery.py)

Several cameras (camera.py) share one infer loop. It takes the newest frame of each camera that has one: such a *round* is one
crowd to the policy, with the time that is left to the frame that has the least, and goes through the network in the same
batches. A camera that is late or gone is in no round, and nobody waits for it.

A failure in any loop ends the run and is kept for the caller, unless the source is live and faults.py survives it, or other
cameras go on.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING

from app.camera import Camera, View
from app.controls import Controls
from app.domain import DropCause, Frame, Person, Result, SourceEvent, SourceEventKind, Stats
from app.errors import AppError, InternalError, OutputError
from app.faults import NETWORK, Diary, Faults
from app.mailbox import Closed, take_of_each
from app.rounds.delivery import Delivery, Outlets
from app.rounds.served import Seen, Served, count, round_record
from app.rounds.serving import Rounds, Scheduling
from app.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.faces.front_end import FrameFaces
    from app.people.estimates import People
    from scheduler.profile import OperatingPoint

# What is known of frames that come before the network.
LOADING = Stats(
    fps=0.0, faces=0, served=0, exit="", input_size=0, budget_ms=0.0, left_ms=0.0, predicted_ms=0.0, measured_ms=0.0,
    frame_age_ms=0.0, misses=0, frames=0, dropped=0, provider="", why="the network is loading",
)  # fmt: skip


IN_TIME = DropCause.STREAM_LATE, DropCause.GRAB_FULL, DropCause.FRONT_END_FULL  # dropped for newer ones
LOST_PICTURES = {SourceEventKind.BROKEN: DropCause.BROKEN, SourceEventKind.SKIPPED: DropCause.STREAM_LATE}


class Pipeline:
    """Runs until its sources end, `stop` is called, or something fails.

    It may be started before `equip`, while the network is loaded: a live source is shown meanwhile, with boxes of whoever is
    found, and nothing is counted or written; a file waits.
    """

    def __init__(
        self,
        views: Sequence[View],
        people: People,
        controls: Controls,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Several views must all be live."""
        self._people, self.controls, self._clock = people, controls, clock
        self.live = all(view.source.live for view in views)
        self.faults, self.totals = Faults(self.live), Totals()
        self._changed = threading.Condition()
        self.cameras = tuple(Camera(view, controls, self.faults, clock, self._changed) for view in views)
        for camera in self.cameras:
            self._connect(camera)
        # Says to the user that a source is lost or back.
        self.tell: Callable[[SourceEvent], None] = lambda event: None
        self.rounds: Rounds | None = None  # None until `equip`
        self._log: Diary | None = None
        self._deliver = Delivery((), None, self.faults, self._keep)
        self._end: Callable[[], None] = lambda: None
        self._may_infer = threading.Event()
        self.failure: AppError | None = None
        self._latest: Result | None = None
        self._stopping = threading.Event()
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(loop, end, camera), name=name, daemon=True)
            for camera in self.cameras
            for name, loop, end in (
                ("grab", camera.grab, camera.grabbed.close),
                ("front end", camera.find, camera.aligned.close),
            )
        ]
        self._threads.append(
            threading.Thread(target=self._guard, args=(self._infer, self._done.set, None), name="infer", daemon=True)
        )

    def _connect(self, camera: Camera) -> None:
        if len(self.cameras) == 1:
            camera.totals = self.totals
        camera.dropped = lambda frame, cause: self._count_drop(camera, frame, cause)
        if self.live:
            camera.show = lambda frame: self._show_plain(camera, frame)
        camera.source.on_event = lambda event: self._source_event(camera, event)

    def equip(self, scheduling: Scheduling, outlets: Outlets) -> None:
        """From now on faces are read, counted and written."""
        if outlets.log:
            self._log = log = Diary(outlets.log, self.faults, self._keep)
            self.faults.note = lambda part, text: log.event("fault", part=part, text=text)
        self._deliver = Delivery(outlets.sinks, self._log, self.faults, self._keep)
        rounds, ready = Rounds(scheduling, self._people, self.faults, self._clock, self._log), scheduling.engine.ready
        profile, points = rounds.offered
        self.controls.offer(rounds.policy, profile, [p for p in points if p in ready])
        self.spare, self._end = scheduling.spare, scheduling.end
        self.rounds = rounds  # last: the loops take it for a sign
        self._may_infer.set()

    @property
    def chosen(self) -> OperatingPoint | None:
        """The operating point of the newest round that had faces."""
        return self.rounds.chosen if self.rounds else None

    # --- the infer loop ------------------------------------------------------------------------------------------

    def _infer(self) -> None:
        if not self.live:
            self._may_infer.wait()
        boxes = [camera.aligned for camera in self.cameras]
        try:
            while True:
                taken = [(self.cameras[i], found) for i, found in take_of_each(boxes, self._changed)]
                if self.rounds:
                    self.serve(taken)
                    continue
                for camera, found in taken:
                    self._preview(camera, found)
        finally:
            if failed := [c.failure for c in self.cameras if c.failure]:  # the others have ended, too
                self._keep(failed[0])

    def serve(self, taken: Sequence[tuple[Camera, FrameFaces]]) -> None:
        """From the faces of a round to its results, delivered. Only after `equip`, and one round at a time."""
        rounds = self.rounds
        assert rounds is not None
        rounds.take_up(self.controls.now)
        rounds.elsewhere.heed()
        for camera, found in taken:
            camera.alive = found.alive
        seen = [Seen(camera, found, camera.born_s(found)) for camera, found in taken]
        served = rounds.serve(seen, set[int]().union(*(camera.alive for camera in self.cameras)))
        results = [self._result(rounds, one, served) for one in seen]
        if not served.decision and served.load.faces:
            for one in seen:
                # There is no decision that a replay could repeat.
                self._count_drop(one.camera, one.found.frame, DropCause.FAILED)
        elif self._log:
            stats = [r.stats for r in results]
            self._log.frame(round_record(rounds.number, seen, served, stats, rounds.bucket(served)))
        rounds.was_late = any(r.stats.frame_age_ms > r.stats.budget_ms for r in results)
        for one, result in zip(seen, results, strict=True):
            shown = one.camera.protect(result, one.found.places) if one.camera.protect else result
            for dropped in self._deliver(shown):
                camera = next(c for c in self.cameras if c.name == dropped.frame.camera)
                self._count_drop(camera, dropped.frame, DropCause.VIDEO_FULL)
            one.camera.latest = self._latest = shown
        if self.live:
            self._use_what_is_left(bool(served.load.faces))

    def _use_what_is_left(self, busy: bool) -> None:
        try:
            self.spare(busy)
        except Exception as error:
            self.faults.survive(NETWORK, error)

    def _show_plain(self, camera: Camera, frame: Frame) -> None:
        """The picture alone, before the front end can find faces."""
        if self.rounds is None and not camera.protect and camera.plain:
            camera.latest = self._latest = Result(frame, (), LOADING)

    def _preview(self, camera: Camera, found: FrameFaces) -> None:
        """Boxes without words, for the window alone."""
        camera.plain = False
        stats = dataclasses.replace(LOADING, faces=len(found.faces) + len(found.unread))
        result = Result(found.frame, self._in_view(found, set()), stats)
        camera.latest = self._latest = camera.protect(result, found.places) if camera.protect else result

    def _in_view(self, found: FrameFaces, read: Collection[int]) -> tuple[Person, ...]:
        boxes = [(f.person, f.box) for f in found.faces] + list(found.unread)
        estimate = self._people.estimate
        return tuple(Person(i, box, estimate(i), i in read, found.unfit.get(i)) for i, box in sorted(boxes))

    def _result(self, rounds: Rounds, one: Seen, served: Served) -> Result:
        """A frame's result, counted."""
        camera, found, totals, decision = one.camera, one.found, one.camera.totals, served.decision
        read = served.of(found)
        people, now_s = self._in_view(found, read), self._clock()
        age_ms = (now_s - one.born_s) * 1e3
        self.totals.unanswered, self.totals.server_losses = rounds.elsewhere.unanswered, rounds.elsewhere.losses
        for counted in {id(t): t for t in (totals, self.totals)}.values():
            count(counted, found, served, age_ms, now_s)
        stats = Stats(
            fps=camera.fps(now_s),
            faces=len(people),
            served=len(read),
            exit=decision.point.exit if decision and decision.serve else "",
            input_size=decision.point.size if decision and decision.serve else 0,
            budget_ms=found.frame.budget_ms,
            left_ms=served.load.left_ms,
            predicted_ms=decision.predicted_ms if decision else 0.0,
            measured_ms=served.measured_ms,
            frame_age_ms=age_ms,
            misses=totals.misses,
            frames=totals.frames,
            dropped=sum(totals.drops[cause] for cause in IN_TIME),
            provider=rounds.engine.provider,
            server=rounds.elsewhere.there,
            still=found.still,
            why=decision.why if decision else "the network failed" if found.faces else "nobody in view",
        )
        return Result(found.frame, people, stats)

    def _count_drop(self, camera: Camera, frame: Frame, cause: DropCause) -> None:
        if self.rounds is None:
            return  # it could not have been read anyway
        for totals in {id(t): t for t in (camera.totals, self.totals)}.values():
            totals.drops[cause] += 1
        if self._log:
            self._log.drop(frame.id, cause.name.lower(), camera.name)

    def _source_event(self, camera: Camera, event: SourceEvent) -> None:
        """Notes a change of the source. Called on the camera's grab thread."""
        every = {id(t): t for t in (camera.totals, self.totals)}.values()
        if event.kind in LOST_PICTURES:
            cause = LOST_PICTURES[event.kind]
            for totals in every:
                totals.drops[cause] += 1
            if self._log:
                self._log.drop(event.frame_id, cause.name.lower(), camera.name)
            return
        for totals in every:
            totals.reconnects += event.kind is SourceEventKind.BACK
        if self._log:
            details = {"text": event.text, "frame": event.frame_id, "after_s": event.after_s, "tries": event.tries}
            named = {"camera": camera.name} if camera.name else {}
            self._log.event(f"source_{event.kind}", **details, **named)
        self.tell(event)

    # --- life cycle ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def latest(self) -> Result | None:
        """The newest result; never waits."""
        return self._latest

    def finished(self) -> bool:
        return self._done.is_set()

    def stop(self) -> None:
        """Asks all loops to end soon; frames that wait are thrown away. May be called from anywhere, also twice."""
        self._stopping.set()
        self._may_infer.set()
        for camera in self.cameras:
            camera.stop()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the last result is delivered; False where that takes longer than the timeout."""
        return self._done.wait(timeout_s)

    def close(self) -> None:
        """Ends the loops, then completes and closes every sink and the log. A source that hangs in a read is left behind."""
        self.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2.0)
        for camera in self.cameras:
            camera.front_end.close()
        self._end()
        self._deliver.close()

    def _guard(self, loop: Callable[[], None], end: Callable[[], None], camera: Camera | None) -> None:
        """Runs a loop. Its failure is a value that reaches the caller, kept before anybody is told of the end."""
        try:
            loop()
        except Closed:
            pass
        except Exception as error:
            if camera is None or len(self.cameras) == 1:
                self._keep(error)
                # Loops before this one end; those behind finish what they were given.
                for one in self.cameras:
                    one.give_up()
                    if camera is None:
                        one.aligned.close()
            else:
                self._lose(camera, error)
        finally:
            end()

    def _lose(self, camera: Camera, error: Exception) -> None:
        """One of several cameras has failed for good; the others go on."""
        camera.failure = camera.failure or error
        camera.give_up()
        if not self._stopping.is_set():
            self.faults.remark(f"camera {camera.name}", f"{camera.name} is given up, the other cameras go on: {error}")

    def _keep(self, error: Exception) -> bool:
        """Keeps the run's first failure. True where that is this one, so that nobody else has to report it. After a stop
        only failures of the user's files count."""
        if not isinstance(error, AppError):
            where = threading.current_thread().name
            failure = InternalError(
                f"{where} failed: {type(error).__name__}: {error}. This is a fault of the program; please report it"
            )
            failure.__cause__ = error
            error = failure
        first = self.failure is None and (isinstance(error, OutputError) or not self._stopping.is_set())
        if first:
            self.failure = error
        return str(error) == str(self.failure)
