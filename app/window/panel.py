"""The operator's panel: what the run does, why, and a chart of latency against deadline. Any Canvas will do."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from app.domain import Box
from app.overlay.style import Card, Run, text_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.domain import Stats
    from app.overlay.style import Canvas, Colour, Theme
    from app.overlay.texts import Texts
    from app.window.watched import Picture

SPAN_S, BARS = 10.0, 125  # that the chart shows
MOST_SAMPLES = 1200
FIGURES_S = 0.25  # how often figures change: faster ones cannot be read
TEXT_SHARE = 0.62  # of the labels' text: the operator stands before the screen
WIDTH, PAD, LINE = 22.0, 1.1, 1.62  # in sizes of the panel's text


class Sample(NamedTuple):
    """One result in the chart."""

    at_s: float
    age_ms: float
    network_ms: float
    budget_ms: float


@dataclass(frozen=True)
class Setting:
    """What of the run can be changed while it runs, as it is now."""

    budget_ms: float
    exit: str  # "auto" or an operating point
    choices: int  # how many there are for `exit`
    picture: Picture | None = None  # of a camera, which is set when the run starts


class History:
    """The last seconds of a run, and figures that stand still long enough to be read."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=MOST_SAMPLES)
        self.stats: Stats | None = None
        self._figures_s = -math.inf

    def add(self, stats: Stats, now_s: float) -> None:
        self.samples.append(Sample(now_s, stats.frame_age_ms, stats.measured_ms, stats.budget_ms))
        while self.samples and now_s - self.samples[0].at_s > SPAN_S:
            self.samples.popleft()
        if not 0 <= now_s - self._figures_s < FIGURES_S:
            self.stats, self._figures_s = stats, now_s


def reason(stats: Stats, say: Texts) -> str:
    """Why this operating point, as in "7 faces, 24 ms left: exit 9 at 96 px"."""
    if not stats.exit:
        return say("nobody to read")
    load = say("%n face(s)", "", stats.faces)
    left = say("no time left")
    if stats.left_ms > 0:
        left = say("{ms} ms left").format(ms=milliseconds(stats.left_ms, say))
    text = f"{load}, {left}: {point(stats.exit, stats.input_size, say)}"
    if stats.served < stats.faces:
        text += say(", for {read}").format(read=stats.served)
    return text


def point(name: str, size: int, say: Texts) -> str:
    """An operating point for people: "exit 9 at 96 px"."""
    number = name.rpartition("_")[2].lstrip("0")
    return say("exit {number} at {size} px").format(number=number or name, size=size)


def milliseconds(value: float, say: Texts) -> str:
    return say.number(value, int(abs(value) < 10)) if math.isfinite(value) else "∞"


def figures(stats: Stats, say: Texts) -> list[tuple[str, str, bool]]:
    """The panel's rows: name, value, whether it is bad news."""
    read = f"{stats.faces}"
    if stats.served < stats.faces:
        read = say("{read} of {faces} read").format(read=stats.served, faces=stats.faces)
    share = f" ({say.number(100 * stats.misses / stats.frames, 1)} %)" if stats.frames and stats.misses else ""
    network = say("idle")
    if stats.exit:
        network = say("{ms} ms, {predicted} predicted").format(
            ms=milliseconds(stats.measured_ms, say), predicted=milliseconds(stats.predicted_ms, say)
        )
    rows = [
        (say("faces"), read, False),
        (say("frame age"), f"{milliseconds(stats.frame_age_ms, say)} ms", stats.frame_age_ms > stats.budget_ms),
        (say("network"), network, False),
        (say("misses"), f"{stats.misses}{share}", False),
        (say("dropped frames"), f"{stats.dropped}", False),
        (say("provider"), stats.provider.partition(" + server ")[0].removesuffix("ExecutionProvider"), False),
    ]
    if stats.server is not None:
        rows.append((say("server"), say("answers") if stats.server else say("does not answer"), not stats.server))
    return rows


def settings(setting: Setting, say: Texts) -> list[tuple[str, str, str]]:
    """Keys, name and value of what the operator may change."""
    name, _, size = setting.exit.partition("@")
    chosen = say("auto") if name == "auto" else point(name, int(size), say) if size else name
    keys = "← →" if setting.choices > 1 else ""
    rows = [
        ("↑ ↓", say("budget"), f"{say.number(setting.budget_ms, 1) if math.isfinite(setting.budget_ms) else '∞'} ms"),
        (keys, say("exit"), chosen),
    ]
    if camera := setting.picture:
        rate = f", {say.number(camera.fps)} {say('fps')}" if camera.fps else ""
        rows.append(("", say("camera"), f"{camera.width}×{camera.height}{rate}"))
        exposure = f"{say.number(camera.exposure_ms, 1)} ms" if camera.exposure_ms else say("auto")
        rows.append(("", say("exposure"), exposure))
    return rows


class Panel(NamedTuple):
    """The panel laid out."""

    area: Box
    chart: Box
    card: Card
    unit: float


