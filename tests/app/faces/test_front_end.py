"""Who is confirmed, followed, carried and dropped, on scripted faces."""

from __future__ import annotations

import numpy as np
import pytest

from align.geometry import PAPER_MARGINS, Template, load_mean_shape
from align.landmarks import BOX_CENTRE, BOX_SIDE
from app.domain import Box, DropCause, Frame
from app.faces.detector import Sighting
from app.faces.follower import Followed
from app.faces.front_end import FrontEnd
from app.faces.second_look import Look
from app.faces.tracker import Tracker
from app.faces.trust import CLEAR_FRAMES
from tests.support.fakes import FakeFaces

TEMPLATE = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
PICTURE = np.zeros((300, 1000, 3), np.uint8)
CROWD = [Box(30.0 + 60 * i, 80.0, 40.0, 40.0) for i in range(14)]


def frame(i: int) -> Frame:
    return Frame(i, PICTURE, i / 25, 0.0)


def shown(prepared) -> set[int]:
    return {f.person for f in prepared.faces} | {person for person, _ in prepared.unread}


class Found:
    """A search that sees a thing in every frame."""

    def __init__(self, *boxes: Box) -> None:
        self._boxes = boxes

    def __call__(self, image, gray, time_s, known):
        return [Sighting(box) for box in self._boxes]


class Late:
    """A second look whose answers are `late` frames old."""

    def __init__(self, faces: FakeFaces, boxes, late: int) -> None:
        self._boxes, self._late, self._seen = boxes, late, []

    def __call__(self, image, time_s):
        self._seen.append(time_s)
        i = len(self._seen) - 1 - self._late
        return Look(self._seen[i], tuple(Sighting(b, 0.9) for b in self._boxes(i)), True) if i >= 0 else None

    def close(self):
        pass


def test_all_whom_the_second_look_finds_are_aligned_at_once_and_in_every_frame():
    faces = FakeFaces(CROWD)
    end = FrontEnd(faces.follow, None, faces, TEMPLATE, Tracker())
    for i in range(3):
        prepared = end(frame(i))
        assert len(prepared.faces) == len(CROWD) and not prepared.unserved
    assert [f.person for f in sorted(prepared.faces, key=lambda f: f.box.x)] == list(range(1, len(CROWD) + 1))
    assert set(prepared.stages_ms) == {"follow", "find", "align"}


def test_whom_only_the_search_finds_is_held_back_until_followed_for_some_frames():
    faces = FakeFaces(CROWD[:1])
    end = FrontEnd(faces.follow, Found(CROWD[0]), None, TEMPLATE, Tracker())
    held = [end(frame(i)).unserved.get(DropCause.UNCONFIRMED, 0) for i in range(8)]
    assert held == [1] * (CLEAR_FRAMES - 1) + [0] * (8 - CLEAR_FRAMES + 1)


def test_a_thing_that_the_follower_sees_no_face_in_never_shows():
    end = FrontEnd(FakeFaces([]).follow, Found(CROWD[0]), None, TEMPLATE, Tracker())
    for i in range(8):
        prepared = end(frame(i))
        assert not shown(prepared) and prepared.places, "but privacy covers it"


def test_whom_the_second_look_never_finds_is_dropped():
    class Nothing(FakeFaces):
        def __call__(self, image, time_s):
            return Look(time_s, (), True)

    faces = Nothing(CROWD[:1])
    end = FrontEnd(faces.follow, Found(CROWD[0]), faces, TEMPLATE, Tracker())
    for i in range(12):
        prepared = end(frame(i))
        assert not shown(prepared)
    assert prepared.places, "but privacy covers it"


def test_what_a_late_look_finds_is_carried_to_the_present():
    """The picture is five frames old, the head has moved by 1.2 of its width since."""

    def at(i: int) -> list[Box]:
        return [Box(100.0 + 9.6 * i, 80.0, 40.0, 40.0)]

    class Past(FakeFaces):
        """Knows each picture by what is written into it."""

        def follow(self, gray, places, rounds=2):
            self.frames = int(gray[0, 0]) + 1
            return [self._at(place) for place in places]

    faces = Past(at)
    end = FrontEnd(faces.follow, None, Late(faces, at, 5), TEMPLATE, Tracker())
    for i in range(7):
        prepared = end(Frame(i, np.full((300, 600, 3), i, np.uint8), i / 25, 0.0))
    (face,) = prepared.faces
    assert face.box.centre == pytest.approx(at(6)[0].centre, abs=3)


def test_who_turns_away_keeps_box_and_id_while_a_detector_finds_them():
    faces = FakeFaces(CROWD[:1])
    end = FrontEnd(faces.follow, None, faces, TEMPLATE, Tracker())
    end(frame(0))
    faces.present = 0.1
    for i in range(1, 20):
        prepared = end(frame(i))
        assert shown(prepared) == {1} and prepared.unfit == {1: "turned away"}
    faces.present = 1.0
    assert [f.person for f in end(frame(20)).faces] == [1]


def test_a_follower_that_slides_off_a_face_is_put_back_on_it_and_the_person_stays_one():
    """A man holds a phone before his eyes: the follower makes for his chin and for smaller and smaller things there."""

    class Sliding(FakeFaces):
        looks = 0

        def _at(self, place):
            x, y = Box(*place.box).centre
            eyes = 0.88 * Box(*place.box).width / BOX_SIDE
            return Followed(self._shape * eyes + np.array([x + 1, y + 3]) - np.array(BOX_CENTRE) * eyes, 0.95)

        def __call__(self, image, time_s):
            self.looks += 1
            return super().__call__(image, time_s) if self.looks % 6 == 1 else None

    faces = Sliding(CROWD[:1])
    end = FrontEnd(faces.follow, None, faces, TEMPLATE, Tracker())
    for i in range(40):
        prepared = end(frame(i))
        assert shown(prepared) <= {1} and prepared.alive == {1}
        boxes = [f.box for f in prepared.faces] + [box for _, box in prepared.unread]
        assert all(box.width > 0.3 * CROWD[0].width for box in boxes)


def test_who_is_no_longer_there_is_let_go():
    faces = FakeFaces(lambda i: CROWD[:1] if i < 3 else [])
    end = FrontEnd(faces.follow, None, faces, TEMPLATE, Tracker())
    gone = [shown(end(frame(i))) for i in range(14)]
    assert gone[2] == {1} and gone[-1] == set()


def test_two_people_do_not_share_a_face():
    """One walks behind the other: the front one keeps the face, the other is expected further on and found there again."""

    def at(i: int) -> list[Box]:
        front, behind = Box(200.0, 80.0, 60.0, 60.0), Box(60.0 + 14 * i, 84.0, 54.0, 54.0)
        return [front] if abs(behind.centre[0] - front.centre[0]) < 40 else [front, behind]

    faces = FakeFaces(at)
    end = FrontEnd(faces.follow, None, faces, TEMPLATE, Tracker())
    for i in range(22):
        prepared = end(frame(i))
    assert {f.person for f in prepared.faces} == {1, 2}
    assert prepared.alive == {1, 2}


def test_more_than_max_faces_are_shown_but_not_read():
    faces = FakeFaces(CROWD[:5])
    prepared = FrontEnd(faces.follow, None, faces, TEMPLATE, Tracker(), 2)(frame(0))
    assert len(prepared.faces) == 2 and len(prepared.unread) == 3
    assert prepared.unserved == {DropCause.MAX_FACES: 3}
