"""How a run is asked to end."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# `timeout`, shells and the kernel send two or three signals at once, and closing a video may take some seconds.
GRACE_S = 5.0
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def ends_on_signals(stop: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal ask the run to end. What comes within GRACE_S is the same wish; later a further
    one kills as usual. A signal that the parent has set to be ignored, as `nohup` does, stays ignored."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    asked_s: list[float] = []

    def end(number: int, _: object) -> None:
        if not asked_s:
            asked_s.append(clock())
            # On a thread: the handler may have interrupted somebody who holds the very locks that stop() needs.
            threading.Thread(target=stop, name="stop", daemon=True).start()
        elif clock() - asked_s[0] > GRACE_S:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
