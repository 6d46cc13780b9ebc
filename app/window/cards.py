"""What the window shows instead of people or over them: starting, idle, camera lost, help, the visitors' notice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.domain import Box
from app.overlay.labels import large
from app.overlay.motion import Shown
from app.overlay.style import Style, text_size
from app.window.panel import wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.domain import SourceStatus
    from app.overlay.style import Canvas, Colour, Theme
    from app.overlay.texts import Texts
    from app.window.wall import Cell

NOTICE_LINES = 3
# The invitation: how long one of its turns takes, how long the face is looked over in it, how long the card takes to appear.
TURN_S, LOOKS_S, CARD_S = 5.0, 1.6, 0.4
# Nobody's: what is shown to those who have not come yet.
SAMPLES = tuple(
    Shown(0, Box(0, 0, 0, 0), True, age, low, high, expression=expression)
    for age, low, high, expression in ((27, 22, 33, "happy"), (64, 57, 71, "neutral"), (41, 35, 47, "surprise"))
)
LOADING_SHARE = 0.9  # of plain text


def starting(canvas: Canvas, theme: Theme, say: Texts, *, title: str, share: float | None = None) -> None:
    """Before the first picture; `share` of the loading is over."""
    unit = text_size(canvas.width, canvas.height, theme)
    middle = canvas.height / 2
    _centred(title, middle - 0.6 * unit, 3.0 * unit, theme.ink, canvas, bold=True)
    _centred(say("starting"), middle + 1.6 * unit, 1.3 * unit, theme.muted, canvas)
    if share is not None:
        _bar(Box(canvas.width / 2 - 6 * unit, middle + 2.6 * unit, 12 * unit, 0.4 * unit), share, canvas, theme)
    _centred(say("H shows the keys"), middle + 4.4 * unit, 0.9 * unit, theme.muted, canvas)


def loading_area(canvas: Canvas, theme: Theme, say: Texts) -> Box | None:
    """Where the progress of the loading goes: the upper right corner. None where it has no room."""
    unit = LOADING_SHARE * text_size(canvas.width, canvas.height, theme)
    width = canvas.measure(say("getting ready"), unit, True) + 8.6 * unit
    return None if width + 2 * unit > canvas.width else Box(canvas.width - width - unit, unit, width, 2.2 * unit)


def loading(canvas: Canvas, theme: Theme, say: Texts, share: float) -> None:
    """Over a picture whose faces cannot be read yet."""
    area, unit = loading_area(canvas, theme, say), LOADING_SHARE * text_size(canvas.width, canvas.height, theme)
    if area:
        canvas.fill(area, 0.5 * unit, theme.plate, max(0.85, theme.opacity))
        canvas.text(say("getting ready"), area.x + 0.9 * unit, area.y + 1.45 * unit, unit, theme.ink, True)
        bar = Box(area.x + area.width - 6.9 * unit, area.y + 0.9 * unit, 6 * unit, 0.4 * unit)
        _bar(bar, share, canvas, theme)


def _bar(area: Box, share: float, canvas: Canvas, theme: Theme) -> None:
    canvas.fill(area, area.height / 2, theme.track, 1.0)
    done = max(area.height, area.width * min(1.0, max(0.0, share)))
    canvas.fill(Box(area.x, area.y, done, area.height), area.height / 2, theme.accent, 1.0)


def idle(
    canvas: Canvas, theme: Theme, languages: Sequence[Texts], *, now_s: float, opacity: float, labels: Sequence[str]
) -> None:
    """Invites whoever passes by, and shows what will happen: a drawn face is looked over, then a card appears beside it. The
    picture stays visible: people come closer to what moves with them. Each turn is in the next of the languages."""
    turn, at = divmod(now_s, TURN_S)
    say, sample = languages[int(turn) % len(languages)], SAMPLES[int(turn) % len(SAMPLES)]
    unit = text_size(canvas.width, canvas.height, theme)
    canvas.fill(Box(0, 0, canvas.width, canvas.height), 0, theme.plate, 0.62 * opacity)
    side = 8.4 * unit * (1 + 0.02 * math.sin(2 * math.pi * now_s / 3.2))
    card = large(sample, canvas, unit, Style(theme=theme, say=say, labels=tuple(labels)), theme.accent)
    across = side + 1.2 * unit + card.width
    beside = across <= 0.94 * canvas.width
    middle = (canvas.width - across + side if beside else canvas.width) / 2, canvas.height / 2 - 5.4 * unit
    _brackets(middle, side, canvas, theme.accent, 0.34 * unit, opacity)
    _face(middle, side, canvas, theme.ink, 0.26 * unit, opacity)
    seen = min(1.0, max(0.0, (at - LOOKS_S) / CARD_S)) * min(1.0, max(0.0, (TURN_S - at) / CARD_S))
    if at < LOOKS_S:  # a line goes down and up again
        y = middle[1] - 0.46 * side * math.cos(2 * math.pi * at / LOOKS_S)
        canvas.line([(middle[0] - 0.42 * side, y), (middle[0] + 0.42 * side, y)], 0.14 * unit, theme.accent, opacity)
    elif beside:
        place = Box(middle[0] + side / 2 + 1.2 * unit, middle[1] - card.height / 2, card.width, card.height)
        canvas.fill(place, 0.4 * unit, theme.plate, 0.9 * opacity * seen)
        card.put(canvas, place.x, place.y, opacity * seen)
    y = canvas.height / 2 + 4.0 * unit
    _centred(say("Come closer"), y, 4.2 * unit, theme.ink, canvas, bold=True, opacity=opacity)
    y += 0.6 * unit
    for row in wrap(say("See what a computer guesses from your face"), 0.86 * canvas.width, 1.5 * unit, 3, canvas):
        y += 2.2 * unit
        _centred(row, y, 1.5 * unit, theme.muted, canvas, opacity=opacity)


def lost(canvas: Canvas, theme: Theme, say: Texts, status: SourceStatus, *, operator: bool) -> None:
    """No old picture is shown: the people in it may be gone. Visitors are spared the cause, which the operator is told."""
    unit = text_size(canvas.width, canvas.height, theme)
    canvas.fill(Box(0, 0, canvas.width, canvas.height), 0, theme.plate, 1.0)
    middle = (canvas.width / 2, canvas.height / 2 - 5.0 * unit)
    _camera(middle, 6.0 * unit, canvas, theme, 0.3 * unit)
    y = canvas.height / 2 + 2.4 * unit
    _centred(say("Back soon"), y, 4.2 * unit, theme.ink, canvas, bold=True)
    if not operator:
        return
    y += 2.6 * unit
    cause = say("The camera is unplugged") if status.absent else say("No picture from the camera")
    _centred(cause, y, 1.4 * unit, theme.ink, canvas, bold=True)
    since = say("for %n second(s)", "", int(status.since_s))
    if status.retry_in_s is None:
        again = say("trying again now")
    else:
        again = say("trying again in %n second(s)", "", max(1, math.ceil(status.retry_in_s)))
    y += 1.8 * unit
    _centred(f"{since} · {again}", y, 1.2 * unit, theme.muted, canvas)
    if say.language != "en":
        return  # the rest comes from drivers and is English; it is on stderr, too
    for row in wrap(status.text, 0.8 * canvas.width, 0.9 * unit, 3, canvas):
        y += 1.5 * unit
        _centred(row, y, 0.9 * unit, theme.muted, canvas)


def camera_name(cell: Cell, area: Box, canvas: Canvas, theme: Theme, say: Texts) -> Box:
    """Number and name of one of several cameras in the corner of its place; says there, too, that it is lost. Returns where."""
    unit = 0.8 * text_size(canvas.width, canvas.height, theme)
    if cell.lost:
        text = say("No picture from the camera")
        x = area.x + (area.width - canvas.measure(text, unit, False)) / 2
        canvas.text(text, x, area.y + area.height / 2, unit, theme.muted, False)
    name = f"{cell.number}  {cell.name}"
    width = canvas.measure(name, unit, True) + 1.2 * unit
    plate = Box(area.x + area.width - width, area.y, width, 1.9 * unit)  # the panel is on the left
    canvas.fill(plate, 0.3 * unit, theme.plate, max(0.7, theme.opacity))
    canvas.text(name, plate.x + 0.6 * unit, plate.y + 1.3 * unit, unit, theme.ink, True)
    return plate


def count(canvas: Canvas, theme: Theme, say: Texts, people: int) -> None:
    """How many are in view, where nothing else may be shown of them."""
    unit, size = text_size(canvas.width, canvas.height, theme), 0.4 * min(canvas.width, canvas.height)
    _centred(str(people), canvas.height / 2 + 0.3 * size, size, theme.ink, canvas, bold=True)
    words = say("person in view") if people == 1 else say("people in view")
    _centred(words, canvas.height / 2 + 0.3 * size + 2.6 * unit, 1.5 * unit, theme.muted, canvas)


def keys(say: Texts) -> list[tuple[str, str]]:
    """Every key and what it does."""
    return [
        ("H  F1", say("this card")),
        ("F11", say("full screen")),
        ("P", say("operator's panel")),
        ("M", say("mirror the picture")),
        ("Z", say("fill the screen")),
        ("C", say("high contrast")),
        ("L", say("next language")),
        ("↑  ↓", say("budget, with the panel open")),
        ("←  →", say("exit, with the panel open")),
        ("0", say("budget and exit as at the start")),
        ("1-9", say("one of several cameras")),
        ("Q  Esc", say("end")),
    ]


def help_card(canvas: Canvas, theme: Theme, say: Texts, *, title: str) -> None:
    rows = keys(say)
    unit = 0.82 * text_size(canvas.width, canvas.height, theme)
    widest_key = max(canvas.measure(key, unit, True) for key, _ in rows)
    widest = max(canvas.measure(text, unit, False) for _, text in rows)
    width, height = widest_key + widest + 6.2 * unit, (len(rows) * 1.75 + 5.4) * unit
    shrink = min(1.0, 0.96 * canvas.width / width, 0.96 * canvas.height / height)
    unit, width, height, widest_key = (shrink * v for v in (unit, width, height, widest_key))
    left, top = (canvas.width - width) / 2, (canvas.height - height) / 2
    canvas.fill(Box(0, 0, canvas.width, canvas.height), 0, theme.plate, 0.55)
    canvas.fill(Box(left, top, width, height), 0.9 * unit, theme.plate, 0.95)
    canvas.outline(Box(left, top, width, height), 0.9 * unit, max(1.0, 0.08 * unit), theme.track)
    canvas.text(title, left + 2.0 * unit, top + 2.7 * unit, 1.6 * unit, theme.ink, True)
    y = top + 3.7 * unit
    for key, text in rows:
        y += 1.75 * unit
        canvas.text(key, left + 2.0 * unit, y, unit, theme.accent, True)
        canvas.text(text, left + 4.2 * unit + widest_key, y, unit, theme.ink, False)


def standing(say: Texts, *, keeps: bool, sends: bool = False) -> str:
    """What visitors are told where the operator says nothing else."""
    if sends:
        return say("A computer is guessing here. It is often wrong. Pictures of faces are sent to a server to be read.")
    if keeps:
        return say("A computer is guessing here. It is often wrong.")
    return say("A computer is guessing here. It is often wrong, and keeps nothing about you.")


def notice_area(text: str, canvas: Canvas, theme: Theme) -> Box | None:
    """Where the operator's notice for visitors goes: along the lower border. None where it has no text or no room."""
    rows, unit = _notice(text, canvas, theme)
    height = (1.4 * len(rows) + 0.9) * unit
    if not rows or height > 0.3 * canvas.height:
        return None
    return Box(0, canvas.height - height, canvas.width, height)


