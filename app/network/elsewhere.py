"""A server as the frames' loop meets it: whether its points may be chosen, how long a request may take, what is noted of it.

One thread asks all of this, between and within its frames; the server's own state may change at any time (watch.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from scheduler.places import SERVER, Places, offer

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.latency import LatencyModel
    from scheduler.load import Decision, Load


class Server(Protocol):
    """What is known of a server beside its answers."""

    @property
    def there(self) -> bool:
        """Whether it may be asked."""
        ...

    @property
    def text(self) -> str:
        """For people: why it is out."""
        ...

    def before(self, left_ms: float, newcomers: int) -> None:
        """Says of the next batch after how many milliseconds it is late, and how many of its people were never read."""
        ...


class Elsewhere:
    """`note` takes an event's name and details, `tell` a sentence; both may be changed. None: there is no server."""

    def __init__(self, server: Server | None, latency: LatencyModel, clock: Callable[[], float]) -> None:
        self._server, self._latency, self._clock = server, latency, clock
        self._offered, self._known = True, True
        self._out_s = 0.0  # since when
        self.note: Callable[..., None] = lambda name, **details: None
        self.tell: Callable[[str], None] = lambda text: None
        self.unanswered = self.losses = 0

    @property
    def there(self) -> bool | None:
        """Whether it may be chosen in this frame; None: there is no server."""
        return self._known if self._server else None

    def heed(self) -> None:
        """Between two frames: a server that is out is not chosen, one that is back is."""
        if self._server is None:
            return
        there = self._server.there
        self._offer(there)
        if there == self._known:
            return
        self._known = there
        if there:
            self.tell(f"server back after {self._clock() - self._out_s:.0f} s")
            return
        self._out_s, self.losses = self._clock(), self.losses + 1
        self.tell(f"server out: {self._server.text}. Faces are read here until it answers again")

    def before(self, decision: Decision, load: Load, newcomers: int) -> None:
        """Gives a batch that the server is to read its time."""
        if self._server and decision.point.engine == SERVER:
            latency = self._latency
            limit_ms = latency.limit_ms(decision, load) if isinstance(latency, Places) else load.left_ms
            self._server.before(limit_ms, newcomers)

    def failed(self, decision: Decision, load: Load, waited_ms: float, *, first: bool) -> float:
        """The batch was not answered. Returns how long it counts to have taken: no less than usual. After the first batch of a
        frame, the server is not chosen in this frame again."""
        self.unanswered += 1
        point, faces = decision.point, decision.serve
        took_ms = self._latency.unanswered(point, faces, waited_ms) if isinstance(self._latency, Places) else waited_ms
        left_ms = load.left_ms if math.isfinite(load.left_ms) else None
        self.note("unanswered", **point.to_json(), faces=faces, left_ms=left_ms, took_ms=took_ms, first=first)
        self._latency.observe(point, faces, took_ms, load)
        if first:
            self._offer(False)
        return took_ms

    def _offer(self, there: bool) -> None:
        if there != self._offered:
            self._offered = there
            offer(self._latency, there)
            self.note("server", there=there)
