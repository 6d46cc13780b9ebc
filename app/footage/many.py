"""`run` over several files: each with outputs of its own by a pattern, or all results in one table; then one summary.

A file's outputs are drafts (`clip.part.jsonl`) until the file is done, so that a complete name means a complete file, and
`--resume` needs nothing else.
"""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.console.ending import ends_on_signals
from app.console.telling import complain, printable
from app.errors import OutputError, SourceDamaged, SourceError, UsageError
from app.files import draft_of
from app.footage.progress import Progress
from app.footage.table import Table
from app.outputs.formats import check_annotated_name, check_results_name, results_writer
from app.settings import Settings, resolved, same_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.compose import App
    from app.domain import Result
    from app.network.engine import Engine
    from app.pipeline import Pipeline

FIELDS = ("{stem}", "{name}", "{folder}")  # of an output's path: clip, clip.mp4, and the folder that it lies in
OWN = ("output", "results", "log")  # are drafts until complete; events are added to
POLL_S = 0.1


@dataclass
class Outcome:
    """What became of one file."""

    name: str
    frames: int = 0
    seconds: float = 0.0  # of the file, from its first picture to its last
    people: set[int] = field(default_factory=set)
    faces: int = 0
    read: int = 0
    took_s: float = 0.0
    remark: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Job:
    """One file, and what is written for it."""

    source: str
    settings: Settings  # with this file's own names, as drafts
    finished: dict[Path, Path]  # draft to its final name

    def is_done(self) -> bool:
        return bool(self.finished) and all(path.exists() for path in self.finished.values())


class Tally:
    """A sink: who was seen until when, and the file's rows in the common table."""

    def __init__(self, number: int, outcome: Outcome, table: Table | None) -> None:
        self._number, self._outcome, self._table = number, outcome, table

    def deliver(self, result: Result) -> None:
        self._outcome.people.update(p.id for p in result.people)
        self._outcome.seconds = result.frame.time_s
        if self._table:
            self._table.deliver(self._number, result, self._outcome.name)

    def close(self) -> None:
        """The table goes on with other files."""


def asks_for_many(settings: Settings) -> bool:
    """Whether outputs have patterns in their names, or an earlier run is to be completed."""
    return settings.resume or any(f in str(path) for path in settings.written.values() for f in FIELDS)


def run_many(settings: Settings, sources: Sequence[str]) -> int:
    """Reads all of them; one that cannot be read is reported, and the others go on. Raises UsageError and OutputError."""
    jobs = plan(settings, sources)
    todo = [job for job in jobs if not (settings.resume and job.is_done())]
    if len(todo) < len(jobs):
        print(f"resume    {len(jobs) - len(todo)} of {len(jobs)} files are complete")
    return _Batch(settings, todo).run() if todo else 0


def plan(settings: Settings, sources: Sequence[str]) -> list[Job]:
    """What is read and written, before anything is opened. Raises UsageError."""
    if settings.show:
        raise UsageError("--show takes one file: leave it out for several")
    if settings.loop or settings.realtime:
        raise UsageError("--loop and --realtime take one file: leave them out for several")
    for name, path in settings.written.items():
        if name != "results" and not any(f in str(path) for f in FIELDS):
            raise UsageError(
                f"--{name} {path} would be written again for each of {len(sources)} files: put {{stem}} into it, "
                f"as in --{name} 'out/{{stem}}{path.suffix}'"
            )
    if settings.resume and (not settings.written or _common(settings)):
        raise UsageError("--resume needs outputs of each file, to see what is missing: --results 'out/{stem}.jsonl'")
    if settings.output:  # the pattern is told as it was given, not as a draft of a file
        check_annotated_name(settings.output)
    if settings.results:
        check_results_name(settings.results)
    jobs = [_job(settings, source) for source in sources]
    if settings.resume:  # what an earlier run wrote beside the footage is none
        written = {resolved(path) for job in jobs for pair in job.finished.items() for path in pair}
        jobs = [job for job in jobs if resolved(Path(job.source)) not in written]
    _check_collisions(jobs)
    return jobs


def _common(settings: Settings) -> Path | None:
    """The one table for all files, where results have no pattern."""
    path = settings.results
    return path if path and not any(f in str(path) for f in FIELDS) else None


def _job(settings: Settings, source: str) -> Job:
    written = {name: _named(path, source) for name, path in settings.written.items()}
    dataclasses.replace(settings, source=source, **written)  # refuses what would overwrite the source
    if _common(settings):
        written["results"] = None
    drafts = {name: draft_of(path) if path and name in OWN else path for name, path in written.items()}
    finished = {drafts[name]: path for name, path in written.items() if path and name in OWN}
    return Job(source, dataclasses.replace(settings, source=source, show=False, **drafts), finished)


def _named(path: Path, source: str) -> Path:
    file = Path(source)
    names = {"{stem}": file.stem, "{name}": file.name, "{folder}": file.absolute().parent.name}
    return Path(re.sub("|".join(map(re.escape, FIELDS)), lambda field: names[field[0]], str(path)))


def _check_collisions(jobs: Sequence[Job]) -> None:
    sources = {resolved(Path(job.source)) for job in jobs}
    taken: dict[Path, str] = {}
    for job in jobs:
        for path in job.finished.values():
            place = resolved(path)
            if place in sources or (path.exists() and any(same_file(Path(j.source), path) for j in jobs)):
                raise UsageError(
                    f"{path} is a source and would be overwritten: choose another pattern, or a folder of its own; if an "
                    "earlier run wrote it, add --resume"
                )
            if place in taken:
                raise UsageError(
                    f"{path} would be written for {job.source} and for {taken[place]}: "
                    "put {name} or {folder} into the pattern"
                )
            taken[place] = job.source


