"""When and where it is looked for faces. Real Viola-Jones over a real portrait; a counting detector where cost matters."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from app.domain import Box
from app.faces.scan import NEAR_MIN, NEW_MAX, SLOWEST_SWEEP_S, STRIPS, SWEEP_S, Scanner, parts, same_place
from app.faces.viola_jones import ViolaJones
from tests.support.fakes import FakeClock

WIDTH, HEIGHT, FPS = 1280, 720, 25
EMPTY = np.random.default_rng(0).integers(110, 130, (HEIGHT, WIDTH), dtype=np.uint8)


def scene(*faces: Box) -> np.ndarray:
    """Grey noise with the astronaut's head, whose face fills the boxes."""
    from skimage.data import astronaut

    head = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)[34:194, 145:305]  # its face: 30, 30, 100, 100
    picture = EMPTY.copy()
    for x, y, side, _ in faces:
        matrix = np.array([[side / 100, 0, x - 0.3 * side], [0, side / 100, y - 0.3 * side]])
        cv2.warpAffine(head, matrix, (WIDTH, HEIGHT), dst=picture, borderMode=cv2.BORDER_TRANSPARENT)
    return picture


def look(
    scanner: Scanner, gray: np.ndarray, time_s: float, known: dict[int, Box] | None = None, budget_ms: float = 1.0
):
    return scanner(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), gray, time_s, known or {}, budget_ms=budget_ms)


class Counting:
    """Finds what it is told at every look; counts the looks."""

    in_colour, scan_px, near_px = False, 20.0, 32.0

    def __init__(
        self, found: list[Box] | None = None, clock: FakeClock | None = None, ms: float = 0.0, fine_ms: float = 0.0
    ) -> None:
        self.found, self.clock, self.ms, self.fine_ms = found or [], clock, ms, fine_ms
        self.fine = self.coarse = 0

    def __call__(self, picture, smallest, largest=math.inf, *, fine=True):
        self.fine, self.coarse = self.fine + fine, self.coarse + (not fine)
        if self.clock:
            self.clock.pass_ms(self.fine_ms if fine else self.ms)
        return self.found


SPOTS = [(x, y, side) for side in (72, 100, 130) for x, y in ((30, 40), (236, 300), (470, 90), (700, 420), (1080, 500))]


@pytest.mark.parametrize(("x", "y", "side"), [*SPOTS, (400, 100, 300)])
def test_who_walks_in_is_found_within_a_sweep(x, y, side):
    scanner, face = Scanner(ViolaJones()), Box(x, y, side, side)
    for i in range(10):
        assert look(scanner, EMPTY, i / FPS).faces == []
    picture, frames = scene(face), math.ceil(SWEEP_S * FPS)
    seen = [look(scanner, picture, (10 + i) / FPS).faces for i in range(frames)]
    found = [box for boxes in seen for box in boxes]
    assert found and all(same_place(box, face) for box in found)
    assert found[0].width == pytest.approx(side, rel=0.25)


def test_the_first_frame_is_scanned_whole():
    faces = [Box(60, 60, 80, 80), Box(600, 300, 120, 120), Box(1100, 80, 90, 90), Box(250, 350, 250, 250)]
    found = look(Scanner(ViolaJones()), scene(*faces), 7.0).faces
    assert len(found) == 4 and all(any(same_place(a, b) for a in found) for b in faces)
    assert [b.width for b in found] == sorted((b.width for b in found), reverse=True)


def test_known_faces_are_found_where_expected_and_only_once():
    faces = [Box(300, 200, 100, 100), Box(700, 300, 140, 140)]
    scanner = Scanner(ViolaJones())
    look(scanner, scene(*faces), 0.0)
    for i in range(1, 16):
        off = {n: Box(b.x + 0.2 * b.width, b.y - 0.15 * b.width, *b[2:]) for n, b in enumerate(faces)}
        scan = look(scanner, scene(*faces), i / FPS, {**off, 7: faces[0]})
        assert len(scan.faces) == 2 and scan.looked_for == {0, 1, 7}
        for found, face in zip(scan.faces, faces[::-1], strict=True):
            assert np.subtract(found, face) == pytest.approx(0, abs=0.12 * face.width)


def test_who_is_not_where_expected_is_looked_for_further_away():
    scanner, face = Scanner(ViolaJones()), Box(600, 300, 100, 100)
    look(scanner, EMPTY, 0.0)
    (found,) = look(scanner, scene(face), 0.0, {1: Box(face.x - 75, face.y, 100, 100)}).faces  # nothing is scanned yet
    assert same_place(found, face)


def test_places_beside_the_picture_are_no_trouble():
    scanner = Scanner(ViolaJones())
    known = {
        1: Box(-500, -500, 50, 50),
        2: Box(2 * WIDTH, 0, 50, 50),
        3: Box(-30, -30, 90, 90),
        4: Box(0, 0, 4000, 4000),
    }
    for i in range(10):
        assert look(scanner, EMPTY, i / FPS, known).faces == []


