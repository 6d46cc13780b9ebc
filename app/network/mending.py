"""Measures a profile beside a live run, little by little: where there is none yet, and where the remembered one was measured
beside other work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from scheduler.profile import Profile

MOST_TRIES = 3  # on a machine that is never quiet it would go on for ever
# Of all times over their medians, the 95 % quantile: above it a profile was measured beside other work.
STEADY_TAIL = 1.6
# How long it goes on after a frame while there is no profile; a batch that was begun is finished.
SLICE_S = 0.01


class Mender:
    """Called after every frame. Without a profile it measures after each, as soon as it may; then, or with one, a batch at a
    time while nobody is in view, until a whole measurement was
    steady, or MOST_TRIES were not."""

    def __init__(
        self,
        measure: Callable[[], Generator[None, None, Profile]],
        done: Callable[[Profile], None],
        *,
        missing: bool = False,
        may_begin: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`measure` begins a measurement; `done` is given a profile that is worth having."""
        self._measure, self._done, self._clock = measure, done, clock
        self._missing, self._may_begin, self._rests, self._tries = missing, may_begin, False, 0
        self._steps: Generator[None, None, Profile] | None = None

    def __call__(self, busy: bool = False) -> None:
        if self._rests or (busy and not self._missing):
            return
        if self._steps is None:
            if not self._may_begin():
                return
            self._steps = self._measure()
        until_s = self._clock() + (SLICE_S if self._missing else 0)
        try:
            next(self._steps)
            while self._clock() < until_s:
                next(self._steps)
        except StopIteration as measured:
            steady = measured.value.tail <= STEADY_TAIL
            if steady or self._missing:
                self._done(measured.value)
            self._tries += 1
            self._steps, self._missing, self._rests = None, False, steady or self._tries == MOST_TRIES
