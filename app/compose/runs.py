"""From settings to a run: opened at once, its network loaded behind it."""

from __future__ import annotations

import dataclasses
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from app.camera import View
from app.compose.front_ends import make_front_end
from app.compose.networks import fixed_point, load_manifest, one_engine, open_network
from app.compose.outlets import outputs
from app.controls import Controls
from app.errors import UsageError
from app.faces.at_once import AtOnce
from app.faces.calm import Calm
from app.faces.detectors import missing_detector
from app.faces.front_end_process import FrontEndProcess
from app.faces.tracker import Tracker
from app.files import check_writable
from app.network.calibrate import best_point, candidates
from app.network.open import open_engine
from app.outputs.formats import check_annotated_name, check_results_name
from app.outputs.metrics import Metrics, parse_address
from app.outputs.privacy import protection
from app.outputs.ways import announcer, transports_to
from app.people.estimates import People
from app.pipeline import Pipeline
from app.rounds.delivery import Outlets
from app.settings import LEAST_LOOK_SHARE, SECRETS
from app.sources.devices import Wishes
from app.sources.group import Group, names_of
from app.sources.open import Playing, Watching, open_source
from app.sources.selection import Selection
from app.sources.source import FALLBACK_FPS
from scheduler.places import SERVER
from scheduler.policy import DeepestThatFits, Fixed, ValuePerPerson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.compose.networks import Network
    from app.network.engine import Engine
    from app.outputs.sender import Sender, Transport
    from app.rounds.delivery import Sink
    from app.settings import Settings
    from app.sources.source import Source
    from models.manifest import Manifest
    from scheduler.policy import Policy
    from scheduler.profile import OperatingPoint


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
    front_ends_ready: Sequence[Callable[[], None]]
    metrics: Metrics | None
    transports: Sequence[Transport]  # to other systems
    opened: ExitStack  # closes all of it


@dataclass(frozen=True)
class App:
    """A run that is ready to start, or has started."""

    settings: Settings
    source: Source
    network: Network
    pipeline: Pipeline
    metrics: Metrics | None
    senders: Sequence[Sender] = ()  # to other systems
    missing: str = ""  # for people: what would find more faces


def build(
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
    *,
    sources: Sequence[Source] = (),
    wrap: Callable[[Engine], Engine] = lambda engine: engine,
    watch: Sequence[Sink] = (),
) -> App:
    """`begin` and `load`: whatever was opened is closed again on failure; `watch` are given every result too."""
    return load(begin(settings, sources=sources), progress, wrap=wrap, watch=watch)


def begin(
    settings: Settings,
    controls: Controls | None = None,
    *,
    sources: Sequence[Source] = (),
) -> Begun:
    """Checks what is cheap to check, then opens sources and front ends. `sources` take the place of the settings' own."""
    _check_outputs(settings)
    address = parse_address(settings.metrics, public=settings.metrics_public) if settings.metrics else None
    secrets = {field: os.environ.get(name, "") for field, name in SECRETS.items()}
    transports = transports_to(settings.mqtt, settings.webhook, secrets, home_assistant=settings.home_assistant)
    manifest = load_manifest(settings.model)
    fixed = fixed_point(settings, manifest)
    with ExitStack() as undo:
        sources = sources or _opened(settings, undo)
        metrics = Metrics(*address) if address else None
        if metrics:
            undo.callback(metrics.close)
        source = sources[0] if len(sources) == 1 else Group(sources, names_of(sources))
        if not source.live and not fixed:
            fixed = best_point(manifest)._replace(engine=one_engine(settings))
        views = _views(settings, manifest, sources, undo)
        controls = controls or Controls(settings.frame_budget_ms)
        if not source.live:
            controls.lift_deadline()
        people = People(manifest.genders, manifest.expressions)
        pipeline = Pipeline(views, people, controls)
        opened = undo.pop_all()
    return Begun(
        settings=settings, source=source, manifest=manifest, fixed=fixed, pipeline=pipeline,
        front_ends_ready=[view.front_end_ready for view in views], metrics=metrics, transports=transports, opened=opened,
    )  # fmt: skip


def _check_outputs(settings: Settings) -> None:
    for path in settings.written.values():
        check_writable(path)
    if settings.output:
        check_annotated_name(settings.output)
    if settings.results:
        check_results_name(settings.results)


def _opened(settings: Settings, undo: ExitStack) -> list[Source]:
    """All sources of a run. Raises SourceError, and UsageError for a file beside a camera."""
    playing = Playing(loop=settings.loop, realtime=settings.realtime, selection=_selection(settings))
    wishes = Wishes(size=settings.camera_pixels, fps=settings.camera_fps, exposure_ms=settings.camera_exposure_ms)
    watching = Watching(reconnect_s=settings.reconnect_s, wait_for_it=settings.wait_for_source, wishes=wishes)
    sources: list[Source] = []
    for spec in settings.cameras:
        sources.append(open_source(spec, playing, watching))
        undo.callback(sources[-1].close)
    if len(sources) > 1 and (file := next((s for s in sources if not s.live), None)):
        raise UsageError(f"{file.name} is a file: beside cameras it is played at its own rate, so add --realtime")
    return sources


