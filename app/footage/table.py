"""The one table of several files: their results in the files' order, however many are read at once."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from app.domain import Result
    from app.outputs.results import Writer

HELD = 2_000  # results of a file whose turn has not come; then it waits
NO_PICTURE = np.empty((0, 0, 3), np.uint8)


class Table:
    """Threads share it; each file's results come from one of them, and files are begun in their order."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._changed = writer, threading.Condition()
        self._turn, self._stopped = 0, False
        self._held: dict[int, list[tuple[Result, str]]] = {}
        self._done = set[int]()

    def deliver(self, number: int, result: Result, name: str) -> None:
        """Takes a result of the file with that number, from 0. Raises OutputError."""
        with self._changed:
            if number != self._turn:
                held = self._held.setdefault(number, [])
                self._changed.wait_for(lambda: self._turn == number or len(held) < HELD or self._stopped)
            if number == self._turn:
                self._writer.deliver(result, name)
            else:
                light = dataclasses.replace(result.frame, image=NO_PICTURE)
                held.append((dataclasses.replace(result, frame=light), name))

    def done(self, number: int) -> None:
        """No more of this file. Raises OutputError."""
        with self._changed:
            self._done.add(number)
            while self._turn in self._done:
                self._turn += 1
                for result, name in self._held.pop(self._turn, ()):
                    self._writer.deliver(result, name)
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody waits for a turn any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        self._writer.close()
