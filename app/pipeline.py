"""From source to screen: three loops, in the order in which a frame meets them.

    grab  ->  Mailbox  ->  front end  ->  Mailbox  ->  infer  ->  latest result, sinks, log

grab       takes the newest picture from the source
front end  finds the faces and aligns them (faces/front_end.py)
infer      asks the policy for an operating point, runs the network, fuses estimates per person

Live sources drop the oldest frame where a loop is behind; files wait, so that nothing is lost and the same file gives
the same answer. A failure in any loop ends all three and is kept for the caller, unless the source is live and faults.py
survives it.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from align.crop import crop_batch
from app.controls import Controls
from app.domain import Box, DropCause, Face, Frame, Person, Result, SourceEvent, SourceEventKind, SourceState, Stats
from app.errors import AppError, DeviceError, InternalError, OutputError, SourceStalled
from app.faults import FRONT_END, NETWORK, OUTPUT, Diary, Faults
from app.mailbox import Closed, Mailbox, WhenFull
from app.network.elsewhere import Elsewhere
from app.network.engine import Unanswered, bucket_of
from app.people.movement import Movement
from app.served import Served, count, frame_record
from app.totals import Totals
from scheduler.load import Decision, Known, Load
from scheduler.log import Batch, LogWriter
from scheduler.places import decide
from scheduler.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.faces.front_end import FrameFaces, FrontEnd
    from app.faces.front_end_process import FrontEndProcess
    from app.network.elsewhere import Server
    from app.network.engine import Engine
    from app.people.estimates import People
    from app.sources.source import Source
    from scheduler.latency import LatencyModel

# Longer than any pause of a healthy source; sources themselves report a stall after 5 s where they can.
STALL_S = 10.0
FPS_WINDOW = 30
# What is known of frames that come before the network.
LOADING = Stats(
    fps=0.0, faces=0, served=0, exit="", input_size=0, budget_ms=0.0, left_ms=0.0, predicted_ms=0.0, measured_ms=0.0,
    frame_age_ms=0.0, misses=0, frames=0, dropped=0, provider="", why="the network is loading",
)  # fmt: skip


class Sink(Protocol):
    """Takes every result, in order, on the infer loop's thread. Returns one that it had to drop, if any."""

    def deliver(self, result: Result) -> Result | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What a frame goes through before the network, and who is known."""

    front_end: FrontEnd | FrontEndProcess
    people: People
    #: waits until the front end has started; called once, on its loop's thread
    front_end_ready: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Scheduling:
    """What reads a frame's faces, and what decides how deep."""

    engine: Engine
    policy: Policy
    latency: LatencyModel
    #: says before each decision how many times slower than usual the machine is (network/probe.py), or 0
    probe: Callable[[], float] = lambda: 0.0
    #: has something to do, some milliseconds long, where a live frame has nobody to read
    spare: Callable[[], None] = lambda: None
    #: of the engine's points that are elsewhere
    server: Server | None = None


@dataclass(frozen=True, kw_only=True)
class Outlets:
    """Where results go."""

    sinks: Sequence[Sink] = ()
    log: LogWriter | None = None


