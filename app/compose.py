"""The composition root: from settings to a wired pipeline. The only place that knows all rooms."""

from __future__ import annotations

import math
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from align.geometry import Template
from app.controls import Controls
from app.errors import ModelError, UsageError
from app.faces.at_once import AtOnce
from app.faces.calm import Calm, Pace
from app.faces.detectors import missing_detector, open_detectors
from app.faces.follower import Follower
from app.faces.front_end import FrontEnd
from app.faces.front_end_process import FrontEndProcess
from app.faces.search import ALONE_SHARE, BESIDE_SHARE, Search
from app.faces.second_look import FILE_EVERY_S, LookBeside, SecondLook, TimedLook
from app.faces.tracker import Tracker
from app.files import TextFile, check_writable
from app.mailbox import WhenFull
from app.network.beside import Beside
from app.network.calibrate import (
    best_point,
    cached_profile,
    calibrate,
    candidates,
    measuring,
    profile_path,
    remember,
    unmeasured,
)
from app.network.cores import available_cores
from app.network.engine import Engine, Unanswered, default_threads
from app.network.mending import STEADY_TAIL, Mender
from app.network.open import open_engine
from app.network.probe import probe_of
from app.network.profiles import machine, read_profile
from app.outputs.events import EventsWriter
from app.outputs.formats import check_results_name, results_writer
from app.outputs.metrics import Metrics, parse_address
from app.outputs.privacy import protection
from app.outputs.sound import Sound
from app.outputs.video import VideoWriter, check_video_name
from app.outputs.ways import announcer, transports_to
from app.people.estimates import People
from app.pipeline import Outlets, Pipeline, Scheduling, Sink, Stages
from app.settings import MOST_JOBS, SECRETS, Settings, cache_folder
from app.sources.devices import Wishes
from app.sources.files import FileSource
from app.sources.open import Playing, Watching, open_source
from app.sources.selection import Selection
from app.sources.source import FALLBACK_FPS, Source
from models.manifest import Manifest, ManifestError, find_manifest
from scheduler.log import LogWriter
from scheduler.places import SERVER, latency_model
from scheduler.policy import DeepestThatFits, Fixed, Policy, ValuePerPerson
from scheduler.profile import OperatingPoint, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.faces.detector import Detector
    from app.network.remote import RemoteEngine
    from app.outputs.sender import Sender, Transport

MOST_LOOKS = 4  # at a file's pictures, beside each other


class Once:
    """Waits for the front end to start. Whoever comes first asks it; others wait along and get the same answer."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask: Callable[[], None] | None = ask
        self._lock = threading.Lock()
        self._failure: Exception | None = None

    def __call__(self) -> None:
        with self._lock:
            ask, self._ask = self._ask, None
            if ask:
                try:
                    ask()
                except Exception as error:
                    self._failure = error
            if self._failure:
                raise self._failure


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A run that has source and front end, and can be started; its network is still to be loaded."""

    settings: Settings
    source: Source
    manifest: Manifest
    fixed: OperatingPoint | None  # of a fixed exit, or the best one for a file
    pipeline: Pipeline
    front_end_ready: Once
    metrics: Metrics | None
    transports: Sequence[Transport]  # to other systems
    opened: ExitStack  # closes all of it


@dataclass(frozen=True)
class App:
    """A run that is ready to start, or has started."""

    settings: Settings
    source: Source
    manifest: Manifest
    engine: Engine
    profile: Profile
    profile_from: str  # for people; "" where nothing had to be measured
    pipeline: Pipeline
    metrics: Metrics | None
    senders: Sequence[Sender] = ()  # to other systems
    missing: str = ""  # for people: what would find more faces


def load_manifest(model: str) -> Manifest:
    """Raises ModelError."""
    try:
        manifest = Manifest.read(find_manifest(model))
        Template(manifest.template)
    except ManifestError as error:
        raise ModelError(str(error)) from error
    except ValueError as error:
        raise ModelError(f"the manifest of {model} holds no usable template: {error}") from error
    return manifest


def build(
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
    *,
    source: Source | None = None,
    wrap: Callable[[Engine], Engine] = lambda engine: engine,
    watch: Sequence[Sink] = (),
    of_files: type[Pipeline] = Pipeline,
) -> App:
    """`begin` and `load`: whatever was opened is closed again on failure; `watch` are given every result too."""
    return load(begin(settings, source=source, of_files=of_files), progress, wrap=wrap, watch=watch)