def lay_out(history: History, setting: Setting | None, canvas: Canvas, theme: Theme, say: Texts) -> Panel | None:
    """The panel in the top left corner; None where it has no room or nothing to say yet."""
    stats = history.stats
    unit = TEXT_SHARE * text_size(canvas.width, canvas.height, theme)
    margin, pad, line, width = 1.2 * unit, PAD * unit, LINE * unit, WIDTH * unit
    if stats is None or width + 2 * margin > canvas.width:
        return None
    inner = width - 2 * pad
    runs, y = [], pad + 1.75 * unit
    fps = say.number(stats.fps, int(stats.fps < 10))
    runs.append(Run(fps, pad, y, 2.3 * unit, theme.ink, True))
    runs.append(Run(say("fps"), pad + canvas.measure(fps, 2.3 * unit, True) + 0.4 * unit, y, unit, theme.muted))
    y += 0.5 * unit
    for name, value, bad in figures(stats, say):
        y += line
        runs.append(Run(name, pad, y, unit, theme.muted))
        runs.append(_right(value, pad + inner, y, unit, theme.bad if bad else theme.ink, canvas))
    y += 0.6 * unit
    for text in wrap(reason(stats, say), inner, unit, 2, canvas, bold=True):
        y += 1.35 * unit
        runs.append(Run(text, pad, y, unit, theme.accent, True))
    chart = Box(margin + pad, margin + y + 1.1 * unit, inner, 6.5 * unit)
    y = chart.y + chart.height - margin + 0.4 * unit
    y += 1.1 * unit
    deadline = say("deadline {ms} ms").format(ms=milliseconds(stats.budget_ms, say))
    legend = (say("frame age"), theme.muted), (say("network"), theme.accent), (deadline, theme.ink)
    x = pad
    for text, colour in legend:
        runs.append(Run(text, x, y, 0.9 * unit, colour, True))
        x += canvas.measure(text, 0.9 * unit, True) + 0.9 * unit
    runs.append(_right(f"{SPAN_S:.0f} s", pad + inner, y, 0.9 * unit, theme.muted, canvas))
    if setting:
        y += 0.5 * unit
        for keys, name, value in settings(setting, say):
            y += line
            runs.append(Run(keys, pad, y, unit, theme.accent, True))
            runs.append(Run(name, pad + 3.2 * unit, y, unit, theme.muted))
            runs.append(_right(value, pad + inner, y, unit, theme.ink, canvas, True))
    area = Box(margin, margin, width, y + 0.8 * pad)
    if area.y + area.height > canvas.height:
        return None
    return Panel(area, chart, Card(area.width, area.height, tuple(runs)), unit)


def draw(panel: Panel, history: History, canvas: Canvas, theme: Theme, say: Texts, *, now_s: float) -> None:
    canvas.fill(panel.area, 0.7 * panel.unit, theme.plate, max(0.9, theme.opacity))
    draw_chart(history.samples, panel.chart, canvas, theme, say, now_s=now_s, unit=panel.unit)
    panel.card.put(canvas, panel.area.x, panel.area.y)


def draw_chart(
    samples: Sequence[Sample], area: Box, canvas: Canvas, theme: Theme, say: Texts, *, now_s: float, unit: float
) -> None:
    """Frame age and the network's part of it over SPAN_S as bars, those of late frames bright, and the deadline."""
    canvas.fill(area, 0.3 * unit, theme.track, 0.35)
    if not samples:
        return
    known = [s.budget_ms for s in samples if math.isfinite(s.budget_ms) and s.budget_ms > 0]
    top = 1.5 * max(known) if known else max(1.0, 1.2 * max(s.age_ms for s in samples))

    def across(sample: Sample) -> float:
        return area.x + area.width * (1 - min(max(now_s - sample.at_s, 0.0), SPAN_S) / SPAN_S)

    def down(value: float) -> float:
        return area.y + area.height * (1 - min(max(value, 0.0), top) / top)

    foot, wide = area.y + area.height, area.width / BARS
    for sample in _longest_of_each_bar(samples):
        left = min(across(sample), area.x + area.width - wide)
        late = sample.age_ms > sample.budget_ms
        for value, colour, opacity in (
            (sample.age_ms, theme.bad if late else theme.muted, 0.95 if late else 0.55),
            (sample.network_ms, theme.accent, 1.0),
        ):
            canvas.fill(Box(left, down(value), wide, foot - down(value)), 0, colour, opacity)
    if known:
        canvas.line([(across(s), down(s.budget_ms)) for s in _corners(samples)], max(1.0, 0.12 * unit), theme.ink)


def _longest_of_each_bar(samples: Sequence[Sample]) -> list[Sample]:
    """For each bar the longest frame, at the bar's own time: bars move, but do not change, as time goes by."""
    bars: dict[int, Sample] = {}
    for sample in samples:
        bar = int(sample.at_s * BARS / SPAN_S)
        if bar not in bars or sample.age_ms > bars[bar].age_ms:
            bars[bar] = sample._replace(at_s=bar * SPAN_S / BARS)
    return list(bars.values())


def _corners(samples: Sequence[Sample]) -> list[Sample]:
    """The first, the last, and those between which the budget changes: what its line needs."""
    return [
        s
        for i, s in enumerate(samples)
        if i in (0, len(samples) - 1)
        or s.budget_ms != samples[i - 1].budget_ms
        or s.budget_ms != samples[i + 1].budget_ms
    ]


def wrap(text: str, width: float, size: float, lines: int, canvas: Canvas, *, bold: bool = False) -> list[str]:
    """Breaks at spaces; where text is left over, the last line ends in an ellipsis."""
    rows: list[str] = []
    for word in text.split():
        longer = f"{rows[-1]} {word}" if rows else word
        if rows and canvas.measure(longer, size, bold) <= width:
            rows[-1] = longer
        elif len(rows) < lines:
            rows.append(word)
        else:
            return [*rows[:-1], f"{rows[-1]} …"]
    return rows


def _right(
    text: str, right: float, baseline: float, size: float, colour: Colour, canvas: Canvas, bold: bool = False
) -> Run:
    return Run(text, right - canvas.measure(text, size, bold), baseline, size, colour, bold)
