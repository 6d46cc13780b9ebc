"""Mends a remembered profile that was measured beside other work: measured again, little by little, while nobody is in view."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from scheduler.profile import Profile

MOST_TRIES = 3  # on a machine that is never quiet it would go on for ever
# Of all times over their medians, the 95 % quantile: above it a profile was measured beside other work.
STEADY_TAIL = 1.6


class Mender:
    """Called when there is nothing to read. Each call makes one batch, some milliseconds; after a whole measurement that was
    steady it hands that over and rests, as it does after MOST_TRIES others. The run keeps the profile that it has, so that
    its log replays."""

    def __init__(
        self, measure: Callable[[], Generator[None, None, Profile]], remember: Callable[[Profile], None]
    ) -> None:
        self._measure, self._remember = measure, remember
        self._steps: Generator[None, None, Profile] | None = measure()
        self._tries = 1

    def __call__(self) -> None:
        if self._steps is None:
            return
        try:
            next(self._steps)
        except StopIteration as measured:
            steady = measured.value.tail <= STEADY_TAIL
            self._steps = None if steady or self._tries == MOST_TRIES else self._measure()
            self._tries += 1
            if steady:
                self._remember(measured.value)
