"""What is said of a person: a large card for the few, a small label in a crowd. Lengths and sizes in pixels of the canvas.

Written for visitors: a guess is called a guess, its range is drawn as a scale, and a gender is never stated as a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from app.overlay.icons import Icon, Scale
from app.overlay.style import CAP_HEIGHT, STALE_S, Card, Run, Style

if TYPE_CHECKING:
    from app.overlay.image_canvas import Colour
    from app.overlay.motion import Shown
    from app.overlay.style import Canvas, Drawing, Theme
    from app.overlay.texts import Texts

EXPRESSIONS = {"disgust": "disgusted", "fear": "afraid", "surprise": "surprised"}  # as a label says it
GENDERS = {"female": "perhaps a woman", "male": "perhaps a man"}
FEW = 3  # up to this many people get large cards
LEFT = 0.9  # units from a card's edge to its words, behind the stripe

Make = Callable[["Shown", "Canvas", float, Style, "Colour"], Card]


def expression_word(expression: str, say: Texts) -> str:
    return say(EXPRESSIONS.get(expression, expression))


def large(person: Shown, canvas: Canvas, unit: float, style: Style, colour: Colour) -> Card:
    """The guess in words, its range as a scale, what the face shows."""
    theme, say = style.theme, style.say
    if not person.known or not style.labels:
        return _waiting(canvas, unit, theme)
    ink = theme.ink if person.stale_s <= STALE_S else theme.muted
    runs, drawings, y, left = list[Run](), list["Drawing"](), 0.35 * unit, LEFT * unit
    width = 8.5 * unit
    if "age" in style.labels:
        phrase = say("looks about {age}").format(age=person.age)
        y += 1.4 * unit
        runs.append(Run(phrase, left, y, 1.6 * unit, ink, True))
        width = max(width, canvas.measure(phrase, 1.6 * unit, True))
        y += 0.75 * unit
        scale = Scale(left, y, width, 0.34 * unit, person.low, person.high, person.age, theme.track, colour, ink)
        drawings.append(scale)
        y += 1.3 * unit
        runs += _ends(scale, y, 0.82 * unit, theme.muted, canvas)
        y += 0.1 * unit
    if "expression" in style.labels and person.expression:
        radius = 0.72 * unit
        y += 1.25 * unit
        drawings.append(Icon(person.expression, left + radius, y - 0.1 * unit, radius, ink))
        word = expression_word(person.expression, say)
        runs.append(Run(word, left + 2.0 * unit, y + 0.3 * unit, 1.15 * unit, ink, True))
        width = max(width, 2.0 * unit + canvas.measure(word, 1.15 * unit, True))
        y += 0.65 * unit
    for text in _remarks(person, style):
        y += 1.2 * unit
        runs.append(Run(text, left, y, 0.92 * unit, theme.muted))
        width = max(width, canvas.measure(text, 0.92 * unit, False))
    return Card(left + width + 0.7 * unit, y + 0.55 * unit, tuple(runs), tuple(drawings))


def small(person: Shown, canvas: Canvas, unit: float, style: Style, colour: Colour) -> Card:
    """The guess as a number, and the face's icon."""
    if not person.known or not {"age", "expression"} & set(style.labels):
        return _waiting(canvas, unit, style.theme)
    ink = style.theme.ink if person.stale_s <= STALE_S else style.theme.muted
    size, height, right = 1.5 * unit, 1.9 * unit, 0.8 * unit
    runs, drawings = list[Run](), list["Drawing"]()
    if "age" in style.labels:
        age = f"{person.age}"
        runs.append(Run(age, right, (height + CAP_HEIGHT * size) / 2, size, ink, True))
        right += canvas.measure(age, size, True) + 0.45 * unit
    if "expression" in style.labels and person.expression:
        drawings.append(Icon(person.expression, right + 0.62 * unit, height / 2, 0.62 * unit, ink))
        right += 1.24 * unit + 0.45 * unit
    return Card(right, height, tuple(runs), tuple(drawings))


def least(person: Shown, canvas: Canvas, unit: float, style: Style, colour: Colour) -> Card:
    """The number alone."""
    if not person.known or "age" not in style.labels:
        return small(person, canvas, unit, style, colour)
    ink = style.theme.ink if person.stale_s <= STALE_S else style.theme.muted
    age, size, height = f"{person.age}", 1.5 * unit, 1.7 * unit
    run = Run(age, 0.8 * unit, (height + CAP_HEIGHT * size) / 2, size, ink, True)
    return Card(0.8 * unit + canvas.measure(age, size, True) + 0.45 * unit, height, (run,))


def levels(people: int) -> Sequence[tuple[Make, float]]:
    """Kinds of labels by length, the longest first, each at a share of the text's size."""
    return LEVELS if people <= FEW else LEVELS[2:]


LEVELS: tuple[tuple[Make, float], ...] = (
    *((large, 1.25), (large, 0.9)),
    *((small, 1.1), (small, 0.9), (small, 0.7), (least, 0.7), (least, 0.5)),
)


def _ends(scale: Scale, baseline: float, size: float, colour: Colour, canvas: Canvas) -> list[Run]:
    """The range's numbers under its ends, moved apart where they would touch, and kept under the scale."""
    low, high = f"{scale.low}", f"{scale.high}"
    widths = canvas.measure(low, size, False), canvas.measure(high, size, False)
    a, b = scale.at(scale.low) - widths[0] / 2, scale.at(scale.high) - widths[1] / 2
    apart = max(0.0, a + widths[0] + 0.6 * size - b) / 2
    a, b = a - apart, b + apart
    shift = max(0.0, scale.x - a) - max(0.0, b + widths[1] - scale.x - scale.width)
    return [Run(low, a + shift, baseline, size, colour), Run(high, b + shift, baseline, size, colour)]


def _remarks(person: Shown, style: Style) -> list[str]:
    """Small lines at the end of a card."""
    lines, say = [], style.say
    if "gender" in style.labels and person.gender:
        lines.append(say(GENDERS.get(person.gender, person.gender)))
    if person.unfit:
        lines.append(say(person.unfit))
    if style.detail:
        number = person.exit.rpartition("_")[2].lstrip("0")
        exit = say("exit {number}").format(number=number)
        lines.append(f"{exit}  #{person.id}")
    return lines


def _waiting(canvas: Canvas, unit: float, theme: Theme) -> Card:
    """Somebody who was not read yet."""
    height, dots = 1.3 * unit, "···"
    return Card(
        canvas.measure(dots, unit, True) + unit, height, (Run(dots, 0.5 * unit, 0.98 * unit, unit, theme.muted, True),)
    )