def _views(settings: Settings, manifest: Manifest, sources: Sequence[Source], undo: ExitStack) -> list[View]:
    """A front end for each source; people's ids differ between them, and the second looks share their part of a core."""
    several = len(sources)
    views: list[View] = []
    if several > 1:
        settings = dataclasses.replace(settings, look_share=max(settings.look_share / several, LEAST_LOOK_SHARE))
    names = names_of(sources) if several > 1 else [""]
    for number, (name, source) in enumerate(zip(names, sources, strict=True), start=1):
        # There is no second look at a single picture that could confirm its faces.
        alone = not source.live and source.frame_count == 1
        tracker = AtOnce() if alone else Tracker(number, several)
        make = partial(make_front_end, settings, manifest.template, source.live, tracker)
        # Live, so that landmarks do not hold up window and network; a file loses nothing by waiting.
        calm = None if settings.every_frame else Calm()
        front_end = FrontEndProcess(make, calm) if source.live else make()
        undo.callback(front_end.close)
        ready = Once(front_end.ready if isinstance(front_end, FrontEndProcess) else lambda: None)
        protect = protection(settings.privacy)
        views.append(View(source=source, front_end=front_end, name=name, front_end_ready=ready, protect=protect))
    return views


def load(
    begun: Begun,
    progress: Callable[[int, int], None] | None = None,
    *,
    wrap: Callable[[Engine], Engine] = lambda engine: engine,
    watch: Sequence[Sink] = (),
    engine: Engine | None = None,
    keep_engine: bool = False,
) -> App:
    """Loads the network's first point and measures it where its times are not known, opens what is written, and equips the
    pipeline, which may run already; the other points are loaded, and measured, behind the run.

    What `wrap` makes of the engine is what runs; `watch` are given every result too. `engine` is one that is loaded already, of
    the same settings and points. It is closed with the pipeline unless it was given, or is to be kept for the next run. On
    failure everything is closed.
    """
    settings, source, manifest, fixed = begun.settings, begun.source, begun.manifest, begun.fixed
    pipeline, own = begun.pipeline, engine is None
    with begun.opened as undo:
        if engine is None:
            points = [fixed] if fixed else candidates(manifest)
            engine = open_engine(manifest, settings.device, settings.threads, points=points, server=settings.server)
            undo.callback(engine.close)
        policy: Policy = Fixed(fixed) if fixed else _rule(settings, pipeline)
        network = open_network(settings, source, manifest, policy, engine, progress)
        if fixed and fixed.engine == SERVER and not network.server:
            policy = Fixed(fixed._replace(engine=""))
        for ready in begun.front_ends_ready:
            ready()
        names = [camera.name for camera in pipeline.cameras]
        sinks, log = outputs(settings, source, names, network, policy, undo)
        senders: Sequence[Sender] = ()
        if begun.transports:
            told = announcer(begun.transports, pipeline.faults.remark, live=source.live, cameras=names)
            undo.callback(told.close)
            sinks.append(told)
            senders = told.senders
        scheduling, loading = network.scheduling(policy, pipeline, wrap, close_engine=own and not keep_engine)
        if metrics := begun.metrics:
            metrics.senders = senders
            about = {"network": manifest.name, "provider": engine.provider, "exit": settings.exit}
            metrics.watch(pipeline.totals, scheduling.latency, pipeline.cameras, about)
            sinks.append(metrics)
        pipeline.equip(scheduling, Outlets(sinks=[*sinks, *watch], log=log))
        loading.start()
        undo.pop_all()
    return App(settings, source, network, pipeline, metrics, senders, missing_detector(settings.detector))


def _rule(settings: Settings, pipeline: Pipeline) -> Policy:
    """What `--policy` and `--economy` ask for."""
    if settings.policy == "deepest-that-fits":
        return DeepestThatFits()
    rule = ValuePerPerson(period_ms=_period_ms(settings, pipeline))
    return dataclasses.replace(rule, least=rule.least * settings.economy)


def _period_ms(settings: Settings, pipeline: Pipeline) -> float:
    """From one round to the next. Cameras' frames come in between each other's, and a round should not take longer than until
    the next one; but with many cameras they wait for each other anyway, so a third of the budget is better used."""
    rates = [camera.source.fps or FALLBACK_FPS for camera in pipeline.cameras]
    if len(rates) == 1:
        return 1000 / rates[0]
    return min(1000 / max(rates), max(1000 / sum(rates), settings.frame_budget_ms / 3))


def _selection(settings: Settings) -> Selection:
    """Raises UsageError."""
    try:
        return Selection(start_s=settings.start or 0.0, end_s=settings.end, every=settings.every or "")
    except ValueError as error:
        raise UsageError(f"--start, --end, --every: {error}") from error
