"""The overlay stays inside every frame, leaves the frame alone, and its labels keep out of each other's way."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from app import overlay
from app.domain import Box, Estimate, Frame, Person, Result, Stats

SIZES = [(1, 1), (2, 700), (40, 30), (160, 120), (480, 270), (960, 540), (1920, 1080)]


def make_stats(**changes: object) -> Stats:
    values = {
        "fps": 29.9,
        "faces": 1,
        "served": 1,
        "exit": "b9",
        "input_size": 128,
        "budget_ms": 33.3,
        "left_ms": 14.2,
        "predicted_ms": 9.6,
        "measured_ms": 10.3,
        "frame_age_ms": 21.0,
        "misses": 3,
        "frames": 1500,
        "dropped": 17,
        "provider": "CPUExecutionProvider",
        "why": "b13 needs 16 ms of the 14 ms that are left, b9 fits",
    }
    return Stats(**(values | changes))


def make_person(box: Box, number: int = 1, *, fresh: bool = True, known: bool = True) -> Person:
    estimate = Estimate(34.2, 29.0, 40.1, "female", 0.97, "surprise", 0.8, "b9")
    return Person(number, box, estimate if known else None, fresh)


def make_result(size: tuple[int, int] = (960, 540), *people: Person, **stats: object) -> Result:
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    return Result(Frame(0, image, 0.0, 0.0), people, make_stats(**stats))


def crowd(width: int, height: int) -> list[Box]:
    """Twelve faces, four across and three down."""
    side = height / 8
    return [Box((c + 0.4) * width / 4, (r + 0.45) * height / 3, side, side) for r in range(3) for c in range(4)]


class Recorder:
    """A canvas that notes what is drawn; letters are half as wide as they are high."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.outlines: list[tuple[Box, float, overlay.Colour]] = []
        self.fills: list[Box] = []
        self.texts: list[str] = []
        self.extents: list[Box] = []

    def outline(self, box: Box, radius: float, thickness: float, colour: overlay.Colour) -> None:
        self.outlines.append((box, thickness, colour))

    def fill(self, box: Box, radius: float, colour: overlay.Colour, opacity: float) -> None:
        self.fills.append(box)

    def text(self, text: str, x: float, baseline: float, size: float, colour: overlay.Colour, bold: bool) -> None:
        self.texts.append(text)
        self.extents.append(Box(x, baseline - size * 0.8, self.measure(text, size, bold), size))

    def measure(self, text: str, size: float, bold: bool) -> float:
        return 0.5 * size * len(text)


def recorded(result: Result, width: float = 960, height: float = 540, *, panel: bool = True) -> Recorder:
    canvas = Recorder(width, height)
    overlay.draw(result, canvas, panel=panel)
    return canvas


def is_inside(box: Box, width: float, height: float) -> bool:
    right, bottom = box.x + box.width, box.y + box.height
    return box.x >= -1e-6 and box.y >= -1e-6 and right <= width + 1e-6 and bottom <= height + 1e-6


def overlaps(one: Box, two: Box) -> bool:
    return abs(one.centre[0] - two.centre[0]) < (one.width + two.width) / 2 - 1e-6 and (
        abs(one.centre[1] - two.centre[1]) < (one.height + two.height) / 2 - 1e-6
    )


@pytest.mark.parametrize("size", SIZES)
def test_paints_a_copy_of_any_size(size: tuple[int, int]) -> None:
    width, height = size
    people = [make_person(box, i, fresh=i % 3 > 0, known=i % 5 > 0) for i, box in enumerate(crowd(width, height))]
    result = make_result(size, *people)
    before = result.frame.image.copy()
    result.frame.image.flags.writeable = False
    painted = overlay.paint(result.frame.image, result)
    assert painted.shape == before.shape
    assert painted.dtype == np.uint8
    assert np.array_equal(result.frame.image, before)
    assert not np.shares_memory(painted, result.frame.image)


@pytest.mark.parametrize("size", SIZES)
def test_labels_and_panel_stay_inside(size: tuple[int, int]) -> None:
    width, height = size
    edges = [Box(-20, -30, 60, 60), Box(width - 20, height - 20, 60, 60), Box(0, 0, width, height)]
    canvas = recorded(make_result(size, *map(make_person, edges)), width, height)
    assert all(is_inside(box, width, height) for box in canvas.fills + canvas.extents)