def begin(
    settings: Settings,
    controls: Controls | None = None,
    *,
    source: Source | None = None,
    of_files: type[Pipeline] = Pipeline,
) -> Begun:
    """Checks what is cheap to check, then opens source and front end. `source` takes the place of the settings' own;
    `of_files` is the pipeline of a file."""
    for path in settings.written.values():
        check_writable(path)
    if settings.output:
        check_video_name(settings.output)
    if settings.results:
        check_results_name(settings.results)
    address = parse_address(settings.metrics, public=settings.metrics_public) if settings.metrics else None
    secrets = {field: os.environ.get(name, "") for field, name in SECRETS.items()}
    transports = transports_to(settings.mqtt, settings.webhook, secrets, home_assistant=settings.home_assistant)
    manifest = load_manifest(settings.model)
    fixed = _fixed(settings, manifest)
    with ExitStack() as undo:
        source = source or open_source(
            settings.source,
            Playing(loop=settings.loop, realtime=settings.realtime, selection=_selection(settings)),
            Watching(
                reconnect_s=settings.reconnect_s,
                wait_for_it=settings.wait_for_source,
                wishes=Wishes(
                    size=settings.camera_pixels, fps=settings.camera_fps, exposure_ms=settings.camera_exposure_ms
                ),
            ),
        )
        undo.callback(source.close)
        metrics = Metrics(*address) if address else None
        if metrics:
            undo.callback(metrics.close)
        if not source.live and not fixed:
            fixed = best_point(manifest)._replace(engine=_one_engine(settings))
        # There is no second look at a single picture that could confirm its faces.
        tracker = AtOnce() if not source.live and source.frame_count == 1 else None
        make = partial(make_front_end, settings, manifest.template, source.live, tracker)
        # Live, so that landmarks do not hold up window and network; a file loses nothing by waiting.
        calm = None if settings.every_frame else Calm()
        front_end = FrontEndProcess(make, calm) if source.live else make()
        undo.callback(front_end.close)
        ready = Once(front_end.ready if isinstance(front_end, FrontEndProcess) else lambda: None)
        people = People(manifest.genders, manifest.expressions)
        stages = Stages(front_end=front_end, people=people, front_end_ready=ready)
        controls = controls or Controls(settings.frame_budget_ms)
        if not source.live:
            controls.lift_deadline()
        pipeline = (Pipeline if source.live else of_files)(source, stages, controls, protection(settings.privacy))
        opened = undo.pop_all()
    return Begun(
        settings=settings, source=source, manifest=manifest, fixed=fixed, pipeline=pipeline, front_end_ready=ready,
        metrics=metrics, transports=transports, opened=opened,
    )  # fmt: skip


def load(
    begun: Begun,
    progress: Callable[[int, int], None] | None = None,
    *,
    wrap: Callable[[Engine], Engine] = lambda engine: engine,
    watch: Sequence[Sink] = (),
    engine: Engine | None = None,
) -> App:
    """Loads and measures the network, opens what is written, and equips the pipeline, which may run already.

    What `wrap` makes of the calibrated engine is what runs; `watch` are given every result too. `engine` is one that is
    loaded already, of the same settings and points. On failure everything is closed.
    """
    settings, source, manifest, fixed = begun.settings, begun.source, begun.manifest, begun.fixed
    pipeline = begun.pipeline
    with begun.opened as undo:
        points = [fixed] if fixed else candidates(manifest)
        engine = engine or open_engine(
            manifest, settings.device, settings.threads, points=points, progress=progress, server=settings.server
        )
        profile, profile_from = _profile(settings, source, engine, manifest, progress)
        server = _server(engine, profile)
        fixed = fixed._replace(engine="") if fixed and fixed.engine == SERVER and not server else fixed
        policy = Fixed(fixed) if fixed else _rule(settings, source)
        begun.front_end_ready()
        budget_ms = settings.frame_budget_ms if source.live else math.inf
        sinks, log = _outputs(settings, source, manifest, engine, profile, policy, budget_ms, undo)
        senders: Sequence[Sender] = ()
        if begun.transports:
            told = announcer(begun.transports, pipeline.faults.remark, live=source.live)
            undo.callback(told.close)
            sinks.append(told)
            senders = told.senders
        latency, metrics = latency_model(profile), begun.metrics
        if metrics:
            metrics.senders = senders
            about = {"network": manifest.name, "provider": engine.provider, "exit": settings.exit}
            metrics.watch(pipeline.totals, latency, source, about)
        pipeline.equip(
            Scheduling(
                engine=wrap(engine),
                policy=policy,
                latency=latency,
                probe=probe_of(engine),
                spare=_mending(settings, profile, engine, manifest, points),
                server=server,
            ),
            Outlets(sinks=[*sinks, *([metrics] if metrics else []), *watch], log=log),
        )
        undo.pop_all()
    missing = missing_detector(settings.detector)
    return App(
        settings, source, manifest, engine, profile, profile_from, pipeline, metrics, senders, missing,
    )  # fmt: skip


