"""What `--fill` keeps in view."""

from __future__ import annotations

import pytest

from app.domain import Box
from app.overlay.view import View
from app.window.framing import Framing

FRAME, UPRIGHT = (1280, 720), (1080, 1920)


def settled(faces: list[Box]) -> Box:
    framing = Framing()
    return [framing(faces, FRAME, i / 25) for i in range(200)][-1]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    "faces",
    [
        [Box(20, 300, 90, 90)],
        [Box(1170, 200, 90, 90)],
        [Box(500, 20, 120, 120), Box(700, 560, 120, 120)],
        [Box(10, 300, 60, 60), Box(640, 300, 60, 60), Box(1200, 300, 60, 60)],
        [Box(0, 0, 1280, 720)],
    ],
)
def test_everybody_is_in_view_on_an_upright_screen(faces, mirrored):
    view = View.of(FRAME, UPRIGHT, mirrored=mirrored, fill=True, focus=settled(faces))
    for face in faces:
        seen = view.box(face)
        assert seen.x >= view.area.x - 1 and seen.x + seen.width <= view.area.x + view.area.width + 1
        assert seen.y >= view.area.y - 1 and seen.y + seen.height <= view.area.y + view.area.height + 1


def test_whoever_fits_gets_the_whole_screen_and_nobody_the_middle():
    view = View.of(FRAME, UPRIGHT, fill=True, focus=settled([Box(1100, 300, 100, 100)]))
    assert view.area == Box(0, 0, *UPRIGHT)
    assert View.of(FRAME, UPRIGHT, fill=True, focus=settled([])) == View.of(FRAME, UPRIGHT, fill=True)


def test_it_rests_while_somebody_sways_and_glides_when_they_go():
    framing = Framing()
    for i in range(100):
        at = framing([Box(600 + i % 3 * 10, 300, 100, 100)], FRAME, i / 25)
    assert at == pytest.approx(framing([Box(610, 305, 100, 100)], FRAME, 4.0))
    first = framing([Box(900, 300, 100, 100)], FRAME, 4.04)
    assert 0 < first.x - at.x < 40, "no jump"
