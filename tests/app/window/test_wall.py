"""Several cameras as one picture."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain import Box, Crowd, Frame, Person, Result, SourceState, SourceStatus
from app.window.wall import CELL, GAP, WALL_S, Tile, Wall
from tests.support.builders import make_stats
from tests.support.fakes import FakeClock


class FakeTile:
    """A camera of one colour with one person in it."""

    def __init__(self, name: str, colour: int, person: int, size: tuple[int, int] = (320, 180), **more) -> None:
        self.lost = False
        image = np.full((size[1], size[0], 3), colour, np.uint8)
        people = (Person(person, Box(160, 90, 32, 18), None, False),) if person else ()
        self.result = Result(Frame(5, image, 1.0, 100.0 + person, camera=name), people, make_stats(faces=1), **more)
        self.tile = Tile(name, lambda: self.result, self.status)

    def status(self) -> SourceStatus:
        return SourceStatus(SourceState.LOST if self.lost else SourceState.OK, text=f"{self.tile.name} is gone")


@pytest.fixture
def cameras():
    return [FakeTile("door", 50, 1), FakeTile("hall", 100, 2, (180, 180)), FakeTile("yard", 150, 3)]


def wall(cameras) -> tuple[Wall, FakeClock]:
    clock = FakeClock()
    return Wall([c.tile for c in cameras], clock), clock


def test_every_camera_has_its_place_and_everybody_is_where_they_are_in_it(cameras):
    made, _ = wall(cameras)
    result = made.latest()
    image = result.frame.image
    assert image.shape == (2 * CELL[1] + GAP, 2 * CELL[0] + GAP, 3)
    middles = [image[int(c.area.y + c.area.height / 2), int(c.area.x + c.area.width / 2), 0] for c in made.cells()]
    assert middles == [50, 100, 150] and [c.name for c in made.cells()] == ["door", "hall", "yard"]
    boxes = {p.id: p.box for p in result.people}
    assert boxes[1] == Box(320, 180, 64, 36)
    second = made.cells()[1].area
    assert boxes[2].x == pytest.approx(second.x + (640 - 360) / 2 + 320) and boxes[2].width == 64, (
        "square, in the middle"
    )
    assert result.stats.faces == 3


def test_it_is_made_anew_now_and_then_only(cameras):
    made, clock = wall(cameras)
    first = made.latest()
    cameras[0].result = FakeTile("door", 60, 1).result
    assert made.latest() is first
    clock.pass_ms(1e3 * WALL_S + 1)
    assert made.latest().frame.image[180, 100, 0] == 60


def test_a_key_enlarges_one_and_shows_all_again(cameras):
    made, _ = wall(cameras)
    made.toggle(2)
    assert made.latest() is cameras[1].result and made.cells() == [] and not made.whole
    made.toggle(9)
    assert made.latest() is cameras[1].result, "there is no ninth"
    made.toggle(2)
    assert made.whole and len(made.latest().people) == 3


def test_of_a_lost_camera_no_old_picture_is_shown(cameras):
    made, _ = wall(cameras)
    cameras[0].lost = True
    result = made.latest()
    assert {p.id for p in result.people} == {2, 3} and result.frame.image[180, 320, 0] != 50
    assert [c.lost for c in made.cells()] == [True, False, False]
    assert made.status().state is SourceState.OK
    made.toggle(1)
    assert made.status().state is SourceState.LOST, "of the one that is enlarged"
    made.toggle(1)
    for camera in cameras:
        camera.lost = True
    assert made.status().text == "door is gone"


def test_counts_alone_are_counted_together():
    crowd = Crowd(0, 1, 2, 2, 2, 0, None, None, None, None)
    made, _ = wall([FakeTile("a", 20, 0, crowd=crowd), FakeTile("b", 20, 0, crowd=crowd)])
    assert made.latest().crowd.present == 4