@pytest.mark.parametrize("shape", [(1, 1), (10, 1), (20, 500), (23, 23)])
def test_a_picture_too_small_for_a_face_has_none(shape):
    assert (
        parts(shape) == []
        and look(Scanner(ViolaJones()), np.zeros(shape, np.uint8), 0.0, {1: Box(0, 0, 30, 30)}).faces == []
    )


@pytest.mark.parametrize("shape", [(720, 1280), (1280, 720), (480, 480), (64, 64), (2160, 3840)])
@pytest.mark.parametrize("min_face", [None, 40])
def test_every_face_lies_whole_in_some_part(shape, min_face):
    pieces = parts(shape, min_face)
    smallest = pieces[0].smallest
    assert smallest == (min_face or max(24, max(shape) / 20))
    rng = np.random.default_rng(0)
    for side in (smallest, 1.5 * smallest, 1.99 * smallest, 2.01 * smallest, min(shape)):
        if side > min(shape):
            continue
        for _ in range(50):
            x, y = rng.uniform(0, shape[1] - side), rng.uniform(0, shape[0] - side)
            assert any(
                p.smallest <= side <= p.largest
                and p.area[0] <= x and p.area[1] <= y and x + side <= p.area[2] + 1 and y + side <= p.area[3] + 1
                for p in pieces
            ), (side, x, y)  # fmt: skip


def test_smaller_faces_are_wanted_by_min_face():
    face = Box(500, 300, 44, 44)
    assert look(Scanner(ViolaJones()), scene(face), 0.0).faces == []
    (found,) = look(Scanner(ViolaJones(), min_face=40), scene(face), 0.0).faces
    assert same_place(found, face)


