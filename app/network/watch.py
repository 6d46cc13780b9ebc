"""Whether a server is there. One that is out is asked by a thread, less and less often, until it is back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from app.network.engine import Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_S, MOST_S = 0.25, 30.0  # between two tries; each is twice the one before it
STEADY_S = 10.0  # after which a server that was back is trusted as before


class Watch:
    """Begins as there."""

    def __init__(self, ask: Callable[[], None], chance: Callable[[], float], clock: Callable[[], float]) -> None:
        """`ask` raises Unanswered; `chance` gives numbers in [0, 1), so that forty kiosks do not ask at once."""
        self._ask, self._chance, self._clock = ask, chance, clock
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._wait_s, self._back_s = FIRST_S, clock()
        self.there, self.text = True, ""
        self.losses = 0

    def lost(self, text: str) -> None:
        """Any thread may say so."""
        with self._lock:
            if not self.there or self._closing.is_set():
                return
            if self._clock() - self._back_s > STEADY_S:
                self._wait_s = FIRST_S
            self.text, self.there, self.losses = text, False, self.losses + 1
            self._thread = threading.Thread(target=self._run, name="server", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closing.wait(self._wait_s * (0.5 + self._chance())):
            self._wait_s = min(2 * self._wait_s, MOST_S)
            try:
                self._ask()
            except Unanswered as error:
                self.text = str(error)
                continue
            self._back_s = self._clock()
            self.there = True
            return

    def close(self) -> None:
        """Ends the thread at its next step; it is not waited for where it hangs in a request."""
        self._closing.set()
        thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join(1.0)