def _rule(settings: Settings, source: Source) -> Policy:
    """What `--policy` and `--economy` ask for."""
    if settings.policy == "deepest-that-fits":
        return DeepestThatFits()
    rule = ValuePerPerson(period_ms=1000 / (source.fps or FALLBACK_FPS))
    return replace(rule, least=rule.least * settings.economy)


def _profile(
    settings: Settings,
    source: Source,
    engine: Engine,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None,
) -> tuple[Profile, str]:
    """Out of the file that was named, or this machine's; and where it comes from: "" where nothing had to be measured. Raises
    UsageError."""
    if not (source.live or settings.log or settings.profile or settings.recalibrate):
        return unmeasured(engine, manifest, engine.points), ""
    if settings.profile:
        path = Path(settings.profile)
        file = read_profile(path).only(engine.points)
        remark = file.check(path, engine, manifest, settings.threads or default_threads())
        missing = set(engine.points) - {p.point for p in file.profile.points}
        if missing and len(engine.points) == 1:
            raise UsageError(f"profile {path} lacks {min(missing)}: leave out --profile, or name another --exit")
        return file.profile, f"{path}{', ' if remark else ''}{remark}"
    measured, note = partial(load_profile, engine, manifest, settings.threads, settings.recalibrate, progress), ""
    try:
        profile, remembered = measured()
    except Unanswered as error:
        assert isinstance(engine, Beside)
        profile, remembered = measured(points=engine.local.points)
        note = f"; the server cannot be measured and is not used in this run: {error}"
    return profile, ("remembered from an earlier run" if remembered else "measured now") + note


def _server(engine: Engine, profile: Profile) -> RemoteEngine | None:
    """The server whose times are known."""
    known = any(p.point.engine == SERVER for p in profile.points)
    return engine.server if isinstance(engine, Beside) and known else None


def _mending(
    settings: Settings, profile: Profile, engine: Engine, manifest: Manifest, points: Sequence[OperatingPoint]
) -> Callable[[], None]:
    """What to do while nobody is in view: nothing, or measuring again what was measured beside other work."""
    if settings.profile or settings.server or profile.tail <= STEADY_TAIL:
        return lambda: None  # a server has others to read for
    threads = settings.threads or default_threads()
    path = profile_path(cache_folder(), engine, manifest, threads, points)
    return Mender(
        partial(measuring, engine, manifest, points=points, probe=probe_of(engine)),
        lambda measured: remember(path, measured, engine, manifest, threads),
    )


def make_front_end(
    settings: Settings,
    template: Sequence[tuple[float, float]],
    live: bool,
    tracker: Tracker | None = None,
) -> FrontEnd:
    """What finds, follows and aligns the faces of a run. Also called in a process of its own, so its arguments are picklable.
    Raises ModelError and UsageError."""
    follower, first, second = (_finders if live else _shared_finders)(settings.detector)
    share = BESIDE_SHARE if second else ALONE_SHARE
    pace = Pace()
    search = Search(first, settings.min_face, share, every_frame=settings.every_frame, pace=pace) if first else None
    look: SecondLook | None = None
    if second and live and not settings.every_frame:
        look = LookBeside(second, settings.min_face, settings.look_share, pace=pace)
    elif second:
        every_s, threads = 0.0 if settings.every_frame else FILE_EVERY_S, min(available_cores(), MOST_LOOKS)
        look = TimedLook(second, settings.min_face, every_s, threads)
    shape = Template(tuple(template))
    return FrontEnd(follower, search, look, shape, tracker or Tracker(), settings.max_faces, pace=pace)


def _finders(detector: str) -> tuple[Follower, Detector | None, Detector | None]:
    return (Follower(), *open_detectors(detector))


def _shared_finders(detector: str) -> tuple[Follower, Detector | None, Detector | None]:
    """They keep nothing of a picture, so that many files one after the other need only one of each. OpenCV's cascade is not to
    be used by two threads at once, so each thread that opens files has its own."""
    return _finders_of(detector, threading.get_ident())


@lru_cache(maxsize=MOST_JOBS)
def _finders_of(detector: str, thread: int) -> tuple[Follower, Detector | None, Detector | None]:
    return _finders(detector)


