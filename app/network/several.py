"""Several engines as one: an operating point names the one that reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from app.domain import Reading
    from app.network.engine import Engine
    from scheduler.profile import OperatingPoint

JOINED = " + "


class Several:
    """The points of all `engines`, which must differ. `provider` names them, in order."""

    pads = False

    def __init__(self, engines: Sequence[Engine], measured: Sequence[int], note: str = "") -> None:
        """`measured` are the numbers of faces that a profile has times for: what one engine needs, all are measured at."""
        self.engines = tuple(engines)
        self.provider = JOINED.join(e.provider for e in engines)
        self.note = note or "; ".join(e.note for e in engines if e.note)
        self.points = tuple(p for e in engines for p in e.points)
        self.buckets = tuple(measured)
        self.threads = getattr(engines[0], "threads", 1)
        self._engine = {p: e for e in engines for p in e.points}
        if len(self._engine) != len(self.points):
            raise ValueError("two engines have the same operating point")

    @property
    def ready(self) -> tuple[OperatingPoint, ...]:
        return tuple(p for e in self.engines for p in e.ready)

    def load(self, point: OperatingPoint) -> None:
        self._engine[point].load(point)

    def read(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[Reading]:
        return self._engine[point].read(point, faces)

    def part(self, point: OperatingPoint) -> Engine:
        """The one that has the point."""
        return self._engine[point]

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
