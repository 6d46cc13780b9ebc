"""What a live run survives. A kiosk goes on without a file that its full disk does not take and past a frame that the
network fails on; a run over a file ends there, for its answer would not be whole.

Each fault is counted, and told and logged once per streak: a network that fails thirty times a second must not fill the
disk with saying so.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from app.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.log import FrameRecord, LogWriter

# Failures in a row of one part, after which a live run ends too: about ten seconds of a camera's frames.
PATIENCE = 300

NETWORK, FRONT_END, OUTPUT, LOG = "network", "front end", "output", "latency log"


class Faults:
    """Counts by part, and how many in a row. Threads may share it."""

    def __init__(self, survives: bool) -> None:
        self._survives, self._lock = survives, threading.Lock()
        self._streaks: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.tell: Callable[[str], None] = lambda text: None
        self.note: Callable[[str, str], None] = lambda part, text: None  # into the latency log

    def survive(self, part: str, error: Exception) -> None:
        """Raises the error again where the run has to end."""
        with self._lock:
            self.counts[part] += 1
            self._streaks[part] += 1
            streak = self._streaks[part]
        if not self._survives or streak > PATIENCE:
            raise error
        if streak == 1:
            text = str(error) if isinstance(error, OutputError) else f"{type(error).__name__}: {error}"
            self.note(part, text)
            self.tell(f"{part} failed: {text}")

    def remark(self, part: str, text: str) -> None:
        """Tells and logs what no loop noticed: something beside the run that does not work, or works again."""
        self.note(part, text)
        self.tell(text)

    def well(self, part: str) -> None:
        """It worked: the next failure is reported again."""
        if self._streaks[part]:
            with self._lock:
                self._streaks[part] = 0


class Diary:
    """A latency log whose file may fail: then it is given up, once, and the run goes on without. Threads may share it."""

    def __init__(self, log: LogWriter, faults: Faults, keep: Callable[[Exception], None]) -> None:
        self._log: LogWriter | None = log
        self._lock = threading.Lock()  # each line is whole before the next begins
        self._faults, self._keep = faults, keep

    def frame(self, record: FrameRecord) -> None:
        self._write(lambda log: log.frame(record))

    def drop(self, frame_id: int, cause: str, camera: str = "") -> None:
        self._write(lambda log: log.drop(frame_id, cause, camera))

    def event(self, name: str, **details: object) -> None:
        self._write(lambda log: log.event(name, **details))

    def close(self) -> None:
        with self._lock:
            log, self._log = self._log, None
            if log:
                log.close()

    def _write(self, write: Callable[[LogWriter], None]) -> None:
        with self._lock:
            if self._log is None:
                return
            try:
                write(self._log)
                return
            except OutputError as error:
                failure = error
                log, self._log = self._log, None
                with suppress(OutputError):
                    log.close()
        # Outside the lock: survive() notes the fault in this very log, which is given up by now.
        self._keep(failure)
        self._faults.survive(LOG, failure)
