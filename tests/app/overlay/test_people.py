"""The overlay stays inside every frame, leaves the frame alone, and its labels keep out of each other's way."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from app.domain import Box, Estimate, Frame, Person, Result
from app.overlay import icons, image_canvas, labels, style
from app.overlay import people as overlay
from app.overlay.colours import Colours
from app.overlay.layout import Labels
from app.overlay.motion import as_it_is
from app.overlay.view import View
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


ALL = ("age", "expression", "gender")


def test_label_says_what_is_known_and_that_it_is_a_guess() -> None:
    result = make_result((960, 540), make_person(Box(500, 200, 100, 120), 7))
    assert recorded(result).texts == ["looks about 34", "29", "40", "surprised"]
    assert recorded(result, labels=ALL).texts == ["looks about 34", "29", "40", "surprised", "perhaps a woman"]
    assert recorded(result, labels=ALL, detail=True).texts[-2:] == ["perhaps a woman", "exit b9  #7"]
    assert recorded(result, labels=("expression",)).texts == ["surprised"]
    assert recorded(result, labels=("gender",)).texts == ["perhaps a woman"]


def test_up_to_three_get_large_cards_beside_or_under_their_face_and_a_crowd_small_labels() -> None:
    for count in (1, 2, 3):
        boxes = [Box(150 + 260 * i, 150, 70, 70) for i in range(count)]
        canvas = recorded(make_result((960, 540), *map(make_person, boxes, range(count))))
        assert canvas.texts.count("looks about 34") == count == len(canvas.plates)
        for box, card in zip(boxes, canvas.plates, strict=True):
            assert card.height > 80 and card.y >= box.y - 1, "beside or under, not above"
    boxes = [Box(60 + 220 * i, 150, 70, 70) for i in range(4)]
    canvas = recorded(make_result((960, 540), *map(make_person, boxes, range(4))))
    assert canvas.texts == ["34"] * 4 and all(card.height < 40 for card in canvas.plates)


def test_a_range_is_drawn_as_a_scale_with_its_numbers_apart_and_under_it() -> None:
    for low, high, age in ((29, 40, 34), (0, 1, 0), (88, 99, 95), (20, 20, 20)):
        shown = dataclasses.replace(as_it_is(make_person(Box(500, 200, 100, 120))), low=low, high=high, age=age)
        canvas = Recorder(960, 540)
        card = labels.large(shown, canvas, 15.0, overlay.PLAIN, (255, 0, 0))
        scale = card.drawings[0]
        ends = [(run.x, run.x + canvas.measure(run.text, run.size, False)) for run in card.runs[1:3]]
        assert ends[0][1] < ends[1][0] and scale.x - 1e-6 <= ends[0][0] and ends[1][1] <= scale.x + scale.width + 1e-6
        card.put(canvas, 0.0, 0.0)
        track, bright, mark = canvas.fills[:3]
        assert track.x <= bright.x and bright.x + bright.width <= track.x + track.width + scale.height
        assert bright.x <= mark.centre[0] <= bright.x + bright.width


@pytest.mark.parametrize("expression", ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"])
def test_every_expression_has_an_icon_of_its_own(expression: str) -> None:
    assert len({str(lines) for lines in icons.MOUTHS.values()}) == 7
    canvas = Recorder(100, 100)
    icons.Icon(expression, 0.0, 0.0, 10.0, (255, 255, 255)).put(canvas, 50.0, 50.0, 1.0)
    assert len(canvas.lines) >= 2
    assert all(math.dist(point, (50, 50)) <= 10.01 for line in canvas.lines for point in line)


@pytest.mark.parametrize("count", [5, 8])
def test_neighbours_never_share_a_colour_and_everybody_keeps_theirs(count: int) -> None:
    chance, colours = np.random.default_rng(3), Colours()
    places, held = {i: chance.uniform(0, 600, 2) for i in range(30)}, {}
    for _ in range(40):
        for place in places.values():
            place += chance.normal(0, 4, 2)
        boxes = [Box(*place, 60, 60) for place in places.values()]
        now = colours.assign(list(places), boxes, count)
        for i, box in zip(places, boxes, strict=True):
            nearest = sorted((math.dist(box.centre, b.centre), j) for j, b in zip(places, boxes, strict=True) if j != i)
            if nearest[0][0] < 200:
                assert now[i] != now[nearest[0][1]]
        changed = sum(now[i] != held[i] for i in held)
        assert changed <= 12, "only who has come near somebody of the same colour"
        held = now
    assert colours.assign([0], [Box(0, 0, 60, 60)], count) == {0: held[0]}


def test_unread_person_gets_dots() -> None:
    assert recorded(make_result((960, 540), make_person(Box(500, 200, 99, 99), known=False))).texts == ["···"]


def test_a_reason_why_a_face_is_not_read_is_told_in_its_label() -> None:
    canvas = Recorder(960, 540)
    shown = dataclasses.replace(as_it_is(make_person(Box(500, 200, 100, 120))), unfit="turned away")
    overlay.draw([shown], canvas, View.of((960, 540), (960, 540)), Labels())
    assert canvas.texts == ["looks about 34", "29", "40", "surprised", "turned away"]


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
    assert recorded(result, labels=("age",)).lines == []
    assert len(recorded(result, labels=("age",), taken=[Box(200, 180, 400, 280)]).lines) == 1


def test_nobody_gets_a_label_whose_face_is_out_of_sight() -> None:
    canvas = Recorder(540, 960)
    view = View.of((960, 540), (540, 960), fill=True)
    people = [as_it_is(make_person(box, i)) for i, box in enumerate((Box(100, 200, 80, 80), Box(440, 200, 80, 80)))]
    overlay.draw(people, canvas, view, Labels())
    assert len(canvas.outlines) == 4
    assert canvas.texts.count("looks about 34") == 1


def test_high_contrast_has_contrast() -> None:
    def luminance(colour: overlay.Colour) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(theme: overlay.Theme, colour: overlay.Colour) -> float:
        return (luminance(colour) + 0.05) / (luminance(theme.plate) + 0.05)

    for theme in (style.STANDARD, style.CONTRAST):
        assert all(contrast(theme, getattr(theme, name)) >= 7 for name in ("ink", "muted", "accent", "bad"))
    assert all(contrast(style.CONTRAST, getattr(style.CONTRAST, name)) >= 15 for name in ("ink", "muted", "accent"))
    assert all(contrast(style.CONTRAST, colour) >= 10 for colour in style.CONTRAST.people)
    assert style.CONTRAST.opacity == 1.0


@pytest.mark.parametrize("size", [(480, 270), (960, 540), (1920, 1080)])
def test_labels_of_a_crowd_do_not_overlap(size: tuple[int, int]) -> None:
    boxes = crowd(*size)
    canvas = recorded(make_result(size, *map(make_person, boxes, range(12))), *size)
    assert len(canvas.plates) == 12
    assert not any(overlaps(one, two) for one, two in itertools.combinations(canvas.plates, 2))


def test_crowded_labels_are_shorter() -> None:
    texts = recorded(make_result((240, 135), *map(make_person, crowd(240, 135), range(12))), 240, 135).texts
    assert texts.count("34") == 12
    assert "looks about 34" not in texts


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
