"""From settings to a network that answers: its manifest, the points worth having, their times, and what is loaded and measured
behind the run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from align.geometry import Template
from app.errors import ModelError, UsageError
from app.faults import NETWORK
from app.network.beside import Beside
from app.network.calibrate import (
    cached_profile,
    calibrate,
    measuring,
    profile_path,
    remember,
    remembered,
    unmeasured,
)
from app.network.engine import Unanswered, default_threads
from app.network.loading import Loading, first_of
from app.network.mending import STEADY_TAIL, Mender
from app.network.open import load_all
from app.network.probe import probe_of
from app.network.profiles import read_profile
from app.rounds.serving import Scheduling
from app.settings import cache_folder
from models.manifest import Manifest, ManifestError, find_manifest
from scheduler.places import SERVER, latency_model
from scheduler.profile import OperatingPoint, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from app.network.engine import Engine
    from app.network.remote import RemoteEngine
    from app.pipeline import Pipeline
    from app.settings import Settings
    from app.sources.source import Source
    from scheduler.policy import Policy

    Progress = Callable[[int, int], None]

REMEMBERED = "remembered from an earlier run"


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


def fixed_point(settings: Settings, manifest: Manifest) -> OperatingPoint | None:
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
    return OperatingPoint(one.name, max(sizes), engine or one_engine(settings))


def one_engine(settings: Settings) -> str:
    """The engine of a fixed point that does not name one."""
    if settings.server:
        return SERVER
    return "openvino" if settings.device.startswith("openvino") else ""


@dataclass(frozen=True)
class Network:
    """An engine that has its first point loaded, and what is known of its times."""

    settings: Settings
    manifest: Manifest
    engine: Engine
    profile: Profile
    profile_from: str = ""  # for people; "" where nothing had to be measured
    missing: bool = False  # the profile is of the first point alone: the others are to be measured

    def scheduling(
        self, policy: Policy, pipeline: Pipeline, wrap: Callable[[Engine], Engine], *, close_engine: bool
    ) -> tuple[Scheduling, Loading]:
        """For the pipeline, and what loads the other points once it is started."""
        engine, controls = self.engine, pipeline.controls
        remark = partial(pipeline.faults.remark, NETWORK)
        loading = Loading(engine, self.profile, lambda: pipeline.chosen, controls.allow, remark)

        def end() -> None:
            loading.close()
            if close_engine:
                engine.close()

        def measured(profile: Profile) -> None:
            controls.allow(engine.ready, profile)
            if len(profile.points) == len(engine.points):
                self._remember(profile)

        spare: Callable[[bool], None] = lambda busy: None  # noqa: E731
        mended = not (self.settings.profile or self.settings.server)  # a server has others to read for
        if self.missing or (mended and self.profile.tail > STEADY_TAIL):
            spare = Mender(self._measure, measured, missing=self.missing, may_begin=loading.done)
        scheduling = Scheduling(
            engine=wrap(engine), policy=policy, latency=latency_model(self.profile), probe=probe_of(engine),
            spare=spare, end=end, server=self.server,
        )  # fmt: skip
        return scheduling, loading

    @property
    def server(self) -> RemoteEngine | None:
        """The one whose times are known."""
        known = any(p.point.engine == SERVER for p in self.profile.points)
        return self.engine.server if isinstance(self.engine, Beside) and known else None

    def _measure(self) -> Generator[None, None, Profile]:
        return measuring(self.engine, self.manifest, points=self.engine.ready, probe=probe_of(self.engine))

    def _remember(self, profile: Profile) -> None:
        threads = self.settings.threads or default_threads()
        path = profile_path(cache_folder(), self.engine, self.manifest, threads)
        remember(path, profile, self.engine, self.manifest, threads)


def open_network(
    settings: Settings, source: Source, manifest: Manifest, policy: Policy, engine: Engine, progress: Progress | None
) -> Network:
    """Loads the first point, and measures it where its times are not known. Raises UsageError, ModelError and DeviceError."""
    if not (source.live or settings.log or settings.profile or settings.recalibrate):
        engine.load(engine.points[0])
        return Network(settings, manifest, engine, unmeasured(engine, manifest, engine.points))
    if settings.recalibrate:
        load_all(engine, progress)
    known, where = _known(settings, engine, manifest, progress)
    likely = known or unmeasured(engine, manifest, engine.points)
    if settings.server and known:
        return Network(
            settings, manifest, engine, known, where
        )  # what a server's answers are compared with is all loaded
    first = first_of(engine, policy, likely, settings.frame_budget_ms)
    engine.load(first)
    if known:
        return Network(settings, manifest, engine, known, where)
    profile = calibrate(engine, manifest, progress, points=[first], probe=probe_of(engine))
    return Network(
        settings, manifest, engine, profile, f"{first} measured now, the others behind the run", missing=True
    )


def _known(
    settings: Settings, engine: Engine, manifest: Manifest, progress: Progress | None
) -> tuple[Profile | None, str]:
    """The profile out of the file that was named, or this machine's, and where it comes from; None where many points are still
    to be measured. Raises UsageError."""
    threads = settings.threads or default_threads()
    if settings.profile:
        path = Path(settings.profile)
        file = read_profile(path).only(engine.points)
        remark = file.check(path, engine, manifest, threads)
        missing = set(engine.points) - {p.point for p in file.profile.points}
        if missing and len(engine.points) == 1:
            raise UsageError(f"profile {path} lacks {min(missing)}: leave out --profile, or name another --exit")
        return file.profile, f"{path}{', ' if remark else ''}{remark}"
    if not settings.server and not settings.recalibrate and len(engine.points) > 1:
        return remembered(profile_path(cache_folder(), engine, manifest, threads)), REMEMBERED
    measured, note = partial(load_profile, engine, manifest, settings.threads, settings.recalibrate, progress), ""
    try:
        profile, was_known = measured()
    except Unanswered as error:
        assert isinstance(engine, Beside)
        profile, was_known = measured(points=engine.local.points)
        note = f"; the server cannot be measured and is not used in this run: {error}"
    return profile, (REMEMBERED if was_known else "measured now") + note
