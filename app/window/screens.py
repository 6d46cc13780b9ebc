"""Which screen the window is on: chosen by number or name, and followed when screens come, go or change their size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from PyQt5.QtGui import QGuiApplication

from app.errors import DisplayError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK_S = 0.5  # apart: to ask Qt for a screen takes 0.3 ms, which is 2 % of a core at 60 times a second


def chosen(wish: str, screens: Sequence[Any]) -> Any | None:
    """The screen with this number, from 1, or this name; None where it is not there."""
    if wish.isdecimal() and 1 <= int(wish) <= len(screens):
        return screens[int(wish) - 1]
    return next((screen for screen in screens if screen.name().lower() == wish.lower()), None)


def check(wish: str | None) -> None:
    """Raises DisplayError for a screen that is not there, with those that are."""
    screens = QGuiApplication.screens()
    if wish is not None and chosen(wish, screens) is None:
        sizes = [(s.name(), s.size()) for s in screens]
        there = ", ".join(
            f"{i} {name} ({size.width()}x{size.height()})" for i, (name, size) in enumerate(sizes, start=1)
        )
        raise DisplayError(f"--screen {wish[:80]!r} is not there. Screens here: {there or 'none'}")


class Place:
    """Where a full-screen window belongs, from one moment to the next."""

    def __init__(self, wish: str | None) -> None:
        self._wish, self._last, self._asked_s = wish, None, -math.inf

    def screen(self) -> Any:
        """The one that was wished for; while it is away, the first."""
        found = chosen(self._wish, QGuiApplication.screens()) if self._wish else None
        return found or QGuiApplication.primaryScreen()

    def changed(self, now_s: float) -> Any | None:
        """The new geometry, told once and within LOOK_S, where it is another than the last time."""
        if now_s - self._asked_s < LOOK_S:
            return None
        self._asked_s = now_s
        screen = self.screen()
        geometry = screen.geometry() if screen else self._last
        before, self._last = self._last, geometry
        return geometry if before is not None and geometry != before else None
