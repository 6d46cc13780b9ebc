"""One bar for all files, with the time that is left over all of them: by the bytes that are read."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.pipeline import Pipeline

UNKNOWN = 1  # byte of a source that is not a file, such as a stream
BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class Progress:
    """Threads say what begins and ends; one shows it, on stderr."""

    def __init__(self, sources: Sequence[str]) -> None:
        from tqdm import tqdm

        self._sizes = [_size(source) for source in sources]
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Pipeline, int | None]] = {}
        self._done = self._files = self._frames = 0
        show: Callable[..., Any] = tqdm
        total = sum(self._sizes)
        self._bar = show(total=total, bar_format=BAR, file=sys.stderr, dynamic_ncols=True, disable=None)

    def begin(self, number: int, pipeline: Pipeline, frames: int | None) -> None:
        """`frames`: that the file says it has."""
        with self._lock:
            self._running[number] = pipeline, frames

    def end(self, number: int) -> None:
        with self._lock:
            running = self._running.pop(number, None)
            self._frames += running[0].totals.frames if running else 0
            self._done, self._files = self._done + self._sizes[number], self._files + 1

    def state(self) -> tuple[float, int, int]:
        """Bytes, frames and whole files that are read."""
        with self._lock:
            read, frames = float(self._done), self._frames
            for number, (pipeline, promised) in self._running.items():
                now = pipeline.totals.frames
                frames += now
                read += self._sizes[number] * min(1.0, now / promised) if promised else 0.0
            return read, frames, self._files

    def show(self) -> None:
        read, frames, files = self.state()
        self._bar.set_description_str(f"{files}/{len(self._sizes)} files", refresh=False)
        self._bar.set_postfix_str(f"{frames} frames", refresh=False)
        self._bar.update(read - self._bar.n)

    def close(self) -> None:
        self._bar.close()


def _size(source: str) -> int:
    with suppress(OSError, ValueError, RuntimeError):
        return max(UNKNOWN, Path(source).expanduser().stat().st_size)
    return UNKNOWN
