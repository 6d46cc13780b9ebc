from __future__ import annotations

import numpy as np
import pytest

from app.domain import Box, Face
from app.engine import Reading
from app.people import People

GENDERS, EXPRESSIONS = ("male", "female"), ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def reading(age: float, half: float = 5.0, happy: float = 0.0) -> Reading:
    expression = np.zeros(7)
    expression[3], expression[4] = happy, 1 - happy
    return Reading(age, half, np.array([0.8, 0.2]), expression, "exit_13")


def face(person: int, width: float = 60) -> Face:
    return Face(person, Box(0, 0, width, width), np.eye(2, 3), 0.0)


def test_estimates_settle_and_the_interval_does_not_shrink_to_nothing():
    people = People(GENDERS, EXPRESSIONS)
    rng = np.random.default_rng(0)
    ages = []
    for i in range(100):
        people.read(1, reading(30 + rng.normal(0, 4)), i, i / 25)
        ages.append(people.estimate(1).age)
    assert np.std(ages[30:]) < 1.2
    last = people.estimate(1)
    assert last.age_high - last.age_low == pytest.approx(10.0)
    assert (last.gender, last.expression) == ("male", "neutral")


def test_certain_readings_count_for_more():
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, reading(40, half=2.0), 0, 0.0)
    people.read(1, reading(20, half=10.0), 1, 0.04)
    assert people.estimate(1).age > 38


def test_expressions_follow_at_once_compared_with_ages():
    people = People(GENDERS, EXPRESSIONS)
    for i in range(50):
        people.read(1, reading(30), i, i / 25)
    for i in range(50, 70):
        people.read(1, reading(50, happy=0.9), i, i / 25)
    assert people.estimate(1).expression == "happy"
    assert 30 < people.estimate(1).age < 42


def test_new_people_first_then_who_waited_longest_then_the_largest():
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, reading(30), 5, 0.2)
    people.read(2, reading(30), 3, 0.1)
    order = people.stalest_first([face(1), face(2), face(3, 50), face(4, 90)])
    assert [f.person for f in order] == [4, 3, 2, 1]


def test_serving_some_each_frame_reaches_everybody_in_turn():
    people = People(GENDERS, EXPRESSIONS)
    faces = [face(i) for i in range(1, 11)]
    for frame in range(4):
        for f in people.stalest_first(faces)[:3]:
            people.read(f.person, reading(30), frame, frame / 25)
    assert all(people.estimate(f.person) for f in faces)


def test_who_is_gone_is_gone():
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, reading(30), 0, 0.0)
    people.keep({2})
    assert people.estimate(1) is None


def test_every_part_of_a_reading_is_fused():
    """Two readings of equal certainty: halves of both, the newer exit, and the newer frame counts for whose turn it is."""
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, Reading(30, 4.0, np.array([0.9, 0.1]), np.eye(7)[3], "exit_07"), 1, 0.0)
    people.read(2, reading(50), 2, 0.0)
    people.read(1, Reading(40, 4.0, np.array([0.1, 0.9]), np.eye(7)[5], "exit_13"), 3, 0.0)
    fused = people.estimate(1)
    assert fused.age == pytest.approx(35) and fused.exit == "exit_13"
    assert fused.gender_p == pytest.approx(0.5) and fused.expression_p == pytest.approx(0.5)
    assert [f.person for f in people.stalest_first([face(1), face(2)])] == [2, 1]
    people.read(1, Reading(40, 8.0, np.array([0.1, 0.9]), np.eye(7)[5], "exit_13"), 4, 0.0)
    assert 4.0 < (people.estimate(1).age_high - people.estimate(1).age_low) / 2 < 8.0


def test_old_readings_fade():
    people = People(GENDERS, EXPRESSIONS)
    for i in range(50):
        people.read(1, reading(30), i, i / 25)
    people.read(1, reading(50), 51, 60.0)
    assert people.estimate(1).age > 49