def load_profile(
    engine: Engine,
    manifest: Manifest,
    threads: int | None = None,
    again: bool = False,
    progress: Callable[[int, int], None] | None = None,
    points: Sequence[OperatingPoint] | None = None,
) -> tuple[Profile, bool]:
    """The remembered profile of this machine, or a new one; and whether it was remembered. It holds `points`, or all of the
    engine's. Raises Unanswered where a server is to be measured that is out."""

    def measure() -> Profile:
        if isinstance(engine, Beside) and not points and not engine.server.there:
            raise Unanswered(engine.server.text)
        return calibrate(engine, manifest, progress, points=points, probe=probe_of(engine))

    return cached_profile(cache_folder(), engine, manifest, threads or default_threads(), measure, again, points)


def _selection(settings: Settings) -> Selection:
    """Raises UsageError."""
    try:
        return Selection(start_s=settings.start or 0.0, end_s=settings.end, every=settings.every or "")
    except ValueError as error:
        raise UsageError(f"--start, --end, --every: {error}") from error


def _sound(settings: Settings, source: Source) -> Sound | None:
    """Of a file on disk that is read once. Voices tell who speaks: with --privacy there are none."""
    if (
        source.live
        or settings.loop
        or settings.privacy != "none"
        or not settings.output
        or not isinstance(source, FileSource)
    ):
        return None
    path = Path(
        unquote(urlsplit(settings.source).path) if settings.source.lower().startswith("file:") else settings.source
    )
    if not path.expanduser().is_file():
        return None
    sound = Sound(path.expanduser(), source.first_s, settings.output)
    source.note = sound.remark or source.note
    return sound


def _fixed(settings: Settings, manifest: Manifest) -> OperatingPoint | None:
    """The one point of a fixed exit, at the size asked for as NAME@SIZE or else its largest; None for auto."""
    if settings.exit == "auto":
        return None
    engine, _, exit = settings.exit.rpartition("/")
    if engine == SERVER and not settings.server:
        raise UsageError(f"--exit {settings.exit} needs --server, or name it without {engine}/")
    if engine not in ("", SERVER) and not settings.device.startswith("openvino"):
        raise UsageError(f"--exit {settings.exit} needs --device openvino, or name it without {engine}/")
    name, _, size = exit.partition("@")
    try:
        one = manifest.exit(name)
    except ManifestError as error:
        raise UsageError(f"--exit: {error}, and auto") from error
    sizes = [s for s in one.multiply_adds if size in ("", str(s))]
    if not sizes:
        raise UsageError(f"--exit {settings.exit}: {one.name} runs at {', '.join(map(str, one.multiply_adds))} px")
    return OperatingPoint(one.name, max(sizes), engine or _one_engine(settings))


def _one_engine(settings: Settings) -> str:
    """Of a run whose point is fixed, unless it names another."""
    if settings.server:
        return SERVER
    return "openvino" if settings.device.startswith("openvino") else ""


def _outputs(
    settings: Settings,
    source: Source,
    manifest: Manifest,
    engine: Engine,
    profile: Profile,
    policy: Policy,
    budget_ms: float,
    undo: ExitStack,
) -> tuple[list[Sink], LogWriter | None]:
    """Sinks and log, opened last: an existing file is replaced only when everything else stands."""
    sinks: list[Sink] = []
    if settings.output:
        when_full = WhenFull.DROP_OLDEST if source.live else WhenFull.WAIT
        # An index in front means writing the file once more at the end, for which a live recording may be too long.
        sinks.append(
            VideoWriter(settings.output, when_full, index_first=not source.live, sound=_sound(settings, source))
        )
        undo.callback(sinks[-1].close)
    if settings.results:
        sinks.append(results_writer(settings.results, counts_only=settings.privacy == "aggregate"))
        undo.callback(sinks[-1].close)
    if settings.events:
        sinks.append(EventsWriter(settings.events, time.time if source.live else None))
        undo.callback(sinks[-1].close)
    if not settings.log:
        return sinks, None
    header = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "model": {"name": manifest.name, "sha256": manifest.sha256},
        "settings": {
            "source": type(source).__name__,
            "live": source.live,
            "budget_ms": budget_ms if math.isfinite(budget_ms) else None,
            "exit": settings.exit,
            "device": settings.device,
            "provider": engine.provider,
            "max_faces": settings.max_faces,
            "threads": settings.threads or default_threads(),
        },
        "policy": policy.to_json(),
        "profile": profile.to_json(),
        "correction": latency_model(profile).to_json(),
    }
    file = TextFile(settings.log)
    undo.callback(file.close)
    return sinks, LogWriter(file, header)
