"""Estimates over time. Where chance comes in, readings are drawn from the model that people.py states."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from app.domain import Box, Face, Reading
from app.people.estimates import (
    EXPRESSION_MARGIN,
    FRAME,
    LEAST_EXPRESSION,
    OFFSET,
    OTHER_PERSON,
    SLOW,
    SLOW_S,
    TOO_WIDE,
    People,
)

GENDERS, EXPRESSIONS = ("male", "female"), ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def reading(age: float, half: float = 5.0, happy: float = 0.0, exit: str = "exit_13") -> Reading:
    expression = np.zeros(7)
    expression[3], expression[4] = happy, 1 - happy
    return Reading(age, half, np.array([0.8, 0.2]), expression, exit, 96)


def face(person: int, width: float = 60) -> Face:
    return Face(person, Box(0, 0, width, width), np.eye(2, 3), 0.0)


def half(people: People, person: int = 1) -> float:
    e = people.estimate(person)
    return (e.age_high - e.age_low) / 2


def watch(people: People, ages, person: int = 1, fps: float = 25, start: int = 0, **more) -> list[float]:
    """Reads these ages one a frame; the shown ages."""
    shown = []
    for i, age in enumerate(ages, start):
        people.read(person, reading(float(age), **more), i, i / fps)
        shown.append(people.estimate(person).age)
    return shown


def test_one_reading_is_shown_with_its_own_interval():
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, reading(30, half=6), 0, 0.0)
    assert people.estimate(1).age == 30 and half(people) == pytest.approx(6)


def test_estimates_settle_and_the_interval_does_not_shrink_to_nothing():
    people, rng = People(GENDERS, EXPRESSIONS), np.random.default_rng(0)
    raw = 30 + rng.normal(0, 2, 5000)
    shown = watch(people, raw)
    assert np.std(np.diff(shown[25:])) < 0.05 * np.std(np.diff(raw))
    assert 5 * np.sqrt(1 - FRAME - SLOW - OFFSET) < half(people) < 5
    assert (people.estimate(1).gender, people.estimate(1).expression) == ("male", "neutral")


@pytest.mark.parametrize("exits", [("exit_13",), ("exit_07", "exit_10", "exit_13")])
@pytest.mark.parametrize("frames", [1, 10, 100])
def test_the_interval_holds_as_many_as_it_promises_however_many_frames(frames, exits):
    """300 people drawn from the model, a reading each frame: the truth lies inside for 68 of 100, within chance."""
    rng, inside, n = np.random.default_rng(frames), 0, 300
    halves = {"exit_07": 6.5, "exit_10": 5.0, "exit_13": 5.0}
    for person in range(n):
        people, slow = People(GENDERS, EXPRESSIONS), rng.normal()
        person_error = rng.normal() * np.sqrt(1 - FRAME - SLOW - OFFSET)
        offsets = {e: rng.normal() * np.sqrt(OFFSET) for e in exits}
        keep = np.exp(-1 / 25 / SLOW_S)
        for i in range(frames):
            exit = exits[i % len(exits)]
            slow = keep * slow + np.sqrt(1 - keep**2) * rng.normal()
            error = person_error + offsets[exit] + np.sqrt(SLOW) * slow + np.sqrt(FRAME) * rng.normal()
            people.read(person, reading(40 + halves[exit] * error, halves[exit], exit=exit), i, i / 25)
        e = people.estimate(person)
        inside += e.age_low <= 40 <= e.age_high
    assert abs(inside / n - 0.683) < 3.3 * np.sqrt(0.683 * 0.317 / n)


def test_a_switch_of_exits_does_not_move_the_age():
    """Exit 7 takes this person for four years older in every frame; that is soon known, and does not count again."""
    people = People(GENDERS, EXPRESSIONS)
    watch(people, [30] * 100)
    both = [people.estimate(1).age]
    for i in range(100, 200):
        shallow = i % 2 == 0
        people.read(
            1, reading(34 if shallow else 30, 6 if shallow else 5, exit="exit_07" if shallow else "exit_13"), i, i / 25
        )
        both.append(people.estimate(1).age)
    only_shallow = watch(people, [34] * 100, start=200, half=6, exit="exit_07")
    assert np.abs(np.diff(both)).max() < 0.1 and np.abs(np.diff(only_shallow)).max() < 0.05
    assert min(both + only_shallow) >= 30 and max(both + only_shallow) < 32


def test_shallow_exits_weigh_less_and_widen_the_interval():
    deep, shallow = People(GENDERS, EXPRESSIONS), People(GENDERS, EXPRESSIONS)
    for i in range(20):
        deep.read(1, reading(30, 5), i, i / 25)
        shallow.read(1, reading(30, 7, exit="exit_07"), i, i / 25)
    assert half(shallow) > 1.3 * half(deep)
    one = People(GENDERS, EXPRESSIONS)
    one.read(1, reading(40, half=4), 0, 0.0)
    one.read(1, reading(20, half=8, exit="exit_07"), 1, 1.0)
    assert 34 < one.estimate(1).age < 40


def test_expressions_follow_within_half_a_second_and_ages_do_not():
    people = People(GENDERS, EXPRESSIONS)
    watch(people, [30] * 50)
    watch(people, [34] * 12, start=50, happy=0.9)
    assert people.estimate(1).expression == "happy" and people.estimate(1).expression_p > 0.6
    assert people.estimate(1).age < 31.5


def test_labels_do_not_flicker_between_two_that_are_as_likely():
    people, rng, labels = People(GENDERS, EXPRESSIONS), np.random.default_rng(0), []
    for i in range(500):
        people.read(1, reading(30, happy=0.5 + rng.normal(0, 0.1)), i, i / 25)
        p = 0.5 + rng.normal(0, 0.1)
        people.read(2, reading(30)._replace(gender=np.array([p, 1 - p])), i, i / 25)
        labels.append((people.estimate(1).expression, people.estimate(2).gender))
    expressions, genders = zip(*labels, strict=True)
    assert sum(a != b for a, b in pairwise(expressions)) <= 5 and len(set(genders)) == 1


def test_somebody_else_under_the_same_id_is_not_smeared():
    """The tracker took one for the other: readings far off for a while start a new memory, one alone does not."""
    people = People(GENDERS, EXPRESSIONS)
    watch(people, [30] * 100)
    watch(people, [65], start=100)
    assert people.estimate(1).age < 32
    shown = watch(people, [30] * 50 + [65] * 50, start=101)
    assert shown[49] < 32 and shown[-1] > 64 and OTHER_PERSON > 3


def test_who_is_gone_is_gone():
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, reading(30), 0, 0.0)
    people.keep({2})
    assert people.estimate(1) is None


def test_the_newer_exit_is_named_and_the_rule_hears_of_the_last_reading():
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, reading(30, exit="exit_07"), 1, 0.0)
    people.read(2, reading(50), 2, 0.0)
    people.read(1, reading(40), 3, 0.0)
    assert people.estimate(1).exit == "exit_13" and 30 < people.estimate(1).age < 40
    seen = people.known(1, 0.5)
    assert (seen.waited_s, seen.exit) == (0.5, "exit_13") and people.known(3, 0.5) is None


def test_old_readings_fade():
    people = People(GENDERS, EXPRESSIONS)
    watch(people, [30] * 50)
    people.read(1, reading(36), 51, 600.0)
    assert people.estimate(1).age > 34


@pytest.mark.parametrize("blurred_first", [False, True])
@pytest.mark.parametrize("fps", [2, 25])
def test_ten_blurred_frames_do_not_overrule_a_sharp_one(blurred_first, fps):
    """The network takes a smeared face for a child's, and says itself that it is less sure: half 9 instead of 5 years."""
    people = People(GENDERS, EXPRESSIONS)
    halves = [9.0] * 10 + [5.0] if blurred_first else [5.0] + [9.0] * 10
    for i, half_ in enumerate(halves):
        people.read(1, reading(40 if half_ == 5.0 else 25, half_), i, i / fps)
    assert people.estimate(1).age > 36
    assert half(people) < 6


