"""From sources to screen: what a frame meets, in order.

    camera: grab -> Mailbox -> front end -> Mailbox  ->  infer  ->  latest result, sinks, log

infer      asks the policy for an operating point, runs the network, fuses estimates per person

Several cameras (camera.py) share one infer loop. It takes the newest frame of each camera that has one: such a *round* is one
crowd to the policy, with the time that is left to the frame that has the least, and goes through the network in the same
batches. A camera that is late or gone is in no round, and nobody waits for it.

A failure in any loop ends the run and is kept for the caller, unless the source is live and faults.py survives it, or other
cameras go on.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from align.crop import crop_batch
from app.camera import Camera, View
from app.controls import Controls, Operation
from app.domain import DropCause, Face, Frame, Person, Result, SourceEvent, SourceEventKind, Stats
from app.errors import AppError, InternalError, OutputError
from app.faults import NETWORK, OUTPUT, Diary, Faults
from app.mailbox import Closed, Mailbox, WhenFull, take_of_each
from app.network.elsewhere import Elsewhere
from app.network.engine import Unanswered, bucket_of
from app.people.movement import Movement
from app.served import Seen, Served, count, round_record
from app.totals import Totals
from scheduler.load import Decision, Known, Load
from scheduler.log import Batch, LogWriter
from scheduler.places import decide
from scheduler.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.faces.front_end import FrameFaces
    from app.network.elsewhere import Server
    from app.network.engine import Engine
    from app.people.estimates import People
    from scheduler.latency import LatencyModel
    from scheduler.profile import OperatingPoint

# What is known of frames that come before the network.
LOADING = Stats(
    fps=0.0, faces=0, served=0, exit="", input_size=0, budget_ms=0.0, left_ms=0.0, predicted_ms=0.0, measured_ms=0.0,
    frame_age_ms=0.0, misses=0, frames=0, dropped=0, provider="", why="the network is loading",
)  # fmt: skip


IN_TIME = DropCause.STREAM_LATE, DropCause.GRAB_FULL, DropCause.FRONT_END_FULL  # dropped for newer ones
LOST_PICTURES = {SourceEventKind.BROKEN: DropCause.BROKEN, SourceEventKind.SKIPPED: DropCause.STREAM_LATE}


class Sink(Protocol):
    """Takes every result, in order, on the infer loop's thread. Returns one that it had to drop, if any."""

    def deliver(self, result: Result) -> Result | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Scheduling:
    """What reads a frame's faces, and what decides how deep."""

    engine: Engine
    policy: Policy
    latency: LatencyModel
    #: says before each decision how many times slower than usual the machine is (network/probe.py), or 0
    probe: Callable[[], float] = lambda: 0.0
    #: has something to do, some milliseconds long, after a live frame; is told whether somebody is in view
    spare: Callable[[bool], None] = lambda busy: None
    #: frees what was loaded; called when the loops have ended
    end: Callable[[], None] = lambda: None
    #: of the engine's points that are elsewhere
    server: Server | None = None


