"""Labels in random crowds: never over each other, never over what is taken, never out of the picture."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import Box
from app.overlay.layout import LENGTHEN_S, Labels
from app.overlay.placing import FREE_FACES, REACH, Rules, covered, place
from app.overlay.view import View

AREA = Box(6, 6, 1908, 1068)
GAP = 4.0
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Box], list[tuple[float, float]], list[Box]]:
    """Up to 40 faces, also over the border and over each other, with their labels' sizes, and what is taken."""
    number = st.floats(-60, 1960)
    boxes = draw(
        st.lists(
            st.builds(lambda x, y, s: Box(x, y * 0.57, s, s * 1.1), number, number, st.floats(20, 700)), max_size=40
        )
    )
    sizes = [(draw(st.floats(30, 420)), draw(st.floats(20, 110))) for _ in boxes]
    taken = draw(st.lists(st.just(Box(15, 15, 430, 600)) | st.just(Box(0, 1000, 1920, 80)), max_size=2))
    return boxes, sizes, taken


def overlap(one: Box, two: Box, gap: float = 0.0) -> bool:
    across = min(one.x + one.width, two.x + two.width) - max(one.x, two.x)
    down = min(one.y + one.height, two.y + two.height) - max(one.y, two.y)
    return across > -gap + 1e-6 and down > -gap + 1e-6


def is_inside(box: Box, area: Box) -> bool:
    return (
        box.x >= area.x - 1e-6
        and box.y >= area.y - 1e-6
        and box.x + box.width <= area.x + area.width + 1e-6
        and box.y + box.height <= area.y + area.height + 1e-6
    )


def check(spots: list[Box | None], taken: list[Box], area: Box = AREA, gap: float = GAP) -> None:
    shown = [s for s in spots if s is not None]
    assert all(is_inside(s, area) for s in shown)
    assert not any(overlap(one, two, gap) for one, two in itertools.combinations(shown, 2))
    assert not any(overlap(s, t, gap) for s in shown for t in taken)


def distance(one: Box, two: Box) -> float:
    across = max(one.x - two.x - two.width, two.x - one.x - one.width, 0)
    down = max(one.y - two.y - two.height, two.y - one.y - one.height, 0)
    return math.hypot(across, down)


@PROPERTY
@given(crowds())
def test_labels_of_any_crowd_keep_apart_and_inside(
    crowd: tuple[list[Box], list[tuple[float, float]], list[Box]],
) -> None:
    boxes, sizes, taken = crowd
    spots = place(sizes, boxes, AREA, taken, rules=Rules(gap=GAP))
    check(spots, taken)
    for spot, size, box in zip(spots, sizes, boxes, strict=True):
        if spot:
            assert (spot.width, spot.height) == size
            assert distance(spot, box) <= REACH * spot.height + 1e-6


@PROPERTY
@given(crowds(), st.integers(0, 2**32 - 1))
def test_so_do_labels_of_a_crowd_that_moves(
    crowd: tuple[list[Box], list[tuple[float, float]], list[Box]], seed: int
) -> None:
    boxes, sizes, taken = crowd
    levels = [[(w * s, h * s) for w, h in sizes] for s in (1.0, 0.7, 0.4)]
    random, labels = np.random.default_rng(seed), Labels()
    for i in range(8):
        spots = labels.arrange(
            range(len(boxes)), 3, levels.__getitem__, boxes, AREA, taken, 0.04 * i, Rules(gap=GAP)
        ).spots
        check(spots, taken)
        boxes = [
            Box(b.x + dx, b.y + dy, b.width, b.height)
            for b, (dx, dy) in zip(boxes, random.normal(0, 12, (len(boxes), 2)), strict=True)
        ]


