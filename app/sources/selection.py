"""Which pictures of a file are wanted: from when, until when, and how many of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

EVERY = re.compile(r"(?P<seconds>\d+(\.\d+)?|\.\d+)s?|(?P<nth>[1-9]\d*)(st|nd|rd|th)")
SLACK_S = 1e-6  # times of files are sums of fractions


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Times in seconds since the file's first picture. Raises ValueError for nonsense."""

    start_s: float = 0.0
    end_s: float | None = None
    every: str = ""  # "0.5": one picture every half second at most; "10th": every tenth picture; "": all

    def __post_init__(self) -> None:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"the end, {self.end_s:g} s, must come after the start, {self.start_s:g} s")
        if (self.every and not (match := EVERY.fullmatch(self.every))) or (
            self.every and float(match["seconds"] or 1) <= 0
        ):
            raise ValueError(
                f"every must be seconds such as 0.5, or 10th for every tenth picture, got {self.every[:40]!r}"
            )

    def chooser(self) -> Chooser:
        return Chooser(self)


class Chooser:
    """Asked about one picture after the other."""

    def __init__(self, selection: Selection) -> None:
        self._selection, self._seen = selection, 0
        match = EVERY.fullmatch(selection.every) if selection.every else None
        self._step_s = float(match["seconds"]) if match and match["seconds"] else 0.0
        self._nth = int(match["nth"]) if match and match["nth"] else 1
        self._next_s = selection.start_s

    def wants(self, time_s: float) -> bool:
        if time_s < self._selection.start_s - SLACK_S:
            return False
        if self._step_s:
            if time_s < self._next_s - SLACK_S:
                return False
            steps = int((time_s - self._selection.start_s + SLACK_S) // self._step_s)
            self._next_s = self._selection.start_s + (steps + 1) * self._step_s
            return True
        self._seen += 1
        return (self._seen - 1) % self._nth == 0

    def is_over(self, time_s: float) -> bool:
        return self._selection.end_s is not None and time_s >= self._selection.end_s - SLACK_S
