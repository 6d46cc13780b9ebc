"""From settings to where results go: files, and the latency log."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from app.errors import OutputError
from app.files import TextFile
from app.mailbox import WhenFull
from app.network.engine import default_threads
from app.network.profiles import machine
from app.outputs.events import EventsWriter
from app.outputs.formats import results_writer
from app.outputs.picture import PICTURE_SUFFIXES, PictureWriter
from app.outputs.sound import Sound
from app.outputs.video import VideoWriter
from app.settings import CAMERA
from app.sources.files import FileSource
from scheduler.log import LogWriter
from scheduler.places import latency_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from app.compose.networks import Network
    from app.domain import Result
    from app.rounds.delivery import Sink
    from app.settings import Settings
    from app.sources.source import Source
    from scheduler.policy import Policy


class OfOne:
    """A sink for one of several cameras."""

    def __init__(self, camera: str, sink: Sink) -> None:
        self._camera, self._sink = camera, sink

    def deliver(self, result: Result) -> Result | None:
        return self._sink.deliver(result) if result.frame.camera == self._camera else None

    def close(self) -> None:
        self._sink.close()


def outputs(
    settings: Settings, source: Source, cameras: Sequence[str], network: Network, policy: Policy, undo: ExitStack
) -> tuple[list[Sink], LogWriter | None]:
    """Sinks and log, opened last: an existing file is replaced only when everything else stands. `cameras` are the names of
    several, or one "": each has a video of its own, and all share the other files."""
    several = len(cameras) > 1
    sinks: list[Sink] = []

    def add(sink: Sink, camera: str | None = None) -> None:
        sinks.append(sink if not several or camera is None else OfOne(camera, sink))
        undo.callback(sink.close)

    for camera in cameras if settings.output else ():
        path = _named(settings.output, camera) if several else settings.output
        add(_annotated(path, settings, source), camera)
    if settings.results:
        counts_only, named = settings.privacy == "aggregate", "camera" if several else ""
        add(results_writer(settings.results, counts_only=counts_only, named=named))
    for camera in cameras if settings.events else ():
        add(EventsWriter(settings.events, time.time if source.live else None), camera)
    if not settings.log:
        return sinks, None
    file = TextFile(settings.log)
    undo.callback(file.close)
    return sinks, LogWriter(file, _header(settings, source, network, policy))


def _annotated(path: Path, settings: Settings, source: Source) -> Sink:
    if path.suffix.lower() in PICTURE_SUFFIXES:
        if source.live:
            raise OutputError(f"{path}: a picture holds one frame, and {source.name} is live; name a video, as .mp4")
        return PictureWriter(path)
    when_full = WhenFull.DROP_OLDEST if source.live else WhenFull.WAIT
    # An index in front means writing the file once more at the end, for which a live recording may be too long.
    return VideoWriter(path, when_full, index_first=not source.live, sound=_sound(settings, source))


def _header(settings: Settings, source: Source, network: Network, policy: Policy) -> dict[str, Any]:
    manifest, profile = network.manifest, network.profile
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "model": {"name": manifest.name, "sha256": manifest.sha256},
        "settings": {
            "source": type(source).__name__,
            "live": source.live,
            "budget_ms": settings.frame_budget_ms if source.live else None,
            "exit": settings.exit,
            "device": settings.device,
            "provider": network.engine.provider,
            "max_faces": settings.max_faces,
            "threads": settings.threads or default_threads(),
        },
        "policy": policy.to_json(),
        "profile": profile.to_json(),
        "correction": latency_model(profile).to_json(),
    }


def _named(path: Path, camera: str) -> Path:
    """A camera's own file; letters that a file's name may not have become -."""
    return Path(str(path).replace(CAMERA, re.sub(r"[^\w. -]+", "-", camera).strip("- ") or "camera"))


def _sound(settings: Settings, source: Source) -> Sound | None:
    """The sound of a file on disk that is read once; none with --privacy, since voices tell who speaks."""
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
