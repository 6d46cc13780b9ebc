"""The stage of known people, and how results are held against it. The faces are noise: nobody has to be found here."""

from __future__ import annotations

import numpy as np
import pytest

from app.bench.truth_crowd import AWAY, FPS
from app.bench.truth_live import judge, matched
from app.bench.truth_stage import HEIGHT, WIDTH, Cast, Stage, StageSource
from app.cli import main
from app.domain import Box, Estimate, Person
from models.data.sets.base import EXPRESSIONS, GENDERS

MATRIX = np.array([[1 / 120, 0, -40 / 120], [0, 1 / 120, -40 / 120]])


@pytest.fixture(scope="module")
def stage() -> Stage:
    rng = np.random.default_rng(0)
    faces = [(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8), MATRIX) for _ in range(14)]
    cast = Cast(rng.integers(20, 60, 14), rng.integers(0, 2, 14), np.repeat(np.arange(7), 2), faces, faces)
    return Stage(cast, people=4, frames=150, seed=3)


def told(stage: Stage, frame: int, off: float = 0.0, years: float = 0.0) -> tuple[Person, ...]:
    """A result that says of everybody what is true, with boxes that are off by pixels and ages by years."""
    people = []
    for visit in stage.visits:
        if box := stage.boxes(frame).get(visit.person):
            age = float(stage.cast.true_age[visit.face]) + years
            gender, expression = (
                GENDERS[stage.cast.true_gender[visit.face]],
                EXPRESSIONS[visit.expression[frame - visit.first]],
            )
            estimate = Estimate(age, age - 3, age + 3, gender, 0.9, expression, 0.9, "exit_13")
            people.append(Person(visit.person, Box(box.x + off, box.y, box.width, box.height), estimate, fresh=True))
    return tuple(people)


def judged(stage: Stage, delay_s: float = 0.0, **changes: float):
    results = [(100 + frame / FPS + delay_s, 7 + frame, told(stage, frame, **changes)) for frame in range(stage.frames)]
    return judge(stage, results, first=7, began_s=100.0)


def test_people_are_drawn_where_they_are_said_to_be_and_the_same_each_time(stage):
    frame = next(f for f in range(100, stage.frames) if len(stage.boxes(f)) > 1)
    picture = stage.picture(frame)
    assert picture.shape == (HEIGHT, WIDTH, 3) and np.array_equal(picture, stage.picture(frame))
    empty = stage.picture(-1)
    for box in stage.boxes(frame).values():
        x, y = (round(v) for v in box.centre)
        assert (
            np.abs(picture[y - 8 : y + 8, x - 8 : x + 8].astype(int) - empty[y - 8 : y + 8, x - 8 : x + 8]).mean() > 10
        )
    away = [(v, v.first + i) for v in stage.visits for i in np.flatnonzero(v.condition == AWAY)]
    assert all(v.person not in stage.boxes(frame) for v, frame in away)
    seen = {v.person: [boxes[v.person].width for f in range(stage.frames) if v.person in (boxes := stage.boxes(f))] for v in stage.visits}  # fmt: skip
    sizes = [(widths[0], max(widths)) for widths in seen.values() if len(widths) > 90]
    assert sizes
    assert all(small < 0.6 * large for small, large in sizes), "they come nearer"


def test_what_is_true_has_no_error_and_what_comes_late_is_wrong_for_as_long(stage):
    right, late, off = judged(stage), judged(stage, delay_s=0.4), judged(stage, years=5.0)
    assert right.figures()["age_error"] == right.figures()["wrong_gender"] == 0.0
    assert right.figures()["wrong_expression"] < 0.02 and right.figures()["blank"] < 0.03
    assert late.figures()["blank"] > right.figures()["blank"] + 0.02
    assert late.figures()["wrong_expression"] > right.figures()["wrong_expression"]
    assert off.figures()["age_error"] == pytest.approx(5.0) and 0 < off.aged < off.seen and 0 < off.felt < off.seen


def test_a_box_elsewhere_is_nobodys_answer(stage):
    assert judged(stage, off=70.0).figures()["blank"] == pytest.approx(1.0)
    assert matched({1: Box(0, 0, 50, 50)}, ()) == {1: None}


def test_the_source_shows_an_empty_room_until_it_is_to_begin(stage):
    source = StageSource(stage)
    source._wait = lambda seconds: None
    frames = iter(source)
    assert np.array_equal(next(frames).image, stage.picture(-1))
    source.begin.set()
    shown = list(frames)
    assert source.first == 1 and len(shown) == stage.frames and source.ended.is_set()
    assert np.array_equal(shown[100].image, stage.picture(100)) and source.drawing_s > 0


def test_the_live_form_needs_pictures(capsys):
    assert main(["bench", "truth", "--live"]) == 2
    assert "--utkface" in capsys.readouterr().err
