"""A live run answers as soon as one operating point is loaded; the others are loaded behind it.

The first is the one that the policy takes for a few faces, by the remembered profile or else by multiply-adds. Then comes
whatever is nearest on the front to the point that was chosen last, so that a crowd finds cheaper points soon, and one person
dearer ones.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from app.errors import DeviceError, ModelError
from scheduler.latency import LatencyModel
from scheduler.load import Load
from scheduler.rules import policy_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.network.engine import Engine
    from scheduler.policy import Policy
    from scheduler.profile import OperatingPoint, Profile

FEW = 3  # faces that the first point is chosen for
LEFT = 0.6  # share of the budget that it is chosen for: the front end takes some
CLOSE_S = 5.0  # for a point that is being loaded


def first_of(engine: Engine, policy: Policy, profile: Profile, budget_ms: float) -> OperatingPoint:
    """The point to begin with. An engine that has loaded one already begins with that."""
    if engine.ready:
        return engine.ready[0]
    fresh = policy_from_json(policy.to_json())
    return fresh(Load(FEW, LEFT * budget_ms, new=FEW), LatencyModel(profile)).point


def nearest(
    points: Sequence[OperatingPoint], front: Sequence[OperatingPoint], chosen: OperatingPoint
) -> OperatingPoint:
    """The point of `points` to load next: those on the front first, and of them the one that is the fewest places away."""
    place = {point: i for i, point in enumerate(front)}
    here = place.get(chosen, 0)
    return min(points, key=lambda p: abs(place[p] - here) if p in place else len(place))


class Loading:
    """Makes the points of an engine ready, on a thread of its own. One that fails is reported and left out."""

    def __init__(
        self,
        engine: Engine,
        profile: Profile,
        chosen: Callable[[], OperatingPoint | None],
        allow: Callable[[Sequence[OperatingPoint]], None],
        tell: Callable[[str], None],
    ) -> None:
        """`allow` is given each point that is ready."""
        self._engine, self._front, self._chosen = engine, profile.front, chosen
        self._allow, self._tell = allow, tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loading", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def done(self) -> bool:
        """Whether everything that can be loaded is."""
        return not self._thread.is_alive()

    def close(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        engine = self._engine
        left = [p for p in engine.points if p not in engine.ready]
        while left and not self._stopping.is_set():
            point = nearest(left, self._front, self._chosen() or engine.ready[0])
            left.remove(point)
            try:
                engine.load(point)
                self._allow([point])
            except ModelError as error:
                self._tell(f"operating point {point} is left out: {error}")
            except DeviceError as error:
                self._tell(f"{1 + len(left)} operating points are left out: {error}")
                return