def notice(text: str, canvas: Canvas, theme: Theme) -> None:
    area, (rows, unit) = notice_area(text, canvas, theme), _notice(text, canvas, theme)
    if area:
        canvas.fill(area, 0, theme.plate, max(0.85, theme.opacity))
        for i, row in enumerate(rows):
            _centred(row, area.y + (1.35 + 1.4 * i) * unit, unit, theme.ink, canvas)


def _notice(text: str, canvas: Canvas, theme: Theme) -> tuple[list[str], float]:
    unit = text_size(canvas.width, canvas.height, theme)
    return wrap(text, canvas.width - 3 * unit, unit, NOTICE_LINES, canvas), unit


def _centred(
    text: str, baseline: float, size: float, colour: Colour, canvas: Canvas, *, bold: bool = False, opacity: float = 1.0
) -> None:
    """Text in the middle, smaller where it would not fit."""
    room = 0.94 * canvas.width
    width = canvas.measure(text, size, bold)
    if width > room:
        size *= room / width
        width = canvas.measure(text, size, bold)
    canvas.text(text, (canvas.width - width) / 2, baseline, size, colour, bold, opacity)


def _brackets(
    middle: tuple[float, float], side: float, canvas: Canvas, colour: Colour, thickness: float, opacity: float
) -> None:
    """The four corners of a viewfinder."""
    half, arm, (x, y) = side / 2, 0.24 * side, middle
    for across in (-1, 1):
        for down in (-1, 1):
            corner = (x + across * half, y + down * half)
            arms = [(corner[0] - across * arm, corner[1]), corner, (corner[0], corner[1] - down * arm)]
            canvas.line(arms, thickness, colour, opacity)