def test_paints_at_the_persons_box() -> None:
    result = make_result((960, 540), make_person(Box(500, 200, 100, 120)))
    changed = (overlay.paint(result.frame.image, result) != result.frame.image).any(axis=2)
    assert changed[200:320, 499:502].all(axis=0).any() or changed[230:290, 499:502].any()
    assert changed[140:198, 500:600].any(), "the label is above the box"
    assert not changed[400:, :].any()


def test_everything_scales_with_the_canvas() -> None:
    result = make_result((480, 270), make_person(Box(200, 100, 60, 60)))
    canvas = recorded(result, 1920, 1080)
    assert canvas.outlines[0][0] == Box(800, 400, 240, 240)
    assert overlay.text_size(270) < overlay.text_size(540) < overlay.text_size(1080)


def test_label_says_what_is_known() -> None:
    canvas = recorded(make_result((960, 540), make_person(Box(500, 200, 100, 120), 7)), panel=False)
    assert canvas.texts == ["34", "female · surprise", "29-40", "b9  #7"]


def test_unread_person_gets_dots() -> None:
    assert recorded(make_result((960, 540), make_person(Box(500, 200, 99, 99), known=False)), panel=False).texts == [
        "..."
    ]


def test_carried_over_estimate_is_dimmer_and_thinner() -> None:
    boxes = [Box(300, 300, 80, 80), Box(600, 300, 80, 80)]
    result = make_result((960, 540), make_person(boxes[0], 3), make_person(boxes[1], 3, fresh=False))
    (_, strong, bright), (_, fine, dim) = recorded(result).outlines
    assert fine < strong
    assert sum(dim) < sum(bright)


@pytest.mark.parametrize("size", [(480, 270), (960, 540), (1920, 1080)])
def test_labels_of_a_crowd_do_not_overlap(size: tuple[int, int]) -> None:
    boxes = crowd(*size)
    canvas = recorded(make_result(size, *map(make_person, boxes, range(12))), *size, panel=False)
    labels = canvas.fills[::2]  # every other one is a label's stripe
    assert len(labels) == 12
    assert not any(overlaps(one, two) for one, two in itertools.combinations(labels, 2))


def test_label_goes_below_where_there_is_no_room_above() -> None:
    (spot,) = overlay.place([(120, 40)], [Box(400, 5, 100, 100)], [], (960, 540))
    assert spot.y >= 105


def test_label_stays_off_other_faces_and_the_panel() -> None:
    boxes = [Box(400, 300, 80, 80), Box(400, 200, 80, 80)]
    spots = overlay.place([(120, 40), (120, 40)], boxes, [Box(350, 100, 300, 90)], (960, 540))
    obstacles = [*boxes, Box(350, 100, 300, 90)]
    assert not any(overlaps(spot, obstacle) for spot in spots for obstacle in obstacles)


def test_crowded_labels_are_the_age_alone() -> None:
    texts = recorded(make_result((480, 270), *map(make_person, crowd(480, 270))), 480, 270, panel=False).texts
    assert texts == ["34"] * 12


def test_panel_shows_the_figures() -> None:
    texts = recorded(make_result(faces=12, served=9)).texts
    assert {"30", "9 of 12 read", "b9 · 128 px", "10 ms, 9.6 predicted", "33 ms, 14 left"} <= set(texts)
    assert {"21 ms", "3 (0.2 %)", "17", "CPU"} <= set(texts)
    assert "b13" in " ".join(texts)


def test_panel_can_be_left_out_and_leaves_itself_out() -> None:
    assert recorded(make_result(), panel=False).texts == []
    assert recorded(make_result((60, 60)), 60, 60).texts == []


@pytest.mark.parametrize("budget", [math.inf, math.nan, 0.0])
def test_panel_without_a_budget(budget: float) -> None:
    result = make_result(budget_ms=budget, left_ms=budget, exit="", served=0, why="")
    overlay.paint(result.frame.image, result)
    assert "idle" in recorded(result).texts


def test_long_reason_ends_in_dots() -> None:
    canvas = recorded(make_result(why="because " * 60))
    assert canvas.texts[-1].endswith("...")


def test_font_is_a_font_file() -> None:
    assert len(overlay.font_bytes()) > 1000


@pytest.mark.parametrize("target", [(480, 270), (960, 540), (1920, 1080)])
def test_fitted_is_bgra(target: tuple[int, int]) -> None:
    image = np.zeros((540, 960, 3), np.uint8)
    image[..., 0] = 200
    fitted = overlay.fitted(image, *target)
    assert fitted.shape == (target[1], target[0], 4)
    assert fitted[0, 0].tolist() == [200, 0, 0, 255]