class _Batch:
    """The files, as many at once as `--jobs` says, with one network for all."""

    def __init__(self, settings: Settings, jobs: Sequence[Job]) -> None:
        self._settings, self._jobs = settings, jobs
        self._pipelines: dict[int, Pipeline] = {}
        self._outcomes: dict[int, Outcome] = {}  # by the file's number, of those that are over
        self._engine: Engine | None = None
        self._opening, self._stopped = threading.Lock(), threading.Event()
        self._table: Table | None = None
        self._progress = Progress([job.source for job in jobs])

    def run(self) -> int:
        if path := _common(self._settings):
            counts_only = self._settings.privacy == "aggregate"
            self._table = Table(results_writer(path, counts_only=counts_only, named="source"))
        began_s = time.monotonic()
        try:
            with ends_on_signals(self._stop):
                self._read_all()
        finally:
            self._progress.close()
            if self._table:
                self._table.close()
            if self._engine:
                self._engine.close()
            outcomes = [outcome for _, outcome in sorted(self._outcomes.items())]
            for line in summary_table(outcomes, time.monotonic() - began_s):
                print(line)
        if left := len(self._jobs) - len(outcomes):
            print(f"stopped   {left} files were not begun; --resume goes on with them")
        failed = [o for o in outcomes if o.failed]
        if not failed:
            return 0
        complain(
            f"error: {len(failed)} of {len(outcomes)} files were not read in full: {', '.join(o.name for o in failed)}"
        )
        damaged_only = all(o.frames for o in failed)
        return SourceDamaged.exit_code if damaged_only and self._settings.strict else SourceError.exit_code

    def _stop(self) -> None:
        self._stopped.set()
        if self._table:
            self._table.stop()
        for pipeline in list(self._pipelines.values()):
            pipeline.stop()

    def _read_all(self) -> None:
        """The first failure that other files would meet too ends all. Raises it."""
        with ThreadPoolExecutor(self._settings.jobs, "file") as pool:
            futures = [pool.submit(self._read, number, job) for number, job in enumerate(self._jobs)]
            while wait(futures, POLL_S).not_done:
                self._progress.show()
                if any(f.done() and f.exception() for f in futures):
                    self._stop()
            self._progress.show()
        for future in futures:
            future.result()

    def _read(self, number: int, job: Job) -> None:
        """Raises what the next file would meet too: options, models, a full disk."""
        if self._stopped.is_set():
            return
        outcome, began_s = Outcome(printable(Path(job.source).name)), time.monotonic()
        try:
            self._run(number, job, outcome)
        except SourceError as error:
            outcome.remark, outcome.failed = str(error), True
            complain(f"error: {error}")
        finally:
            self._progress.end(number)
            if self._table:
                self._table.done(number)
        outcome.took_s = time.monotonic() - began_s
        self._outcomes[number] = outcome

    def _open(self, number: int, job: Job, outcome: Outcome) -> App:
        """One at a time, so that only the first loads the network."""
        from app.compose import begin, load

        with self._opening:
            begun = begin(job.settings)
            # A stream among the files needs more points than the best one.
            live, watch = begun.source.live, [Tally(number, outcome, self._table)]
            app = load(begun, engine=None if live else self._engine, watch=watch, keep_engine=not live)
            if not live:
                self._engine = app.network.engine
        self._pipelines[number] = app.pipeline
        self._progress.begin(number, app.pipeline, app.source.frame_count)
        return app

    def _run(self, number: int, job: Job, outcome: Outcome) -> None:
        app = self._open(number, job, outcome)
        try:
            app.pipeline.start()
            if self._stopped.is_set():
                app.pipeline.stop()
            app.pipeline.wait()
        finally:
            whole = not self._stopped.is_set()
            app.pipeline.close()
            del self._pipelines[number]
            totals = app.pipeline.totals
            outcome.frames, outcome.faces, outcome.read = totals.frames, totals.faces, totals.read
        if app.pipeline.failure:
            raise app.pipeline.failure
        outcome.remark = app.source.note
        if app.source.damaged:
            outcome.remark = app.source.damaged.partition(": ")[2]
            outcome.failed = self._settings.strict
        if not whole:
            outcome.remark = "stopped; what there is stays under .part"
            return
        for draft, path in job.finished.items():
            _complete(draft, path)


def _complete(draft: Path, path: Path) -> None:
    try:
        draft.replace(path)
    except FileNotFoundError:  # a video without a frame
        return
    except OSError as error:
        raise OutputError(f"{draft} cannot be renamed to {path}: {error.strerror or error}") from error


def summary_table(outcomes: Sequence[Outcome], took_s: float) -> list[str]:
    """One line a file, and one for all, which took so long together."""
    width = max([4, *(len(o.name) for o in outcomes)])
    lines = [f"{'file':<{width}}  frames  seconds  people   faces    read  frames/s"]
    for o in outcomes:
        rate = o.frames / o.took_s if o.took_s else 0.0
        figures = f"{o.frames:>6} {o.seconds:>8.1f} {len(o.people):>7} {o.faces:>7} {o.read:>7} {rate:>9.1f}"
        lines.append(f"{o.name:<{width}}  {figures}" + (f"  {o.remark}" if o.remark else ""))
    frames = sum(o.frames for o in outcomes)
    figures = (
        f"{frames:>6} {sum(o.seconds for o in outcomes):>8.1f} {sum(len(o.people) for o in outcomes):>7} "
        f"{sum(o.faces for o in outcomes):>7} {sum(o.read for o in outcomes):>7} {frames / took_s if took_s else 0:>9.1f}"
    )
    return [*lines, f"{'all':<{width}}  {figures}"]


__all__ = ["Job", "Outcome", "asks_for_many", "plan", "run_many", "summary_table"]
