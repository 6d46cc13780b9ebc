"""Which key was meant, whatever the keyboard's layout; and the steps of what keys change."""

from __future__ import annotations

import math
import sys
from typing import Any

from PyQt5.QtCore import Qt

# A key that is held down goes on with these; it does not switch anything on and off.
REPEATS = frozenset({Qt.Key_Up, Qt.Key_Down, Qt.Key_Left, Qt.Key_Right})
COMMANDS = Qt.ControlModifier | Qt.AltModifier | Qt.MetaModifier
# Where letters lie under X11 and Wayland: key codes of Linux and 8.
PLACES = {24: "Q", 33: "P", 43: "H", 46: "L", 52: "Z", 54: "C", 58: "M", 19: "0"}
# What lies on the place of Q where the letters are Greek or Hebrew.
ON_PLACE_OF_Q = frozenset({Qt.Key_Semicolon, Qt.Key_Slash})
FIRST_OTHER_LETTER, FIRST_NAMED_KEY = 0x100, 0x0100_0000  # Latin letters and their accents lie before, Esc and F1 after

BUDGET_STEPS_MS = ((20, 1), (60, 2), (120, 5), (300, 20), (10_000, 100))  # below, by


def meant(event: Any) -> int:
    """Qt's code of the key; the Latin one of the same place where the layout has letters of another script. 0 for what is meant
    for nobody here: with Ctrl, Alt or Meta, or repeated by holding it down."""
    key = event.key()
    if event.modifiers() & COMMANDS or (event.isAutoRepeat() and key not in REPEATS):
        return 0
    other = FIRST_OTHER_LETTER <= key < FIRST_NAMED_KEY
    if sys.platform == "win32":
        return event.nativeVirtualKey() if other else key
    place = PLACES.get(event.nativeScanCode(), "")
    if place and (other or (place == "Q" and key in ON_PLACE_OF_Q)):
        return int(getattr(Qt, f"Key_{place}"))
    return key


def typed(event: Any) -> str:
    """What the key is on a PIN pad: a digit, "<" or "ok"; "" for any other."""
    names = {Qt.Key_Backspace: "<", Qt.Key_Return: "ok", Qt.Key_Enter: "ok"}
    key = event.key()
    if Qt.Key_0 <= key <= Qt.Key_9 and not event.modifiers() & COMMANDS and not event.isAutoRepeat():
        return chr(key)
    return names.get(key, "")


def next_budget(budget_ms: float, turn: int) -> float:
    """The next round number of milliseconds above (1) or below (-1)."""
    for below, step in BUDGET_STEPS_MS:
        if budget_ms < below or (turn < 0 and budget_ms == below):
            whole = budget_ms / step
            changed = (math.floor(whole) + 1 if turn > 0 else math.ceil(whole) - 1) * step
            return min(10_000.0, max(1.0, float(changed)))
    return 10_000.0