def _face(
    middle: tuple[float, float], side: float, canvas: Canvas, colour: Colour, thickness: float, opacity: float
) -> None:
    """A face of few lines."""
    x, y = middle
    turn = [2 * math.pi * i / 48 for i in range(49)]
    canvas.line(
        [(x + 0.27 * side * math.cos(t), y + 0.34 * side * math.sin(t)) for t in turn], thickness, colour, opacity
    )
    eye = 0.055 * side
    for across in (-1, 1):
        canvas.fill(Box(x + across * 0.11 * side - eye / 2, y - 0.09 * side, eye, 1.35 * eye), eye / 2, colour, opacity)
    smile = [math.pi * (0.18 + 0.64 * i / 16) for i in range(17)]
    canvas.line(
        [(x + 0.14 * side * math.cos(t), y + 0.05 * side + 0.13 * side * math.sin(t)) for t in smile],
        thickness, colour, opacity,
    )  # fmt: skip


def _camera(middle: tuple[float, float], side: float, canvas: Canvas, theme: Theme, thickness: float) -> None:
    """A camera, crossed out."""
    x, y = middle
    canvas.outline(Box(x - 0.6 * side, y - 0.36 * side, side, 0.72 * side), 0.12 * side, thickness, theme.muted)
    lens = [(x + 0.4 * side, y - 0.08 * side), (x + 0.68 * side, y - 0.26 * side), (x + 0.68 * side, y + 0.26 * side)]
    canvas.line([*lens, (x + 0.4 * side, y + 0.08 * side)], thickness, theme.muted)
    ends = [(x - 0.62 * side, y + 0.56 * side), (x + 0.58 * side, y - 0.56 * side)]
    canvas.line(ends, 3.2 * thickness, theme.plate)
    canvas.line(ends, 1.2 * thickness, theme.bad)
