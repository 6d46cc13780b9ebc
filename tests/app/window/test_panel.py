"""The operator's panel and the cards, on a canvas that only notes what is drawn."""

from __future__ import annotations

import dataclasses
import math

import pytest

from app.domain import Box, SourceState, SourceStatus
from app.overlay import style as overlay
from app.overlay.texts import ENGLISH, Texts
from app.window import cards, panel
from app.window.panel import SPAN_S, History, Setting
from app.window.watched import Picture
from tests.support.builders import Recorder, is_inside, make_stats
from tests.support.paths import ROOT

SCREENS = [(640, 360), (1280, 720), (1920, 1080), (1080, 1920)]
THEMES = [overlay.STANDARD, overlay.CONTRAST]


def history(seconds: float = 4.0, **changes: object) -> History:
    kept = History()
    for i in range(round(seconds * 25)):
        late = 30.0 if i % 10 == 9 else 0.0
        kept.add(make_stats(frame_age_ms=20.0 + late, measured_ms=8.0, budget_ms=40.0, **changes), i / 25)
    return kept


def drawn(
    kept: History, size: tuple[int, int] = (1280, 720), setting: Setting | None = None, now_s: float = 4.0
) -> Recorder:
    canvas = Recorder(*size)
    laid = panel.lay_out(kept, setting, canvas, overlay.STANDARD, ENGLISH)
    if laid:
        panel.draw(laid, kept, canvas, overlay.STANDARD, ENGLISH, now_s=now_s)
    return canvas


def test_reason_as_an_operator_reads_it() -> None:
    stats = make_stats(faces=7, served=7, left_ms=24.3, exit="exit_09", input_size=96)
    assert panel.reason(stats, ENGLISH) == "7 faces, 24 ms left: exit 9 at 96 px"
    fewer = dataclasses.replace(stats, served=3, faces=1)
    assert panel.reason(fewer, ENGLISH) == "1 face, 24 ms left: exit 9 at 96 px"
    assert panel.reason(dataclasses.replace(stats, served=3), ENGLISH).endswith("px, for 3")
    assert panel.reason(dataclasses.replace(stats, left_ms=-3.0), ENGLISH).startswith("7 faces, no time left: exit 9")
    assert panel.reason(dataclasses.replace(stats, exit="", served=0), ENGLISH) == "nobody to read"


def test_panel_shows_the_figures() -> None:
    stats = {"fps": 24.8, "faces": 12, "served": 9, "misses": 3, "frames": 1500, "dropped": 17, "left_ms": 6.5}
    texts = drawn(history(**stats), setting=Setting(66.7, "exit_09@96", 4)).texts
    assert {"25", "fps", "9 of 12 read", "20 ms", "8.0 ms, 9.6 predicted", "3 (0.2 %)", "17", "CPU"} <= set(texts)
    assert {"66.7 ms", "exit 9 at 96 px", "↑ ↓", "← →"} <= set(texts)
    assert "12 faces, 6.5 ms left: exit b9 at 128 px, for 9" in " ".join(texts)


def test_panel_says_whether_the_server_answers() -> None:
    provider = "CPUExecutionProvider + server faces:8001"
    for there, says in ((True, "answers"), (False, "does not answer")):
        texts = drawn(history(server=there, provider=provider)).texts
        assert {"server", says, "CPU"} <= set(texts)
    assert "server" not in drawn(history()).texts


def test_a_run_without_a_choice_of_exits_offers_none() -> None:
    texts = drawn(history(), setting=Setting(66.7, "exit_09@96", 1)).texts
    assert "↑ ↓" in texts and "← →" not in texts


def test_figures_stand_still_long_enough_to_be_read() -> None:
    kept = History()
    for i in range(10):
        kept.add(make_stats(fps=float(i)), 0.04 * i)
    assert kept.stats.fps == 7 and len(kept.samples) == 10


def test_the_chart_holds_the_last_seconds_only_and_stays_inside() -> None:
    kept = history(2 * SPAN_S)
    assert kept.samples[-1].at_s - kept.samples[0].at_s <= SPAN_S
    canvas = drawn(kept, now_s=2 * SPAN_S)
    chart = panel.lay_out(kept, None, canvas, overlay.STANDARD, ENGLISH).chart
    (deadline,) = canvas.lines
    bars = [f for f in canvas.fills if chart.y <= f.y and f.y + f.height == pytest.approx(chart.y + chart.height)][1:]
    assert all(is_inside(Box(b.x - chart.x, b.y - chart.y, *b[2:]), chart.width, chart.height) for b in bars)
    assert len(bars) == pytest.approx(2 * panel.BARS, abs=4)
    assert len({y for _, y in deadline}) == 1
    late = [bar for bar in bars[::2] if bar.y < deadline[0][1]]
    assert len(late) == pytest.approx(sum(s.age_ms > s.budget_ms for s in kept.samples), abs=2), (
        "none is lost in its bar"
    )
    assert all(network.height < age.height for age, network in zip(bars[::2], bars[1::2], strict=True))


def test_the_deadlines_line_follows_a_changed_budget() -> None:
    kept = History()
    for i, budget in enumerate([40.0] * 5 + [20.0] * 5):
        kept.add(make_stats(budget_ms=budget), i / 25)
    (deadline,) = drawn(kept, now_s=0.4).lines
    assert len(deadline) == 4 and deadline[0][1] == deadline[1][1] < deadline[2][1] == deadline[3][1]