@dataclass(frozen=True, kw_only=True)
class Outlets:
    """Where results go."""

    sinks: Sequence[Sink] = ()
    log: LogWriter | None = None


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
        self.cameras = tuple(Camera(view, controls, self.faults, clock, self._box, self._changed) for view in views)
        for camera in self.cameras:
            self._connect(camera)
        # Says to the user that a source is lost or back.
        self.tell: Callable[[SourceEvent], None] = lambda event: None
        self._engine: Engine | None = None
        self._end: Callable[[], None] = lambda: None
        self.chosen: OperatingPoint | None = None  # for the newest round that had faces
        self._may_infer = threading.Event()
        self._sinks: tuple[Sink, ...] = ()
        self._log: Diary | None = None
        self.failure: AppError | None = None
        self._latest: Result | None = None
        self._late = False
        self._movement = Movement()
        self._round = 0
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

    def _box(self, when_full: WhenFull, changed: threading.Condition | None = None) -> Mailbox[Any]:
        """What lies between two loops."""
        return Mailbox(1, when_full, changed=changed)

    def _connect(self, camera: Camera) -> None:
        if len(self.cameras) == 1:
            camera.totals = self.totals
        camera.dropped = lambda frame, cause: self._count_drop(camera, frame, cause)
        camera.show = lambda frame: self._show_plain(camera, frame)
        camera.source.on_event = lambda event: self._source_event(camera, event)

    def equip(self, scheduling: Scheduling, outlets: Outlets) -> None:
        """From now on faces are read, counted and written."""
        self._policy, self._latency, self._probe = scheduling.policy, scheduling.latency, scheduling.probe
        self._sinks, self.spare = tuple(outlets.sinks), scheduling.spare
        self._elsewhere = Elsewhere(scheduling.server, self._latency, self._clock)
        self._elsewhere.tell = lambda text: self.faults.tell(text)
        if outlets.log:
            self._log = log = Diary(outlets.log, self.faults, self._keep)
            self.faults.note = lambda part, text: log.event("fault", part=part, text=text)
            self._elsewhere.note = log.event
        profile, ready = scheduling.latency.profile, scheduling.engine.ready
        self._offered = profile, tuple(p.point for p in profile.points)
        self.controls.offer(self._policy, profile, [p for p in self._offered[1] if p in ready])
        self._end = scheduling.end
        self._engine = scheduling.engine  # last: the loops take it for a sign
        self._may_infer.set()

    # --- the infer loop ------------------------------------------------------------------------------------------

    def _infer(self) -> None:
        if not self.live:
            self._may_infer.wait()
        boxes = [camera.aligned for camera in self.cameras]
        try:
            while True:
                taken = [(self.cameras[i], found) for i, found in take_of_each(boxes, self._changed)]
                if self._engine is None:
                    for camera, found in taken:
                        self._preview(camera, found)
                    continue
                self._one(taken)
        finally:
            if failed := [c.failure for c in self.cameras if c.failure]:  # the others have ended, too
                self._keep(failed[0])

    def _one(self, taken: Sequence[tuple[Camera, FrameFaces]]) -> None:
        """From the faces of a round to its results, delivered."""
        self._take_up(self.controls.now)
        self._elsewhere.heed()
        seen = [Seen(camera, found, self._born_s(camera, found)) for camera, found in taken]
        self._finish(seen, self._serve(seen))

    def _born_s(self, camera: Camera, found: FrameFaces) -> float:
        return camera.born_s(found)

    def _finish(self, seen: Sequence[Seen], served: Served) -> None:
        """What becomes of a round that was read."""
        results = [self._result(one, served) for one in seen]
        if not served.decision and served.load.faces:
            for one in seen:
                self._count_drop(
                    one.camera, one.found.frame, DropCause.FAILED
                )  # no decision that a replay could repeat
        elif self._log:
            bucket = (
                bucket_of(self._engine.buckets, served.decision.serve)
                if served.decision and served.decision.serve
                else 0
            )
            self._log.frame(round_record(self._round, seen, served, [r.stats for r in results], bucket))
        self._late = any(r.stats.frame_age_ms > r.stats.budget_ms for r in results)
        for one, result in zip(seen, results, strict=True):
            shown = one.camera.protect(result, one.found.places) if one.camera.protect else result
            self._deliver(shown)
            one.camera.latest = self._latest = shown
        if self.live:
            self._use_what_is_left(bool(served.load.faces))

    def _use_what_is_left(self, busy: bool) -> None:
        try:
            self.spare(busy)
        except Exception as error:
            self.faults.survive(NETWORK, error)

    def _show_plain(self, camera: Camera, frame: Frame) -> None:
        """Before there is anybody to say where faces are."""
        if self._engine is None and not camera.protect and camera.plain:
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

    def _deliver(self, result: Result) -> None:
        """To every sink. One that fails in a live run is completed as far as it goes and given up."""
        for sink in self._sinks:
            try:
                dropped = sink.deliver(result)
            except OutputError as error:
                self.faults.survive(OUTPUT, error)
                self._keep(error)
                self._sinks = tuple(s for s in self._sinks if s is not sink)
                with suppress(OutputError):
                    sink.close()
                self.faults.well(OUTPUT)
            else:
                if dropped:
                    camera = next(c for c in self.cameras if c.name == dropped.frame.camera)
                    self._count_drop(camera, dropped.frame, DropCause.VIDEO_FULL)

    def _take_up(self, now: Operation) -> None:
        """Other points, or another rule, from this frame on: the log says so."""
        if now.policy is None or now.profile is None:
            return
        if (now.profile, now.points) != self._offered:
            anew = None if now.profile is self._offered[0] else now.profile
            self._offered = now.profile, now.points
            self._latency.offer(now.points, anew)
            if self._log:
                details = {"profile": anew.to_json()} if anew else {}
                self._log.event("points", points=[p.to_json() for p in now.points], **details)
        if now.policy is not self._policy:
            self._policy = now.policy
            if self._log:
                self._log.event("policy", policy=now.policy.to_json())

    # --- what infer is made of -------------------------------------------------------------------------------------

    def _serve(self, seen: Sequence[Seen]) -> Served:
        """Decides and reads, in as many batches as the policy finds time for."""
        self._round += 1
        for one in seen:
            one.camera.alive = one.found.alive
        alive = set[int]().union(*(camera.alive for camera in self.cameras))
        self._people.keep(alive)
        self._movement.keep(alive)
        faces = [face for one in seen for face in one.found.faces]
        known = [self._known(face, one.found.frame.time_s) for one in seen for face in one.found.faces]
        new = sum(self._people.estimate(f.person) is None for f in faces)
        hurried = any(math.isfinite(one.found.frame.budget_ms) for one in seen)
        probe = self._probe() if faces and hurried else 0.0
        order = self._policy.rank(known)
        waiting, people = [faces[i] for i in order], tuple(known[i] for i in order)
        served = Served(Load(len(people), self._left_ms(seen), new, self._late, probe=probe, people=people))
        served.order = tuple(face.person for face in waiting)
        if not faces:
            return served
        decision = decide(self._policy, served.load, self._latency)
        self.chosen = decision.point
        served.slowdown, served.tail = self._latency.slowdown, self._latency.tail
        try:
            self._run(seen, waiting, decision, served)
        except Exception as error:
            self.faults.survive(NETWORK, error)
            return Served(served.load)
        self.faults.well(NETWORK)
        return served

    def _known(self, face: Face, time_s: float) -> Known:
        """What the policy may know of somebody."""
        sharpness = self._movement.sharpness(face.person, face.box)
        seen = self._people.known(face.person, time_s)
        if seen is None:
            return Known()
        error = self._offered[0].error_at(seen.exit, seen.size)
        return Known(seen.waited_s * 1e3, error, seen.moved, sharpness)

    def _run(self, seen: Sequence[Seen], waiting: Sequence[Face], decision: Decision, served: Served) -> None:
        """Reads the first of those who wait, and others while the policy finds time; notes in `served` what was done."""
        served.decision = decision
        if not decision.serve:
            return
        began_s = self._clock()
        try:
            read, measured_ms = self._read(seen, waiting[: decision.serve], decision, served.load)
        except Unanswered:
            self._elsewhere.failed(decision, served.load, (self._clock() - began_s) * 1e3, first=True)
            served.load = served.load._replace(left_ms=self._left_ms(seen))
            decision = served.decision = decide(self._policy, served.load, self._latency)
            if not decision.serve:
                return
            read, measured_ms = self._read(seen, waiting[: decision.serve], decision, served.load)
        load = served.load
        self._latency.observe(decision.point, decision.serve, measured_ms, load)
        further = list[Batch]()
        while len(read) < len(waiting):
            left_ms, began_s = self._left_ms(seen), self._clock()
            rest = load.after(len(read), left_ms, 1 + len(further))
            again = self._policy.again(rest, self._latency)
            if again is None:
                further.append(Batch(left_ms))
                break
            try:
                others, took_ms = self._read(seen, waiting[len(read) :][: again.serve], again, rest)
                self._latency.observe(again.point, again.serve, took_ms, rest)
            except Unanswered:
                others, waited_ms = set(), (self._clock() - began_s) * 1e3
                took_ms = self._elsewhere.failed(again, rest, waited_ms, first=False)
            further.append(Batch.of(again, left_ms, took_ms))
            if not others:
                break
            read |= others
        served.people, served.measured_ms, served.further = read, measured_ms, tuple(further)

    def _left_ms(self, seen: Sequence[Seen]) -> float:
        """Of the frame that has the least left."""
        now_s = self._clock()
        return min(one.found.frame.budget_ms - (now_s - one.born_s) * 1e3 for one in seen)

    def _read(
        self, seen: Sequence[Seen], chosen: Sequence[Face], decision: Decision, load: Load
    ) -> tuple[set[int], float]:
        """One batch: who was read, and the milliseconds that it took. Raises Unanswered where a server does not read it."""
        started, people = self._clock(), {f.person for f in chosen}
        new = sum(self._people.estimate(person) is None for person in people)
        self._elsewhere.before(decision, load, new)
        if len(seen) == 1:
            parts = [(seen[0].found.frame, list(chosen))]
        else:
            parts = [(one.found.frame, [f for f in one.found.faces if f.person in people]) for one in seen]
        cut = [
            crop_batch(frame.image, [f.matrix for f in faces], decision.point.size) for frame, faces in parts if faces
        ]
        readings = iter(self._engine.read(decision.point, cut[0] if len(cut) == 1 else np.concatenate(cut)))
        for frame, faces in parts:
            for face in faces:
                self._people.read(face.person, next(readings), self._round, frame.time_s)
        return people, (self._clock() - started) * 1e3

    def _result(self, one: Seen, served: Served) -> Result:
        """A frame's result, counted."""
        camera, found, totals, decision = one.camera, one.found, one.camera.totals, served.decision
        read = served.of(found)
        people, now_s = self._in_view(found, read), self._clock()
        age_ms = (now_s - one.born_s) * 1e3
        self.totals.unanswered, self.totals.server_losses = self._elsewhere.unanswered, self._elsewhere.losses
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
            provider=self._engine.provider,
            server=self._elsewhere.there,
            why=decision.why if decision else "the network failed" if found.faces else "nobody in view",
        )
        return Result(found.frame, people, stats)

    def _count_drop(self, camera: Camera, frame: Frame, cause: DropCause) -> None:
        if self._engine is None:
            return  # it could not have been read anyway
        for totals in {id(t): t for t in (camera.totals, self.totals)}.values():
            totals.drops[cause] += 1
        if self._log:
            self._log.drop(frame.id, cause.name.lower(), camera.name)

    def _source_event(self, camera: Camera, event: SourceEvent) -> None:
        """On the camera's grab thread."""
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
        for sink in (*self._sinks, *((self._log,) if self._log else ())):
            try:
                sink.close()
            except Exception as error:  # the others are to be completed all the same
                if not self._keep(error) and str(error) != str(
                    self.failure
                ):  # the caller tells of the one that is kept
                    self.faults.tell(f"{OUTPUT} failed: {error}")

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
        """Keeps the first failure, and says whether this is it. After a stop, only what the user's files suffered counts."""
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
        return first
