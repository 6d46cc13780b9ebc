"""From source to screen: three loops, in the order in which a frame meets them.

    grab  ->  Mailbox  ->  prepare  ->  Mailbox  ->  infer  ->  latest result, sinks, log

grab     takes the newest picture from the source
prepare  finds the faces and aligns them (front_end.py)
infer    asks the policy for an operating point, runs the network, fuses estimates per person

Live sources drop the oldest frame where a loop is behind; files wait, so that nothing is lost and the same file gives
the same answer. A failure in any loop ends all three and is kept for the caller, unless the source is live and faults.py
survives it.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from align.crop import crop_batch
from app.controls import Operation, Operations
from app.domain import Box, DropCause, Face, Frame, Person, Result, SourceEvent, SourceEventKind, SourceState, Stats
from app.errors import AppError, InternalError, OutputError, SourceStalled
from app.faults import CAPTURE, NETWORK, OUTPUT, Diary, Faults
from app.mailbox import Closed, Mailbox, WhenFull
from app.network.engine import bucket_of, readings
from app.totals import Totals
from scheduler.log import FrameRecord, LogWriter, Run
from scheduler.policy import Decision, Load, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.faces.front_end import FrontEnd, Prepared
    from app.faces.front_end_process import CaptureProcess
    from app.network.engine import Engine
    from app.people.estimates import People
    from app.sources.open import Source
    from models.manifest import Manifest
    from scheduler.latency import LatencyModel

# Longer than any pause of a healthy source; sources themselves report a stall after 5 s where they can.
STALL_S = 10.0
FPS_WINDOW = 30


class Sink(Protocol):
    """Takes every result, in order, on the infer loop's thread. Returns one that it had to drop, if any."""

    def deliver(self, result: Result) -> Result | None: ...

    def close(self) -> None: ...