def test_a_fluke_of_a_sharp_reading_is_forgotten():
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, reading(20, half=1.5), 0, 0.0)
    watch(people, [30] * 240, fps=2, start=1)
    assert people.estimate(1).age > 28


def test_who_cannot_be_told_gets_no_number_until_they_can():
    people = People(GENDERS, EXPRESSIONS)
    people.read(1, reading(30, half=TOO_WIDE + 3), 0, 0.0)
    assert people.estimate(1) is None
    people.read(1, reading(30, half=5), 1, 0.1)
    assert people.estimate(1).age == pytest.approx(30)
    watch(people, [30] * 20, start=2, half=TOO_WIDE + 3)  # and keeps it
    assert people.estimate(1) is not None


def test_an_expression_that_is_a_guess_is_not_shown():
    people = People(GENDERS, EXPRESSIONS)
    flat = np.array([0.2, 0.05, 0.05, 0.1, 0.3, 0.25, 0.05])
    people.read(1, reading(30)._replace(expression=flat), 0, 0.0)
    assert people.estimate(1).expression == "" and people.estimate(1).expression_p == pytest.approx(0.3)
    watch(people, [30] * 25, start=1, happy=0.9)
    assert people.estimate(1).expression == "happy"
    just = LEAST_EXPRESSION - EXPRESSION_MARGIN / 2
    watch(people, [30] * 50, start=26, happy=just)
    assert people.estimate(1).expression in ("happy", "neutral")


def test_what_the_network_does_not_tell_is_empty_and_the_age_is_as_ever():
    alone, all_three = People((), ()), People(GENDERS, EXPRESSIONS)
    nothing = np.empty(0, np.float32)
    for i, age in enumerate((30.0, 34.0, 31.0)):
        alone.read(1, Reading(age, 5.0, nothing, nothing, "exit_13", 96), i, i / 25)
        all_three.read(1, reading(age), i, i / 25)
    told, other = alone.estimate(1), all_three.estimate(1)
    assert (told.age, told.age_low, told.age_high) == (other.age, other.age_low, other.age_high)
    assert (told.gender, told.gender_p, told.expression, told.expression_p) == ("", 0.0, "", 0.0)