class Pipeline:
    """Runs until the source ends, `stop` is called, or something fails.

    It may be started before `equip`, while the network is loaded: a live source is shown meanwhile, with boxes of whoever is
    found, and nothing is counted or written; a file waits.
    """

    def __init__(
        self,
        source: Source,
        stages: Stages,
        controls: Controls,
        protect: Callable[[Result, Sequence[Box]], Result] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`protect` makes of a Result, and of all places where a face may be, what sinks and window see."""
        self._source, self._clock, self.controls, self._protect = source, clock, controls, protect
        self._front_end, self._front_end_ready, self._people = stages.front_end, stages.front_end_ready, stages.people
        self._engine: Engine | None = None
        self._may_infer = threading.Event()
        self._sinks: tuple[Sink, ...] = ()
        self._log: Diary | None = None
        self.faults = Faults(source.live)
        when_full = WhenFull.DROP_OLDEST if source.live else WhenFull.WAIT
        self._grabbed: Mailbox[Frame] = self._box(when_full)
        self._aligned: Mailbox[FrameFaces] = self._box(when_full)
        self.totals = Totals()
        # Says to the user that the source is lost or back.
        self.tell: Callable[[SourceEvent], None] = lambda event: None
        source.on_event = self._source_event
        self.failure: AppError | None = None
        self._latest: Result | None = None
        self._plain = True  # pictures are shown as they come, since none was searched yet
        self._late = False
        self._movement = Movement()
        self._times: deque[float] = deque(maxlen=FPS_WINDOW)
        self._stopping = threading.Event()
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(loop, end), name=name, daemon=True)
            for name, loop, end in (
                ("grab", self._grab, self._grabbed.close),
                ("front end", self._find, self._aligned.close),
                ("infer", self._infer, self._done.set),
            )
        ]

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
        self.controls.offer(self._policy, tuple(p.point for p in self._latency.profile.points))
        self._engine = scheduling.engine  # last: the loops take it for a sign
        self._may_infer.set()

    def _box(self, when_full: WhenFull) -> Mailbox[Any]:
        """What lies between two loops."""
        return Mailbox(1, when_full)

    # --- the three loops -------------------------------------------------------------------------------------------

    def _grab(self) -> None:
        for frame in self._source:
            if self._engine is None and not self._protect and self._plain:
                self._latest = Result(frame, (), LOADING)  # before there is anybody to say where faces are
            dropped = self._grabbed.put(frame)
            if dropped:
                self._count_drop(dropped, DropCause.GRAB_FULL)

    def _find(self) -> None:
        self._front_end_ready()
        while (frame := self._next_frame()) is not None:
            try:
                found = self._front_end(self._stamped(frame))
            except DeviceError:
                raise  # no later frame will fare better
            except Exception as error:
                self.faults.survive(FRONT_END, error)
                self._count_drop(frame, DropCause.FAILED)
                continue
            self.faults.well(FRONT_END)
            dropped = self._aligned.put(found)
            if dropped:
                self._count_drop(dropped.frame, DropCause.FRONT_END_FULL)

    def _infer(self) -> None:
        if not self._source.live:
            self._may_infer.wait()
        while True:
            found = self._aligned.get()
            if self._engine is None:
                self._preview(found)
                continue
            self._one(found)
            if self._source.live and not found.faces:
                self.spare()

    def _one(self, found: FrameFaces) -> None:
        """From a frame's faces to its result, delivered."""
        self._take_up(self.controls.now.policy)
        self._elsewhere.heed()
        born_s = self._born_s(found)
        served = self._serve(found, born_s)
        result = self._result(found, served, born_s)
        self._late = result.stats.frame_age_ms > result.stats.budget_ms
        if self._protect:
            result = self._protect(result, found.places)
        self._deliver(result)
        self._latest = result

    def _preview(self, found: FrameFaces) -> None:
        """Boxes without words, for the window alone."""
        self._plain = False
        stats = dataclasses.replace(LOADING, faces=len(found.faces) + len(found.unread))
        result = Result(found.frame, self._in_view(found, set()), stats)
        self._latest = self._protect(result, found.places) if self._protect else result

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
                    self._count_drop(dropped.frame, DropCause.VIDEO_FULL)

    def _next_frame(self) -> Frame | None:
        """The next one that was grabbed. Raises SourceStalled where none comes, and Closed."""
        while True:
            try:
                return self._grabbed.get(STALL_S if self._source.live else None)  # a file may take its time
            except TimeoutError:
                if self._source.status().state is SourceState.LOST:
                    continue  # it knows, and is looking for it
                raise SourceStalled(
                    f"{self._source.name} has not delivered a picture for {STALL_S:.0f} s: "
                    "check that it is connected and on"
                ) from None

    def _stamped(self, frame: Frame) -> Frame:
        """With its budget; a file's frame is born now, where it is taken up."""
        born_s = frame.born_s if self._source.live else self._clock()
        return dataclasses.replace(frame, budget_ms=self.controls.budget_ms, born_s=born_s)

    def _born_s(self, found: FrameFaces) -> float:
        """When a frame's time began to run. A file waits for us: what its frame waited for the network is no age, so that each
        gets the depth that a camera's frame would get."""
        return found.frame.born_s if self._source.live else self._clock() - sum(found.stages_ms.values()) / 1e3

    def _take_up(self, policy: Policy) -> None:
        """Another rule decides from this frame on: the log says so."""
        if policy is not self._policy:
            self._policy = policy
            if self._log:
                self._log.event("policy", policy=policy.to_json())

    # --- what infer is made of -------------------------------------------------------------------------------------

    def _serve(self, found: FrameFaces, born_s: float) -> Served:
        """Decides and reads, in as many batches as the policy finds time for."""
        self._people.keep(found.alive)
        self._movement.keep(found.alive)
        new = sum(self._people.estimate(f.person) is None for f in found.faces)
        probe = self._probe() if found.faces and math.isfinite(found.frame.budget_ms) else 0.0
        known = [self._seen(face, found.frame.time_s) for face in found.faces]
        order = self._policy.rank(known)
        people = tuple(known[i] for i in order)
        left_ms = self._left_ms(found.frame, born_s)
        served = Served(Load(len(people), left_ms, new, self._late, probe=probe, people=people))
        if not found.faces:
            return served
        waiting = [found.faces[i] for i in order]
        decision = decide(self._policy, served.load, self._latency)
        served.slowdown, served.tail = self._latency.slowdown, self._latency.tail
        try:
            self._run(found.frame, waiting, decision, served, born_s)
        except Exception as error:
            self.faults.survive(NETWORK, error)
            return Served(served.load)
        self.faults.well(NETWORK)
        return served

    def _seen(self, face: Face, time_s: float) -> Known:
        """What the policy may know of somebody."""
        sharpness = self._movement.sharpness(face.person, face.box)
        seen = self._people.known(face.person, time_s)
        if seen is None:
            return Known()
        error = self._latency.profile.error_at(seen.exit, seen.size)
        return Known(seen.waited_s * 1e3, error, seen.moved, sharpness)

    def _run(self, frame: Frame, waiting: Sequence[Face], decision: Decision, served: Served, born_s: float) -> None:
        """Reads the first of those who wait, and others while the policy finds time; notes in `served` what was done."""
        served.decision = decision
        if not decision.serve:
            return
        began_s = self._clock()
        try:
            read, measured_ms = self._read(frame, waiting[: decision.serve], decision, served.load)
        except Unanswered:
            self._elsewhere.failed(decision, served.load, (self._clock() - began_s) * 1e3, first=True)
            served.load = served.load._replace(left_ms=self._left_ms(frame, born_s))
            decision = served.decision = decide(self._policy, served.load, self._latency)
            if not decision.serve:
                return
            read, measured_ms = self._read(frame, waiting[: decision.serve], decision, served.load)
        load = served.load
        self._latency.observe(decision.point, decision.serve, measured_ms, load)
        further = list[Batch]()
        while len(read) < len(waiting):
            left_ms, began_s = self._left_ms(frame, born_s), self._clock()
            rest = load.after(len(read), left_ms, 1 + len(further))
            again = self._policy.again(rest, self._latency)
            if again is None:
                further.append(Batch(left_ms))
                break
            try:
                others, took_ms = self._read(frame, waiting[len(read) :][: again.serve], again, rest)
                self._latency.observe(again.point, again.serve, took_ms, rest)
            except Unanswered:
                others, waited_ms = set(), (self._clock() - began_s) * 1e3
                took_ms = self._elsewhere.failed(again, rest, waited_ms, first=False)
            further.append(Batch.of(again, left_ms, took_ms))
            if not others:
                break
            read |= others
        served.people, served.measured_ms, served.further = read, measured_ms, tuple(further)

    def _left_ms(self, frame: Frame, born_s: float) -> float:
        return frame.budget_ms - (self._clock() - born_s) * 1e3

    def _read(self, frame: Frame, chosen: Sequence[Face], decision: Decision, load: Load) -> tuple[set[int], float]:
        """One batch: who was read, and the milliseconds that it took. Raises Unanswered where a server does not read it."""
        started = self._clock()
        new = sum(self._people.estimate(f.person) is None for f in chosen)
        self._elsewhere.before(decision, load, new)
        crops = crop_batch(frame.image, [f.matrix for f in chosen], decision.point.size)
        for face, reading in zip(chosen, self._engine.read(decision.point, crops), strict=True):
            self._people.read(face.person, reading, frame.id, frame.time_s)
        return {f.person for f in chosen}, (self._clock() - started) * 1e3

    def _result(self, found: FrameFaces, served: Served, born_s: float) -> Result:
        """The frame's result, counted and logged."""
        people = self._in_view(found, served.people)
        now_s, totals, decision = self._clock(), self.totals, served.decision
        age_ms = (now_s - born_s) * 1e3
        self._times.append(now_s)
        unserved = served.unserved(found)
        totals.unanswered, totals.server_losses = self._elsewhere.unanswered, self._elsewhere.losses
        count(totals, found, served, unserved, age_ms, now_s)
        span = self._times[-1] - self._times[0]
        stats = Stats(
            fps=(len(self._times) - 1) / span if span > 0 else 0.0,
            faces=len(people),
            served=len(served.people),
            exit=decision.point.exit if decision and decision.serve else "",
            input_size=decision.point.size if decision and decision.serve else 0,
            budget_ms=found.frame.budget_ms,
            left_ms=served.load.left_ms,
            predicted_ms=decision.predicted_ms if decision else 0.0,
            measured_ms=served.measured_ms,
            frame_age_ms=age_ms,
            misses=totals.misses,
            frames=totals.frames,
            dropped=totals.drops[DropCause.GRAB_FULL] + totals.drops[DropCause.FRONT_END_FULL],
            provider=self._engine.provider,
            server=self._elsewhere.there,
            why=decision.why if decision else "the network failed" if found.faces else "nobody in view",
        )
        if found.faces and not decision:
            self._count_drop(found.frame, DropCause.FAILED)  # no decision that a replay could repeat
        elif self._log:
            bucket = bucket_of(self._engine.buckets, decision.serve) if stats.exit and decision else 0
            self._log.frame(frame_record(found, served, stats, unserved, bucket))
        return Result(found.frame, people, stats)

    def _count_drop(self, frame: Frame, cause: DropCause) -> None:
        if self._engine is None:
            return  # it could not have been read anyway
        self.totals.drops[cause] += 1
        if self._log:
            self._log.drop(frame.id, cause.name.lower())

    def _source_event(self, event: SourceEvent) -> None:
        """On the grab thread."""
        if event.kind is SourceEventKind.BROKEN:
            self.totals.drops[DropCause.BROKEN] += 1
            if self._log:
                self._log.drop(event.frame_id, DropCause.BROKEN.name.lower())
            return
        self.totals.reconnects += event.kind is SourceEventKind.BACK
        if self._log:
            details = {"text": event.text, "frame": event.frame_id, "after_s": event.after_s, "tries": event.tries}
            self._log.event(f"source_{event.kind}", **details)
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
        self._source.close()
        for box in (self._grabbed, self._aligned):
            box.close()
            box.clear()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the last result is delivered; False where that takes longer than the timeout."""
        return self._done.wait(timeout_s)

    def close(self) -> None:
        """Ends the loops, then completes and closes every sink and the log. A source that hangs in a read is left behind."""
        self.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2.0)
        self._front_end.close()
        for sink in (*self._sinks, *((self._log,) if self._log else ())):
            try:
                sink.close()
            except Exception as error:  # the others are to be completed all the same
                if not self._keep(error) and str(error) != str(
                    self.failure
                ):  # the caller tells of the one that is kept
                    self.faults.tell(f"{OUTPUT} failed: {error}")

    def _guard(self, loop: Callable[[], None], end: Callable[[], None]) -> None:
        """Runs a loop. Its failure is a value that reaches the caller, kept before anybody is told of the end."""
        try:
            loop()
        except Closed:
            pass
        except Exception as error:
            self._keep(error)
            # Loops before this one end; those behind finish what they were given.
            self._source.close()
            self._grabbed.close()
            if loop == self._infer:
                self._aligned.close()
        finally:
            end()

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
