"""From settings to where results go: files, and the latency log."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from app.files import TextFile
from app.mailbox import WhenFull
from app.network.engine import default_threads
from app.network.profiles import machine
from app.outputs.events import EventsWriter
from app.outputs.formats import results_writer
from app.outputs.sound import Sound
from app.outputs.video import VideoWriter
from app.sources.files import FileSource
from scheduler.latency import LatencyModel
from scheduler.log import LogWriter

if TYPE_CHECKING:
    from contextlib import ExitStack

    from app.compose.networks import Network
    from app.pipeline import Sink
    from app.settings import Settings
    from app.sources.source import Source
    from scheduler.policy import Policy


def outputs(
    settings: Settings, source: Source, network: Network, policy: Policy, undo: ExitStack
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
    file = TextFile(settings.log)
    undo.callback(file.close)
    return sinks, LogWriter(file, _header(settings, source, network, policy))


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
        "correction": LatencyModel(profile).to_json(),
    }


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
