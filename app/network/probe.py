"""How much slower than usual the machine is at this very moment, asked just before each decision.

On shared servers, on machines that save power and on hot ones there are moments, of a frame or two, in which everything takes
several times as long. The latency model learns of them when the first batch of such a frame is over, which is too late for
that frame. A fixed piece of work that takes some microseconds shows them beforehand: it is slow when everything is.
What it foretells was measured in docs/decisions/0026-a-probe-before-each-decision.md.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.network.engine import Engine

# Additions in a piece of the work: about five microseconds. Two pieces count, and the faster one: another program that
# takes the core for a moment hits one of them, a slow machine both. A third before them wakes the core and is not looked at.
PIECE, WAKING = 60, 30
# Times as slow as usual from which it is more than noise of the clock, and the most that is said.
SLOW, MOST = 1.5, 20.0
# Usual is the median of this many moments: what lasts longer than half of them is the machine, not a moment.
USUAL = 15


class Probe:
    """Times a fixed piece of work against what that usually takes."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._recent = deque((self.measure_s() for _ in range(USUAL)), maxlen=USUAL)

    def __call__(self) -> float:
        """How many times slower than usual this moment is; 0 where it is about as usual."""
        took = self.measure_s()
        self._recent.append(took)
        slower = took / sorted(self._recent)[USUAL // 2]
        return min(slower, MOST) if slower >= SLOW else 0.0

    def measure_s(self) -> float:
        """Seconds that the piece of work takes now."""
        clock = self._clock
        _work(WAKING)
        began = clock()
        _work(PIECE)
        between = clock()
        _work(PIECE)
        return max(min(between - began, clock() - between), 1e-9)


def probe_of(engine: Engine) -> Callable[[], float]:
    """A probe where the network runs on the cores that it looks at, else one that knows nothing."""
    here = [part for part in engine.provider.split(" + ") if not part.startswith("server ")]
    return Probe() if all("CPU" in part for part in here) else lambda: 0.0


def _work(additions: int) -> float:
    total = 0.0
    for i in range(additions):
        total += i
    return total
