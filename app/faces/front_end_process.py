"""The front end in a process of its own, for live sources: it needs the interpreter's lock, as window and network do
(docs/decisions/0009-the-front-end-has-its-own-process.md).

A frame's pixels go over in shared memory, everything else through a pipe, one question and one answer at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import os
import signal
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from app.domain import Frame
from app.errors import AppError, DeviceError, InternalError
from app.faces.front_end import FrameFaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from app.domain import Box
    from app.faces.calm import Calm
    from app.faces.front_end import FrontEnd

STOP_S = 2.0
SPARED = 3  # pictures of an empty room that are not searched, one after another
READY, FIND = "ready", "find"
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class FrontEndEnded(InternalError):
    """The other process is gone."""


class FrontEndProcess:
    """Has FrontEnd's interface. `make` builds the front end over there; it must be picklable.

    Where the process dies, for lack of memory say, the frame that meets it fails with FrontEndEnded and the next one finds
    a new process, which knows nobody yet.
    """

    def __init__(self, make: Callable[[], FrontEnd], calm: Calm | None = None) -> None:
        """Only begins to start; see `ready`. With `calm` a room where nobody is and nothing moves is searched at a slower
        pace, and only some of its pictures go over at all."""
        cv2.setNumThreads(1)  # OpenCV's helpers spin while they wait: 4 % of a core in an empty room
        self._make, self._calm = make, calm
        self._places: Sequence[Box] = ()  # of the last answer
        self._empty = False
        self._spared = 0
        self._memory: SharedMemory | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._make), name="capture", daemon=True)
        with _held():
            self._process.start()
        theirs.close()

    def ready(self) -> None:
        """Waits until the process has started. Raises what `make` raised."""
        self._ask(READY)

    def __call__(self, frame: Frame) -> FrameFaces:
        if not self._process.is_alive():
            self._pipe.close()
            self._start()
        pace = self._calm(frame.image, frame.time_s, self._places) if self._calm else 1.0
        if pace < 1 and self._empty and self._spared < SPARED:
            self._spared += 1
            return FrameFaces(frame, (), (), set(), {"follow": 0.0, "find": 0.0, "align": 0.0}, still=True)
        memory, self._spared = self._room(frame.image.nbytes), 0
        np.copyto(_pixels(memory, frame.image.shape), frame.image)
        about = frame.id, frame.time_s, frame.born_s, frame.budget_ms, pace
        found = FrameFaces(frame, *self._ask(FIND, memory.name, frame.image.shape, about))
        self._places, self._empty = found.places, not found.places and not found.alive
        return found

    def close(self) -> None:
        self._pipe.close()  # the process then ends by itself
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._free()

    def _ask(self, *question: object) -> Any:
        try:
            self._pipe.send(question)
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(STOP_S)
            raise FrontEndEnded(
                "the process that finds faces has ended. This is a fault of the program or a lack of memory; start again"
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _room(self, size: int) -> SharedMemory:
        if self._memory is None or self._memory.size < size:
            self._free()
            try:
                self._memory = SharedMemory(create=True, size=size)
                _reserve(self._memory)
            except OSError as error:
                self._free()
                raise DeviceError(
                    f"/dev/shm has no room for a picture of {size / 1e6:.1f} MB: {error.strerror or error}. In a container "
                    "give it more, as in `docker run --shm-size 256m`; elsewhere remove what fills it"
                ) from error
        return self._memory

    def _free(self) -> None:
        if self._memory is not None:
            memory, self._memory = self._memory, None
            memory.close()
            memory.unlink()


@contextlib.contextmanager
def _held() -> Iterator[None]:
    """A process that is started in here gets signals only once it ignores them; one that stops a service while it starts would
    end it, and look like a fault."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reserve(memory: SharedMemory) -> None:
    """Takes the pages now. If the system could not give them later, a bus error would end both processes."""
    if hasattr(os, "posix_fallocate"):
        with open(f"/dev/shm/{memory.name}", "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, memory.size)


def _pixels(memory: SharedMemory, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(memory.buf, np.uint8, math.prod(shape)).reshape(shape)


def _serve(pipe: Connection, make: Callable[[], FrontEnd]) -> None:
    """The other process: answers until the pipe is closed. Signals are the first process's business: a terminal and a service
    manager send them to both."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # see _held
    with contextlib.suppress(EOFError, OSError):
        try:
            front_end = make()
        except AppError as error:
            pipe.recv()
            pipe.send(error)
            return
        try:
            _answer(pipe, front_end)
        finally:
            front_end.close()


def _answer(pipe: Connection, front_end: FrontEnd) -> None:
    memory: SharedMemory | None = None
    while True:
        what, *about = pipe.recv()
        answer: object = None
        try:
            if what == FIND:
                if memory is None or memory.name != about[0]:
                    memory = SharedMemory(about[0])
                answer = _find(front_end, memory, *about[1:])
        except Exception as error:
            answer = InternalError(
                f"the front end failed: {type(error).__name__}: {error}. This is a fault of the program; please report it"
            )
        pipe.send(answer)


def _find(
    front_end: FrontEnd, memory: SharedMemory, shape: tuple[int, ...], about: tuple[int, float, float, float, float]
) -> tuple[object, ...]:
    """`about`: the frame's id, time_s, born_s and budget_ms; the pace."""
    frame_id, *times, front_end.pace.now = about
    found = front_end(Frame(frame_id, _pixels(memory, shape), *times))
    return tuple(getattr(found, field.name) for field in dataclasses.fields(found) if field.name != "frame")
