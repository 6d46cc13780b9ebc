"""The overlay stays inside every frame, leaves the frame alone, and its labels keep out of each other's way."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from app.domain import Box, Estimate, Frame, Person, Result
from app.overlay import image_canvas
from app.overlay import people as overlay
from app.overlay.layout import Labels, View
from app.overlay.motion import as_it_is
from tests.support.builders import Recorder, is_inside, make_stats

SIZES = [(1, 1), (2, 700), (40, 30), (160, 120), (480, 270), (960, 540), (1920, 1080)]


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


def recorded(
    result: Result, width: float = 960, height: float = 540, taken: list[Box] = (), **style: object
) -> Recorder:
    canvas = Recorder(width, height)
    rows, columns = result.frame.image.shape[:2]
    view = View.of((columns, rows), (width, height))
    overlay.draw([as_it_is(p) for p in result.people], canvas, view, Labels(), overlay.Style(**style), taken=taken)
    return canvas


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
    sizes = [overlay.text_size(*size) for size in ((480, 270), (960, 540), (1920, 1080))]
    assert sizes == sorted(set(sizes))
    assert overlay.text_size(1080, 1920) == overlay.text_size(1920, 1080), "an upright screen is read from as far"


def test_label_says_what_is_known() -> None:
    result = make_result((960, 540), make_person(Box(500, 200, 100, 120), 7))
    assert recorded(result).texts == ["34", "female · surprised", "29–40 years"]
    assert recorded(result, detail=True).texts == ["34", "female · surprised", "29–40 years  exit b9  #7"]


def test_unread_person_gets_dots() -> None:
    assert recorded(make_result((960, 540), make_person(Box(500, 200, 99, 99), known=False))).texts == ["···"]


def test_a_reason_why_a_face_is_not_read_is_told_in_its_label() -> None:
    canvas = Recorder(960, 540)
    shown = dataclasses.replace(as_it_is(make_person(Box(500, 200, 100, 120))), unfit="turned away")
    overlay.draw([shown], canvas, View.of((960, 540), (960, 540)), Labels())
    assert canvas.texts == ["34", "female · surprised", "29–40 · turned away"]


def test_carried_over_estimate_is_dimmer_and_thinner() -> None:
    boxes = [Box(300, 300, 80, 80), Box(600, 300, 80, 80)]
    result = make_result((960, 540), make_person(boxes[0], 3), make_person(boxes[1], 3, fresh=False))
    _, (_, strong, _, bright), _, (_, fine, _, dim) = recorded(result).outlines
    assert fine < strong
    assert dim < bright


def test_boxes_have_a_dark_edge_and_a_label_far_away_is_tied_to_its_face() -> None:
    result = make_result((960, 540), make_person(Box(300, 300, 80, 80)))
    (edge, thick, dark, _), (box, thin, colour, _) = recorded(result).outlines
    assert edge == box and thick > thin and sum(dark) < sum(colour)
    assert recorded(result).lines == []
    assert len(recorded(result, taken=[Box(200, 180, 400, 280)]).lines) == 1


def test_nobody_gets_a_label_whose_face_is_out_of_sight() -> None:
    canvas = Recorder(540, 960)
    view = View.of((960, 540), (540, 960), fill=True)
    people = [as_it_is(make_person(box, i)) for i, box in enumerate((Box(100, 200, 80, 80), Box(440, 200, 80, 80)))]
    overlay.draw(people, canvas, view, Labels())
    assert len(canvas.outlines) == 4
    assert canvas.texts.count("34") == 1


def test_high_contrast_has_contrast() -> None:
    def luminance(colour: overlay.Colour) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(theme: overlay.Theme, colour: overlay.Colour) -> float:
        return (luminance(colour) + 0.05) / (luminance(theme.plate) + 0.05)

    for theme in (overlay.STANDARD, overlay.CONTRAST):
        assert all(contrast(theme, getattr(theme, name)) >= 7 for name in ("ink", "muted", "accent", "bad"))
    assert all(contrast(overlay.CONTRAST, getattr(overlay.CONTRAST, name)) >= 15 for name in ("ink", "muted", "accent"))
    assert overlay.CONTRAST.opacity == 1.0


@pytest.mark.parametrize("size", [(480, 270), (960, 540), (1920, 1080)])
def test_labels_of_a_crowd_do_not_overlap(size: tuple[int, int]) -> None:
    boxes = crowd(*size)
    canvas = recorded(make_result(size, *map(make_person, boxes, range(12))), *size)
    labels = canvas.fills[::2]  # every other one is a label's stripe
    assert len(labels) == 12
    assert not any(overlaps(one, two) for one, two in itertools.combinations(labels, 2))


def test_crowded_labels_are_shorter() -> None:
    texts = recorded(make_result((240, 135), *map(make_person, crowd(240, 135), range(12))), 240, 135).texts
    assert texts.count("34") == 12
    assert "female · surprised" not in texts


def test_labels_of_a_video_stay_in_place() -> None:
    labels, spots = Labels(), []
    for step in range(5):
        people = [make_person(Box(200 + 2 * step, 200, 90, 90), 1), make_person(Box(300 - 2 * step, 230, 90, 90), 2)]
        result = make_result((960, 540), *people)
        overlay.paint(result.frame.image, result, labels)
        spots.append(dict(labels._held))
    assert spots[0].keys() == {1, 2}
    assert all(spot == pytest.approx(spots[0][1], abs=1e-6) for spot in (s[1] for s in spots))


def test_painting_is_the_same_every_time() -> None:
    result = make_result((960, 540), *map(make_person, crowd(960, 540), range(12)))
    one, two = (overlay.paint(result.frame.image, result) for _ in range(2))
    assert np.array_equal(one, two)


def test_strokes_that_let_the_picture_through() -> None:
    image = np.full((60, 80, 3), 100, np.uint8)
    canvas = image_canvas.ImageCanvas(image)
    canvas.line([(-20, 10), (100, 10)], 3, (200, 0, 0), 0.5)
    canvas.line([(10, -50), (90, -20)], 3, (0, 0, 0), 0.5)
    assert image[10, 40].tolist() == [50, 50, 150]
    assert (image[30:] == 100).all()


def test_fonts_have_every_letter_and_figures_of_one_width() -> None:
    from fontTools.ttLib import TTFont

    for bold in (False, True):
        font = TTFont(image_canvas.font_path(bold))
        letters = font.getBestCmap()
        assert all(ord(c) in letters for c in "–·…åäöÅÄÖ←→↑↓#∞"), bold
        assert len({font["hmtx"][letters[ord(c)]][0] for c in "0123456789"}) == 1


@pytest.mark.parametrize("target", [(480, 270), (960, 540), (1920, 1080)])
def test_fitted_is_bgra(target: tuple[int, int]) -> None:
    image = np.zeros((540, 960, 3), np.uint8)
    image[..., 0] = 200
    fitted = image_canvas.fitted(image, *target)
    assert fitted.shape == (target[1], target[0], 4)
    assert fitted[0, 0].tolist() == [200, 0, 0, 255]


@pytest.mark.parametrize("target", [(480, 270), (1920, 1080)])
def test_fitted_mirrors(target: tuple[int, int]) -> None:
    image = np.zeros((540, 960, 3), np.uint8)
    image[:, :480, 2] = 255
    red = image_canvas.fitted(image, *target, mirrored=True)[..., 2]
    assert red[:, : target[0] // 2 - 4].max() == 0 and red[:, target[0] // 2 + 4 :].min() == 255
