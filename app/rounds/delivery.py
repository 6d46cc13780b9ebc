"""Where results go: sinks, one after the other, of which a live run survives the failure of any."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.errors import OutputError
from app.faults import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.domain import Result
    from app.faults import Diary, Faults
    from scheduler.log import LogWriter


class Sink(Protocol):
    """Takes every result, in order, on the infer loop's thread. Returns one that it had to drop, if any."""

    def deliver(self, result: Result) -> Result | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Outlets:
    """Where results go."""

    sinks: Sequence[Sink] = ()
    log: LogWriter | None = None


class Keep(Protocol):
    """Keeps the run's first failure."""

    def __call__(self, error: Exception) -> bool:
        """True where the run itself reports this one."""
        ...


class Delivery:
    """Hands results to the sinks."""

    def __init__(self, sinks: Sequence[Sink], log: Diary | None, faults: Faults, keep: Keep) -> None:
        self.sinks, self._log, self._faults, self._keep = tuple(sinks), log, faults, keep

    def __call__(self, result: Result) -> list[Result]:
        """To every sink. Returns what had to be dropped. A sink that fails in a live run is completed as far as it goes."""
        out = []
        for sink in self.sinks:
            try:
                dropped = sink.deliver(result)
            except OutputError as error:
                self._faults.survive(OUTPUT, error)
                self._keep(error)
                self.sinks = tuple(s for s in self.sinks if s is not sink)
                with suppress(OutputError):
                    sink.close()
                self._faults.well(OUTPUT)
            else:
                out += [dropped] if dropped else []
        return out

    def close(self) -> None:
        """Completes and closes every sink and the log."""
        for sink in (*self.sinks, *((self._log,) if self._log else ())):
            try:
                sink.close()
            except Exception as error:  # the others are to be completed all the same
                if not self._keep(error):
                    self._faults.tell(f"{OUTPUT} failed: {error}")