@pytest.mark.parametrize("budget", [math.inf, math.nan, 0.0])
def test_panel_without_a_budget(budget: float) -> None:
    kept = History()
    kept.add(make_stats(budget_ms=budget, left_ms=budget, exit="", served=0, why=""), 0.0)
    assert "idle" in drawn(kept).texts


@pytest.mark.parametrize("size", SCREENS)
@pytest.mark.parametrize("theme", THEMES, ids=["standard", "contrast"])
def test_everything_stays_on_the_screen(size: tuple[int, int], theme: overlay.Theme) -> None:
    canvas, kept = Recorder(*size), history()
    laid = panel.lay_out(kept, Setting(66.7, "auto", 4), canvas, theme, ENGLISH)
    if laid:
        panel.draw(laid, kept, canvas, theme, ENGLISH, now_s=4.0)
    cards.starting(canvas, theme, ENGLISH, title="Elastic Faces")
    for at_s in (0.8, 3.0, 8.0):
        cards.idle(canvas, theme, [ENGLISH], now_s=at_s, opacity=1.0, labels=("age", "expression"))
    cards.lost(
        canvas, theme, ENGLISH, SourceStatus(SourceState.LOST, 12.0, 4.0, "camera 0 was unplugged " * 20), operator=True
    )
    cards.help_card(canvas, theme, ENGLISH, title="Elastic Faces")
    cards.notice("A computer estimates ages here. " * 30, canvas, theme)
    assert laid or min(size) < 400
    assert all(is_inside(box, *size) for box in canvas.extents + canvas.fills)
    assert all(is_inside(Box(x, y, 0, 0), *size) for line in canvas.lines for x, y in line)


def test_the_invitation_shows_what_will_happen_in_one_language_after_the_other() -> None:
    languages = [ENGLISH, Texts("xx", lambda text, comment, count: f"_{text}_")]

    def at(now_s: float) -> Recorder:
        canvas = Recorder(1280, 720)
        cards.idle(canvas, overlay.STANDARD, languages, now_s=now_s, opacity=1.0, labels=("age", "expression"))
        return canvas

    looks, tells = at(0.4), at(cards.LOOKS_S + cards.CARD_S)
    assert "looks about 27" not in looks.texts and {"looks about 27", "happy", "Come closer"} <= set(tells.texts)
    assert looks.lines[-1] != at(0.8).lines[-1], "it moves"
    second = at(cards.TURN_S + cards.LOOKS_S + cards.CARD_S).texts
    assert {"_looks about 64_", "_neutral_", "_Come closer_"} <= set(second)


def test_the_panel_tells_what_the_camera_gives() -> None:
    setting = Setting(66.7, "auto", 4, Picture(1920, 1080, 30.0, None))
    assert panel.settings(setting, ENGLISH)[2:] == [("", "camera", "1920×1080, 30 fps"), ("", "exposure", "auto")]
    setting = Setting(66.7, "auto", 4, Picture(640, 480, None, 8.0))
    assert panel.settings(setting, ENGLISH)[2:] == [("", "camera", "640×480"), ("", "exposure", "8.0 ms")]


def test_panel_leaves_itself_out_where_it_has_no_room() -> None:
    assert drawn(history(), (160, 90)).texts == []
    assert drawn(History()).texts == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (SourceStatus(SourceState.LOST, 1.2, 0.2), "for 1 second · trying again in 1 second"),
        (SourceStatus(SourceState.LOST, 75.0, 4.2), "for 75 seconds · trying again in 5 seconds"),
        (SourceStatus(SourceState.LOST, 75.0), "for 75 seconds · trying again now"),
    ],
)
def test_the_lost_card_counts_seconds(status: SourceStatus, says: str) -> None:
    canvas = Recorder(1280, 720)
    cards.lost(canvas, overlay.STANDARD, ENGLISH, status, operator=True)
    assert says in canvas.texts


def test_the_lost_card_gives_the_cause_in_english_only() -> None:
    """It comes from drivers, in English: among another language's words it would puzzle visitors."""
    status = SourceStatus(SourceState.LOST, 12.0, 4.0, "camera 0 was unplugged")
    for texts, told in ((ENGLISH, True), (Texts("fi"), False)):
        canvas = Recorder(1280, 720)
        cards.lost(canvas, overlay.STANDARD, texts, status, operator=True)
        assert ("camera 0 was unplugged" in " ".join(canvas.texts)) == told


def test_a_notice_is_wrapped_and_cut() -> None:
    canvas = Recorder(1280, 720)
    cards.notice("word " * 400, canvas, overlay.STANDARD)
    assert len(canvas.texts) == cards.NOTICE_LINES and canvas.texts[-1].endswith("…")
    assert cards.notice_area("", canvas, overlay.STANDARD) is None
    assert (
        cards.notice_area("short", canvas, overlay.STANDARD).height
        < cards.notice_area("word " * 99, canvas, overlay.STANDARD).height
    )


def test_wrap_breaks_at_spaces() -> None:
    canvas = Recorder(1, 1)
    assert panel.wrap("one two three", 40, 10, 3, canvas) == ["one two", "three"]
    assert panel.wrap("one two three", 40, 10, 1, canvas) == ["one two …"]
    assert panel.wrap("", 40, 10, 3, canvas) == []
    assert panel.wrap("extraordinarily", 40, 10, 3, canvas) == ["extraordinarily"]


def test_the_documents_list_every_key() -> None:
    rows = (ROOT / "docs" / "reference" / "window.md").read_text(encoding="utf-8")
    for key, _ in cards.keys(ENGLISH):
        separator = " " if "↑" in key or "←" in key else ", "
        assert f"| {separator.join(key.split())} |" in rows, key
