"""Telling the user, without ever ending a run: a stream may be full, closed, gone, blocked, or lack a letter."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from app.mailbox import Closed, Mailbox, WhenFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a stream raises: OSError (full, a broken pipe, a terminal that is gone), ValueError (closed; a letter that it lacks).
TROUBLE = (OSError, ValueError)
WAITING = 100  # messages for a stream that somebody has stopped reading; older ones are dropped
LAST_WORDS_S = 1.0


def open_streams() -> None:
    """Gives the process the three streams that it may have been started without, or else a file that the run writes would take
    their numbers. What a stream cannot spell is written as \\u escapes."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "w", errors="backslashreplace", closefd=False))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """A file's name, say, on one line: what cannot be printed is written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def complain(text: str) -> None:
    """To stderr, or nowhere."""
    with suppress(*TROUBLE):
        print(text, file=sys.stderr)


class Untroubled:
    """A text stream whose errors are swallowed."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with suppress(*TROUBLE):
            return self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(*TROUBLE):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def untroubled() -> Iterator[None]:
    """Inside this context printing raises nothing; nor does Python when it flushes at its end."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Untroubled(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            try:
                stream.flush()
            except TROUBLE:
                with suppress(*TROUBLE):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Teller:
    """Passes messages on from a thread of its own: the caller never waits for a reader."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._box: Mailbox[str] = Mailbox(WAITING, WhenFull.DROP_OLDEST)
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)
        self._thread.start()

    def __call__(self, text: str) -> None:
        with suppress(Closed):
            self._box.put(text)

    def close(self) -> None:
        """Leaves it a moment for what is still to be told."""
        self._box.close()
        self._thread.join(LAST_WORDS_S)

    def _run(self) -> None:
        with suppress(Closed):
            while True:
                text = self._box.get()
                with suppress(*TROUBLE):
                    self._write(text)
