"""What systemd is told about a run (sd_notify(3)): that it is ready, its state, that it is alive. Elsewhere does nothing."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from app.domain import SourceState

if TYPE_CHECKING:
    from app.domain import Result
    from app.sources.source import Source
    from app.totals import Totals

EVERY_S = 5.0


def notify(text: str) -> None:
    """Sends to the manager that started this process, where one asked for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError, AttributeError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


class Heart:
    """Tells systemd that the run is alive: results come, or a lost source is being looked for. Else systemd kills it."""

    def __init__(
        self,
        totals: Totals,
        latest: Callable[[], Result | None],
        source: Source,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._totals, self._latest, self._source, self._clock = totals, latest, source, clock
        self._next_s, self._frames = clock(), -1

    def beat(self) -> None:
        """Call often; it acts every EVERY_S seconds."""
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + EVERY_S
        status, frames, result = self._source.status(), self._totals.frames, self._latest()
        lost = status.state is SourceState.LOST
        if frames == self._frames and not lost:
            return
        self._frames = frames
        doing = f"source lost: {status.text}" if lost else "waiting for the first picture"
        if result and not lost:
            doing = f"{result.stats.fps:.1f} fps, {result.stats.misses} of {frames} frames missed"
        notify(f"READY=1\nWATCHDOG=1\nSTATUS={doing}")