class Pipeline:
    """Runs until the source ends, `stop` is called, or something fails."""

    def __init__(
        self,
        *,
        source: Source,
        front_end: FrontEnd | CaptureProcess,
        policy: Policy,
        latency: LatencyModel,
        engine: Engine,
        manifest: Manifest,
        people: People,
        budget_ms: float,
        sinks: Sequence[Sink] = (),
        log: LogWriter | None = None,
        protect: Callable[[Result, Sequence[Box]], Result] | None = None,
        probe: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`protect` makes of a Result, and of all places where a face may be, what sinks and window get to see.
        `probe` says before each decision how many times slower than usual the machine is (probe.py), or 0."""
        self._source, self._front_end, self._engine, self._manifest = source, front_end, engine, manifest
        self._policy, self._latency, self._people = policy, latency, people
        self.operations = Operations(budget_ms, policy, tuple(p.point for p in latency.profile.points))
        self._sinks, self._clock, self._probe = tuple(sinks), clock, probe
        self.faults = Faults(source.live)
        self._log = Diary(log, self.faults, self._keep) if log else None
        if self._log:
            self.faults.note = lambda part, text: self._log.event("fault", part=part, text=text)
        self._protect = protect
        when_full = WhenFull.DROP_OLDEST if source.live else WhenFull.WAIT
        self._grabbed: Mailbox[Frame] = Mailbox(1, when_full)
        self._prepared: Mailbox[tuple[Operation, Prepared]] = Mailbox(1, when_full)
        self.totals = Totals()
        # Says to the user that the source is lost or back.
        self.tell: Callable[[SourceEvent], None] = lambda event: None
        source.on_event = self._source_event
        self.failure: AppError | None = None
        self._latest: Result | None = None
        self._late = False
        self._times: deque[float] = deque(maxlen=FPS_WINDOW)
        self._stopping = threading.Event()
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(loop, end), name=loop.__name__.strip("_"), daemon=True)
            for loop, end in (
                (self._grab, self._grabbed.close),
                (self._prepare, self._prepared.close),
                (self._infer, self._done.set),
            )
        ]

    # --- the three loops -------------------------------------------------------------------------------------------

    def _grab(self) -> None:
        for frame in self._source:
            dropped = self._grabbed.put(frame)
            if dropped:
                self._count_drop(dropped, DropCause.GRAB_FULL)

    def _prepare(self) -> None:
        budget_ms = self.operations.budget_ms
        while True:
            try:
                frame = self._grabbed.get(STALL_S)
            except TimeoutError:
                if self._source.status().state is SourceState.LOST:
                    continue  # it knows, and is looking for it
                raise SourceStalled(
                    f"{self._source.name} has not delivered a picture for {STALL_S:.0f} s: "
                    "check that it is connected and on"
                ) from None
            if not self._source.live:
                frame = dataclasses.replace(frame, born_s=self._clock())
            operation = self.operations.now
            if operation.budget_ms != budget_ms:
                self._front_end.budget_changed(operation.budget_ms / budget_ms)
                budget_ms = operation.budget_ms
            try:
                prepared = self._front_end(frame)
            except Exception as error:
                self.faults.survive(CAPTURE, error)
                self._count_drop(frame, DropCause.FAILED)
                continue
            self.faults.well(CAPTURE)
            dropped = self._prepared.put((operation, prepared))
            if dropped:
                self._front_end.give_back(dropped[1].faces)
                self._count_drop(dropped[1].frame, DropCause.PREPARE_FULL)

    def _infer(self) -> None:
        while True:
            operation, prepared = self._prepared.get()
            self._take_up(operation.policy)
            if not self._source.live:
                prepared = self._without_waiting(prepared)
            new = sum(self._people.estimate(f.person) is None for f in prepared.faces)
            probe = self._probe() if prepared.faces else 0.0
            left_ms = operation.budget_ms - (self._clock() - prepared.frame.born_s) * 1e3
            load = Load(len(prepared.faces), left_ms, new, self._late, probe=probe)
            self.totals.slow += probe > 0
            decision = self._policy(load, self._latency) if load.faces else None
            slowdown, tail = self._latency.slowdown, self._latency.tail(decision.point) if decision else 1.0
            try:
                read, measured_ms, more = self._run(prepared, decision, load, operation.budget_ms)
            except Exception as error:
                self.faults.survive(NETWORK, error)
                decision, read, measured_ms, more = None, set[int](), 0.0, ()
            else:
                self.faults.well(NETWORK)
            result = self._result(prepared, decision, read, operation.budget_ms, left_ms, measured_ms)
            self._late = result.stats.frame_age_ms > result.stats.budget_ms
            if prepared.faces and not decision:
                self._count_drop(prepared.frame, DropCause.FAILED)  # no decision that a replay could repeat
            else:
                self._write_log(prepared, result, decision, slowdown, tail, load, more)
            if self._protect:
                result = self._protect(result, prepared.places)
            self._deliver(result)
            self._latest = result

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

    def _without_waiting(self, prepared: Prepared) -> Prepared:
        """A file's frame is born when it is taken up, and its waiting for the network is no age: it is the file that
        waits for us, and each frame is to get the depth that a camera's frame would get."""
        born_s = self._clock() - sum(prepared.stages_ms.values()) / 1e3
        return dataclasses.replace(prepared, frame=dataclasses.replace(prepared.frame, born_s=born_s))

    def _take_up(self, policy: Policy) -> None:
        """Another rule decides from this frame on: the log says so."""
        if policy is not self._policy:
            self._policy = policy
            if self._log:
                self._log.event("policy", policy=policy.to_json())

    # --- what infer is made of -------------------------------------------------------------------------------------

    def _run(
        self, prepared: Prepared, decision: Decision | None, load: Load, budget_ms: float
    ) -> tuple[set[int], float, tuple[Run, ...]]:
        """Reads the chosen faces, and others while the policy finds time for them; returns who was read, the milliseconds
        of the first run, cropping included, and what was decided after it."""
        self._people.keep(prepared.alive)
        if decision is None:
            return set(), 0.0, ()
        waiting = self._people.stalest_first(prepared.faces)
        read, measured_ms = self._read(prepared.frame, waiting[: decision.serve], decision)
        self._latency.observe(decision.point, decision.serve, measured_ms, probe=load.probe)
        more = list[Run]()
        while len(read) < len(waiting):
            left_ms = budget_ms - (self._clock() - prepared.frame.born_s) * 1e3
            again = self._policy.again(load.after(len(read), left_ms, 1 + len(more)), self._latency)
            if again is None:
                more.append(Run(left_ms))
                break
            others, took_ms = self._read(prepared.frame, waiting[len(read) :][: again.serve], again)
            self._latency.observe(again.point, again.serve, took_ms, further=True)
            more.append(Run(left_ms, again.serve, again.point.exit, again.point.size, again.predicted_ms, took_ms))
            read |= others
        return read, measured_ms, tuple(more)

    def _read(self, frame: Frame, chosen: Sequence[Face], decision: Decision) -> tuple[set[int], float]:
        """One run of the network."""
        started = self._clock()
        crops = crop_batch(frame.image, [f.matrix for f in chosen], decision.point.size)
        outputs = self._engine.run(decision.point, crops)
        for face, reading in zip(chosen, readings(self._manifest, decision.point, outputs), strict=True):
            self._people.read(face.person, reading, frame.id, frame.time_s)
        return {f.person for f in chosen}, (self._clock() - started) * 1e3

    def _result(
        self,
        prepared: Prepared,
        decision: Decision | None,
        read: set[int],
        budget_ms: float,
        left_ms: float,
        measured_ms: float,
    ) -> Result:
        in_view = [(f.person, f.box) for f in prepared.faces] + list(prepared.unread)
        people = tuple(
            Person(i, box, self._people.estimate(i), i in read, prepared.unfit.get(i)) for i, box in sorted(in_view)
        )
        now, totals = self._clock(), self.totals
        age_ms = (now - prepared.frame.born_s) * 1e3
        self._times.append(now)
        totals.frames += 1
        totals.faces += len(prepared.faces) + sum(prepared.unserved.values())
        totals.read += len(read)
        totals.misses += age_ms > budget_ms
        totals.ages_ms.append(age_ms)
        totals.drops.update(self._unserved(prepared, decision, len(read)))
        totals.first_result_s, totals.last_result_s = totals.first_result_s or now, now
        if decision:
            totals.exits[str(decision.point)] += 1
        span = self._times[-1] - self._times[0]
        dropped = totals.drops[DropCause.GRAB_FULL] + totals.drops[DropCause.PREPARE_FULL]
        stats = Stats(
            fps=(len(self._times) - 1) / span if span > 0 else 0.0,
            faces=len(people),
            served=len(read),
            exit=decision.point.exit if decision else "",
            input_size=decision.point.size if decision else 0,
            budget_ms=budget_ms,
            left_ms=left_ms,
            predicted_ms=decision.predicted_ms if decision else 0.0,
            measured_ms=measured_ms,
            frame_age_ms=age_ms,
            misses=totals.misses,
            frames=totals.frames,
            dropped=dropped,
            provider=self._engine.provider,
            why=decision.why if decision else "the network failed" if prepared.faces else "nobody in view",
        )
        return Result(prepared.frame, people, stats)

    @staticmethod
    def _unserved(prepared: Prepared, decision: Decision | None, read: int) -> dict[DropCause, int]:
        waiting = len(prepared.faces) - read if decision else 0
        return {**prepared.unserved, **({DropCause.NO_BUDGET: waiting} if waiting else {})}

    def _write_log(
        self,
        prepared: Prepared,
        result: Result,
        decision: Decision | None,
        slowdown: float,
        tail: float,
        load: Load,
        more: tuple[Run, ...],
    ) -> None:
        if self._log is None:
            return
        s, n = result.stats, len(prepared.faces)
        self._log.frame(
            FrameRecord(
                id=result.frame.id,
                time_s=result.frame.time_s,
                faces=n + sum(prepared.unserved.values()),
                wanted=n,
                new=load.new,
                served=decision.serve if decision else 0,
                exit=s.exit,
                size=s.input_size,
                bucket=bucket_of(self._engine.buckets, decision.serve) if decision else 0,
                budget_ms=s.budget_ms,
                left_ms=s.left_ms,
                probe=load.probe,
                predicted_ms=s.predicted_ms,
                measured_ms=s.measured_ms,
                slowdown=slowdown,
                tail=tail,
                age_ms=s.frame_age_ms,
                miss=s.frame_age_ms > s.budget_ms,
                provider=s.provider,
                stages_ms=prepared.stages_ms,
                unserved={
                    cause.name.lower(): count for cause, count in self._unserved(prepared, decision, s.served).items()
                },
                more=more,
            )
        )

    def _count_drop(self, frame: Frame, cause: DropCause) -> None:
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
        self._source.close()
        for box in (self._grabbed, self._prepared):
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
                self._keep(error)

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
                self._prepared.close()
        finally:
            end()

    def _keep(self, error: Exception) -> None:
        """Keeps the first failure. After a stop, only what the user's files suffered counts."""
        if not isinstance(error, AppError):
            where = threading.current_thread().name
            failure = InternalError(
                f"{where} failed: {type(error).__name__}: {error}. This is a fault of the program; please report it"
            )
            failure.__cause__ = error
            error = failure
        if self.failure is None and (isinstance(error, OutputError) or not self._stopping.is_set()):
            self.failure = error