@PROPERTY
@given(st.integers(1, 12), st.integers(0, 1000))
def test_faces_in_rows_all_get_a_label_that_hides_nobody(people: int, seed: int) -> None:
    shift = np.random.default_rng(seed).uniform(-20, 20, (people, 2))
    boxes = [Box(250 + 430 * (i % 4) + dx, 120 + 330 * (i // 4) + dy, 140, 140) for i, (dx, dy) in enumerate(shift)]
    spots = place([(330, 90)] * people, boxes, AREA, rules=Rules(gap=GAP))
    check(spots, [])
    assert None not in spots
    assert covered(spots, boxes) == 0


def test_a_label_is_above_its_face_flush_left_where_that_is_free() -> None:
    (spot,) = place([(120, 40)], [Box(400, 300, 100, 100)], AREA, rules=Rules(gap=GAP))
    assert (spot.x, spot.y) == (400, 300 - 40 - GAP)


def test_below_where_there_is_no_room_above() -> None:
    (spot,) = place([(120, 40)], [Box(400, 8, 100, 100)], AREA)
    assert spot.y >= 108


def test_beside_a_face_as_high_as_the_picture() -> None:
    (spot,) = place([(120, 40)], [Box(600, 10, 700, 1060)], AREA)
    assert spot.x + spot.width <= 600 or spot.x >= 1300


def test_over_its_own_face_when_that_is_all_there_is() -> None:
    (spot,) = place([(120, 40)], [Box(0, 0, 1920, 1080)], AREA)
    assert is_inside(spot, AREA)


def test_none_where_it_cannot_be() -> None:
    assert place([(2000, 40)], [Box(400, 300, 100, 100)], AREA) == [None]
    assert place([(120, 40)], [Box(400, 300, 100, 100)], AREA, [AREA]) == [None]
    assert place([], [], AREA) == []


def test_all_or_none() -> None:
    boxes = [Box(400, 300, 100, 100), Box(1900, 1060, 10, 10)]
    blocked = [Box(1500, 800, 420, 280)]
    assert place([(120, 40)] * 2, boxes, AREA, blocked)[0] is not None
    assert place([(120, 40)] * 2, boxes, AREA, blocked, all_or_none=True) == [None, None]


def wide(level: int) -> list[tuple[float, float]]:
    return [((900.0, 120.0), (90.0, 40.0))[level]] * 9


def grid(pitch: float) -> list[Box]:
    return [Box(300 + pitch * (i % 3), 200 + 300 * (i // 3), 80, 80) for i in range(9)]


def test_a_label_stays_beside_its_moving_face() -> None:
    labels, spots = Labels(), []
    for step in range(20):
        box = Box(400 + 3 * step, 300 + step, 100, 100)
        (spot,) = labels.arrange([1], 1, lambda _: [(120, 40)], [box], AREA).spots
        spots.append((round(spot.x - box.x, 6), round(spot.y - box.y, 6)))
    assert len(set(spots)) == 1


def test_a_crowd_gets_shorter_labels_at_once_and_longer_ones_after_a_while() -> None:
    labels, people = Labels(), range(9)
    tight, near = grid(200), [Box(100, 200, 700, 700), Box(900, 200, 700, 700)]
    assert labels.arrange(people, 2, wide, tight, AREA, now_s=0.0).level == 1
    assert labels.arrange(people[:2], 2, lambda n: wide(n)[:2], near, AREA, now_s=0.1).level == 0, (
        "so few keep theirs long where their faces fill the picture"
    )
    assert labels.arrange(people, 2, wide, tight, AREA, now_s=0.2).level == 1
    few = [Box(300, 100, 80, 80), Box(300, 450, 80, 80), Box(300, 800, 80, 80)]
    levels = [
        labels.arrange(people[:3], 2, lambda n: wide(n)[:3], few, AREA, now_s=1 + 0.1 * i).level for i in range(15)
    ]
    assert levels == sorted(levels, reverse=True) and levels[0] == 1 and levels[-1] == 0
    assert levels.count(1) * 0.1 >= LENGTHEN_S - 0.11


def test_in_a_small_picture_a_short_label_leaves_the_face_free() -> None:
    face, small = Box(68, 34, 57, 57), Box(0, 0, 192, 144)
    sizes = [(124.0, 76.0), (130.0, 60.0), (32.0, 16.0)]
    found = Labels().arrange([1], 3, lambda n: [sizes[n]], [face], small, rules=Rules(beside=True))
    assert found.level == 2 and covered(found.spots, [face]) == 0


def test_long_labels_are_given_up_where_they_would_hide_faces() -> None:
    labels = Labels()
    boxes = [Box(200 + 180 * (i % 8), 120 + 160 * (i // 8), 130, 130) for i in range(40)]
    sizes = [[(330.0, 90.0)] * 40, [(120.0, 40.0)] * 40, [(60.0, 26.0)] * 40]
    level, spots = labels.arrange(range(40), 3, sizes.__getitem__, boxes, AREA)
    assert level == 1 and None not in spots
    assert covered(spots, boxes) <= FREE_FACES


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("canvas", [(1920, 1080), (1080, 1920), (640, 480)])
def test_a_view_keeps_proportions_and_mirrors_boxes_only(canvas: tuple[int, int], fill: bool, mirrored: bool) -> None:
    view = View.of((960, 540), canvas, mirrored=mirrored, fill=fill)
    assert view.picture.width / view.picture.height == pytest.approx(960 / 540, rel=0.01)
    assert is_inside(view.area, Box(0, 0, *canvas)) and is_inside(view.area, view.picture)
    assert (view.area == Box(0, 0, *canvas)) or not fill
    left, right = view.box(Box(0, 0, 100, 100)), view.box(Box(860, 440, 100, 100))
    assert (left.x > right.x) is mirrored
    assert left.y < right.y
    outer = min(left.x, right.x), max(left.x + left.width, right.x + right.width)
    assert outer == pytest.approx((view.picture.x, view.picture.x + view.picture.width))


def test_a_label_that_was_driven_off_goes_home() -> None:
    labels, box, home = Labels(), Box(400, 300, 100, 100), 300 - 40 - GAP
    wall = [Box(100, 150, 800, 140)]

    def y(now_s: float, taken: list[Box]) -> float:
        return labels.arrange([1], 1, lambda _: [(120, 40)], [box], AREA, taken, now_s, Rules(gap=GAP)).spots[0].y

    assert y(0.0, []) == home
    assert y(0.1, wall) > 300
    assert y(0.2, []) > 300, "not at once: what is in the way may come back"
    assert y(2.0, []) == home


def test_a_label_that_shrinks_stays_as_close_to_its_face() -> None:
    labels, box = Labels(), Box(400, 300, 100, 100)
    (tall,) = labels.arrange([1], 1, lambda _: [(300, 90)], [box], AREA, now_s=0.0, rules=Rules(gap=GAP)).spots
    (low,) = labels.arrange([1], 1, lambda _: [(120, 40)], [box], AREA, now_s=0.1, rules=Rules(gap=GAP)).spots
    assert tall.y + 90 == low.y + 40 == 300 - GAP


def test_a_large_card_does_not_stay_over_a_small_face():
    """However little of the card the face takes: the card leaves the spot where it was."""
    size, face, area = (130.0, 100.0), Box(300, 95, 25, 25), Box(0, 0, 480, 270)
    for held in (None, [(320.0, 100.0)]):
        (spot,) = place([size], [face], area, held=held)
        assert spot is not None and covered([spot], [face]) == 0.0
