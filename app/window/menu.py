"""The operator's menu, for hands without a keyboard: a long press in a corner opens it, and a PIN may lock it.

What it knows of the window is its size; what a finger does comes in, what was chosen goes out. No Qt.
"""

from __future__ import annotations

import hmac
import math
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from app.domain import Box
from app.overlay.style import text_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.overlay.style import Canvas, Theme
    from app.overlay.texts import Texts

LONG_S, CORNER = 1.2, 0.16  # a press is long after this many seconds; a corner's share of the shorter side
STRAYS = 0.5  # a finger may move by this share of a corner
FORGOTTEN_S = 30.0  # without a touch or key the menu closes, and is locked again
TRIES, WAIT_S = 5, 30.0  # wrong PINs in a row, and for how long none is taken after them
BACK, ENTER = "<", "ok"
PAD = ("1", "2", "3", "4", "5", "6", "7", "8", "9", BACK, "0", ENTER)


class Choice(Enum):
    PANEL = "panel"
    HELP = "help"
    END = "end"
    CLOSE = "close"


class Shows(Enum):
    NOTHING = 0
    PIN = 1
    CHOICES = 2


class Button(NamedTuple):
    area: Box
    what: Choice | str


class Menu:
    """One for the window's life. `unlocked` also says whether keys may act."""

    def __init__(self, pin: str | None, clock: Callable[[], float]) -> None:
        self._pin, self._clock = pin, clock
        self.shows, self._typed, self._wrong = Shows.NOTHING, "", 0
        self._pressed: tuple[float, float] | None = None
        self._pressed_s = self._used_s = self._closed_until_s = -math.inf
        self._open = pin is None  # the PIN was given

    @property
    def unlocked(self) -> bool:
        return self._open

    def open(self) -> None:
        """The choices, or what asks for the PIN first."""
        self.shows, self._typed, self._used_s = Shows.CHOICES if self._open else Shows.PIN, "", self._clock()

    def close(self) -> None:
        self.shows, self._typed, self._pressed = Shows.NOTHING, "", None

    def poll(self, width: float, height: float) -> bool:
        """Whether something is to be painted anew: a press became long, or nobody has used it for a while."""
        now_s = self._clock()
        if self._pressed and self.shows is Shows.NOTHING and now_s - self._pressed_s >= LONG_S:
            self._pressed = None
            self.open()
            return True
        if now_s - self._used_s < FORGOTTEN_S:
            return False
        self._open = self._pin is None
        if self.shows is Shows.NOTHING:
            return False
        self.close()
        return True

    def press(self, x: float, y: float, width: float, height: float) -> None:
        corner = CORNER * min(width, height)
        if min(x, width - x) <= corner and min(y, height - y) <= corner:
            self._pressed, self._pressed_s = (x, y), self._clock()

    def move(self, x: float, y: float, width: float, height: float) -> None:
        if self._pressed and math.dist(self._pressed, (x, y)) > STRAYS * CORNER * min(width, height):
            self._pressed = None

    def release(self, x: float, y: float, width: float, height: float, unit: float) -> Choice | None:
        """What was chosen, if anything."""
        opened, self._pressed = self.shows is not Shows.NOTHING, None
        if not opened or self._clock() - self._used_s < 0.3:  # the finger whose long press has opened it
            return None
        for area, what in self.buttons(width, height, unit):
            if area.x <= x <= area.x + area.width and area.y <= y <= area.y + area.height:
                return self._use(what)
        return None

    def type(self, key: str) -> bool:
        """A digit, BACK or ENTER of the keyboard; whether it was meant for the menu."""
        if self.shows is not Shows.PIN or key not in PAD:
            return False
        self._use(key)
        return True

    def buttons(self, width: float, height: float, unit: float) -> list[Button]:
        """From the top left on; a finger is 12 mm wide, which is four letters of a screen 40 cm high."""
        if self.shows is Shows.NOTHING:
            return []
        choices = list(Choice) if self.shows is Shows.CHOICES else PAD
        columns = 1 if self.shows is Shows.CHOICES else 3
        wide, high, gap = (15.0 if columns == 1 else 4.6) * unit, 3.0 * unit, 0.5 * unit
        rows = len(choices) // columns
        left, top = (width - columns * (wide + gap) + gap) / 2, (height - rows * (high + gap) + gap) / 2 + 1.2 * unit
        return [
            Button(Box(left + i % columns * (wide + gap), top + i // columns * (high + gap), wide, high), what)
            for i, what in enumerate(choices)
        ]

    def draw(self, canvas: Canvas, theme: Theme, say: Texts) -> None:
        unit = scale(canvas.width, canvas.height, theme)
        buttons = self.buttons(canvas.width, canvas.height, unit)
        if not buttons:
            return
        names = {
            Choice.PANEL: say("operator's panel"), Choice.HELP: say("keys"), Choice.END: say("end"),
            Choice.CLOSE: say("back"), BACK: "←", ENTER: "OK",
        }  # fmt: skip
        first, last = buttons[0].area, buttons[-1].area
        card = Box(
            first.x - unit, first.y - 3.4 * unit, last.x + last.width - first.x + 2 * unit,
            last.y + last.height - first.y + 4.4 * unit,
        )  # fmt: skip
        canvas.fill(Box(0, 0, canvas.width, canvas.height), 0, theme.plate, 0.55)
        canvas.fill(card, 0.9 * unit, theme.plate, 0.95)
        canvas.outline(card, 0.9 * unit, max(1.0, 0.08 * unit), theme.track)
        middle = card.x + card.width / 2
        _centred(self._title(say), middle, card.y + 2.2 * unit, 1.3 * unit, canvas, theme.ink)
        for area, what in buttons:
            canvas.fill(area, 0.5 * unit, theme.track, 0.9)
            centre = area.x + area.width / 2
            _centred(names.get(what, str(what)), centre, area.y + 1.9 * unit, 1.3 * unit, canvas, theme.ink)

    def _title(self, say: Texts) -> str:
        if self.shows is Shows.CHOICES:
            return say("For the operator")
        if self._clock() < self._closed_until_s:
            return say("wait a moment")
        if self._wrong and not self._typed:
            return say("not this one")
        return "•" * len(self._typed) or say("PIN")

    def _use(self, what: Choice | str) -> Choice | None:
        self._used_s = self._clock()
        if isinstance(what, Choice):
            self.close()
            return what
        if self._used_s < self._closed_until_s:
            return None
        if what == BACK:
            self._typed = self._typed[:-1]
        elif what == ENTER:
            self._check()
        elif len(self._typed) < len(self._pin or ""):
            self._typed += what
            if len(self._typed) == len(self._pin or ""):
                self._check()
        return None

    def _check(self) -> None:
        right = hmac.compare_digest(self._typed, self._pin or "")
        self._typed, self._wrong = "", 0 if right else self._wrong + 1
        if right:
            self._open, self.shows = True, Shows.CHOICES
        elif self._wrong % TRIES == 0:
            self._closed_until_s = self._clock() + WAIT_S


def scale(width: float, height: float, theme: Theme) -> float:
    """A letter's size in pixels: smaller where the pad would not fit."""
    return min(text_size(width, height, theme), height / 21, width / 18)


def _centred(text: str, x: float, baseline: float, size: float, canvas: Canvas, colour: tuple[int, int, int]) -> None:
    canvas.text(text, x - canvas.measure(text, size, True) / 2, baseline, size, colour, True)