def test_forty_faces_cost_no_more_than_the_bound_and_take_turns():
    detector = Counting(found=[Box(4.0 * i, 2, 21, 21) for i in range(30)])  # thirty false faces at every look
    scanner = Scanner(detector)
    known = {i: Box(20 + 120 * (i % 10), 20 + 150 * (i // 10), 80, 80) for i in range(40)}
    look(scanner, EMPTY, 0.0, known)
    seen = set[int]()
    for i in range(1, 26):
        fine, coarse = detector.fine, detector.coarse
        scan = look(scanner, EMPTY, i / FPS, known)
        assert detector.coarse - coarse <= 1
        assert detector.fine - fine <= 2 * NEAR_MIN + NEW_MAX
        assert len(scan.looked_for) == NEAR_MIN
        seen |= scan.looked_for
        assert i < 7 or seen == set(known), "seven frames reach everybody"


def test_at_a_low_rate_more_are_looked_for_in_a_frame():
    scanner = Scanner(Counting())
    known = {i: Box(20 + 120 * (i % 10), 20 + 150 * (i // 10), 80, 80) for i in range(40)}
    counts = [len(look(scanner, EMPTY, t, known).looked_for) for t in (0.0, 0.02, 0.1, 2.0)]
    assert counts == [NEAR_MIN, NEAR_MIN, 12, 40]


@pytest.mark.parametrize("fps", [8, 12.5, 25, 30, 60])
def test_sweeps_keep_their_time_at_any_rate(fps):
    detector = Counting()
    scanner = Scanner(detector)
    for i in range(int(10 * fps) + 1):
        look(scanner, EMPTY, i / fps)
    sweeps = detector.coarse / (STRIPS + 1) - 1  # without the first frame's
    assert sweeps == pytest.approx(10 / SWEEP_S, rel=0.03)


@pytest.mark.parametrize(
    ("scan_share", "part_ms", "sweep_s"),
    [
        # Six parts of 10 ms at 25 frames a second, 5 ms for each frame: 12 frames.
        *((5.0, 1, SWEEP_S), (5.0, 10, 0.48), (5.0, 1000, SLOWEST_SWEEP_S)),
        # However long the budget, parts get 6 of the 40 ms between frames: 10 frames.
        *((100.0, 5, SWEEP_S), (100.0, 10, 0.4), (100.0, 1000, SLOWEST_SWEEP_S)),
    ],
)
def test_dear_parts_slow_the_sweep_down_to_a_limit(scan_share, part_ms, sweep_s):
    clock = FakeClock()
    detector = Counting(clock=clock, ms=part_ms)
    scanner = Scanner(detector, scan_share=scan_share, clock=clock)
    for i in range(100):
        look(scanner, EMPTY, i / FPS)
    before = detector.coarse
    for i in range(100, 350):
        look(scanner, EMPTY, i / FPS)
    assert (detector.coarse - before) / (STRIPS + 1) == pytest.approx(10 / sweep_s, rel=0.05)


def test_known_faces_leave_time_for_the_part_that_is_due():
    """Of 12 ms a part takes 9: that leaves one search of 2 ms beside it, and four of them, a fifth of 40 ms, where none is due."""
    clock, known = FakeClock(), {n: Box(10 + 120 * n, 100, 80, 80) for n in range(8)}
    detector = Counting(clock=clock, ms=9.0, fine_ms=2.0)
    scanner, taken = Scanner(detector, scan_share=100.0, clock=clock), {True: set(), False: set()}
    for i in range(100):
        coarse = detector.coarse
        detector.found = [Box(0, 0, 40, 40)]
        scan = look(scanner, EMPTY, i / FPS, known if i else {})
        if i > 60:
            taken[detector.coarse > coarse].add(len(scan.looked_for))
    assert taken == {True: {1}, False: {4}}


def test_in_a_slow_moment_the_part_that_is_due_waits_but_not_for_ever():
    """25 frames a second, six parts: about one is due in each frame. It waits for three, then is looked at all the same."""
    clock, said = FakeClock(), [0.0]
    detector = Counting(clock=clock, ms=1.0)
    scanner, parts = Scanner(detector, scan_share=100.0, clock=clock, probe=lambda: said[0]), []
    for i in range(29):
        said[0] = 8.0 if i > 20 else 0.0
        before = detector.coarse
        look(scanner, EMPTY, i / FPS)
        parts.append(detector.coarse - before)
    assert parts[0] == STRIPS + 1 and parts[2:21] == [1] * 19 and parts[21:] == [0, 0, 0, 1, 0, 0, 0, 1]
    calm = Scanner(detector, clock=clock, probe=lambda: 9.0)  # without a limit on time nothing waits
    before = detector.coarse
    for i in range(10):
        look(calm, EMPTY, i / FPS)
    assert detector.coarse - before >= STRIPS + 1 + 8


@pytest.mark.parametrize("fps", [15, 23, 25, 30])
def test_what_was_put_off_is_not_made_up_for(fps):
    clock, said, parts = FakeClock(), iter([0.0, 0.0, 7.0, 7.0, 7.0, 0.0] * 40), []
    detector = Counting(clock=clock, ms=1.0)
    scanner = Scanner(detector, scan_share=100.0, clock=clock, probe=lambda: next(said))
    for i in range(100):
        before = detector.coarse
        look(scanner, EMPTY, i / fps)
        parts.append(detector.coarse - before)
    assert max(parts[1:]) <= math.ceil((STRIPS + 1) / SWEEP_S / fps)


def test_two_frames_of_one_time_are_no_trouble():
    clock = FakeClock()
    scanner = Scanner(Counting(clock=clock, ms=9.0), scan_share=5.0, clock=clock)
    for time_s in (0.0, 0.0, 0.0, 0.04, 0.02):
        assert look(scanner, EMPTY, time_s).faces == []


def test_a_longer_budget_sweeps_faster():
    clock = FakeClock()
    detector = Counting(clock=clock, ms=10.0)
    scanner, looks = Scanner(detector, scan_share=2.5, clock=clock), []
    for i in range(500):
        look(scanner, EMPTY, i / FPS, budget_ms=1.0 if i < 250 else 2.0)
        looks.append(detector.coarse)
    assert (looks[499] - looks[350]) / (looks[249] - looks[100]) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(("fine_ms", "looks"), [(3.5, 4), (50.0, 1)])
def test_slow_looks_at_candidates_are_bounded_too(fine_ms, looks):
    """0.3 of 40 ms holds three looks of 3.5 ms; how long one takes is known of looks for known faces, of whom there are none."""
    clock = FakeClock()
    detector = Counting([Box(5.0 + 30 * n, 5, 24, 24) for n in range(12)], clock, fine_ms=fine_ms)
    scanner = Scanner(detector, scan_share=5.0, clock=clock)
    look(scanner, EMPTY, 0.0)
    before = detector.fine
    for i in range(1, 61):
        look(scanner, EMPTY, i / FPS)
    assert (detector.fine - before) / (detector.coarse - STRIPS - 1) == pytest.approx(looks, rel=0.1)


@pytest.mark.parametrize(("fine_ms", "looked_for"), [(0.1, NEAR_MIN), (3.5, 2), (50.0, 1)])
def test_slow_local_searches_leave_time_for_landmarks_and_everybody_gets_a_turn(fine_ms, looked_for):
    """A fifth of the 40 ms between frames holds two searches of 3.5 ms; one is made in any case."""
    clock, known = FakeClock(), {n: Box(10 + 120 * n, 100, 80, 80) for n in range(8)}
    detector = Counting(clock=clock, fine_ms=fine_ms)
    detector.found = [Box(0, 0, 40, 40)]  # something, so that one look is enough
    scanner, scans = Scanner(detector, scan_share=5.0, clock=clock), []
    for i in range(40):
        scans.append(look(scanner, EMPTY, i / FPS, known if i else {}))
    assert {len(scan.looked_for) for scan in scans[20:]} == {looked_for}
    assert set().union(*(scan.looked_for for scan in scans[20:28])) == set(known)
    assert len(scans[1].looked_for) == NEAR_MIN or fine_ms > 1


def test_the_same_times_give_the_same_answer_whatever_the_clock_says():
    faces = [Box(60 + 250 * i, 100 + 80 * (i % 3), 90, 90) for i in range(5)]
    picture = scene(*faces)

    def answers(ms: float):
        clock = FakeClock()
        scanner = Scanner(ViolaJones(), clock=lambda: clock.pass_ms(ms) or clock.now)
        return [look(scanner, picture if i > 2 else EMPTY, i / FPS, {9: faces[0]} if i > 8 else {}) for i in range(12)]

    assert answers(0.0) == answers(500.0)
