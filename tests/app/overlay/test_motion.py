"""What is shown settles and does not lie: it converges to the estimate, never passes it, and starts with it."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import Box, Estimate, Person
from app.overlay.motion import JUMP_YEARS, PATIENCE_S, WORD_S, Motion, Shown, as_it_is

PROPERTY = settings(max_examples=80, deadline=None, derandomize=True)
STEP_S = 1 / 60
HERE = Box(100, 100, 80, 80)


def person(
    age: float = 34.0, box: Box = HERE, half: float = 5.0, number: int = 1, *,
    gender: str = "female", expression: str = "happy", fresh: bool = True, known: bool = True,
) -> Person:  # fmt: skip
    estimate = Estimate(age, max(0.0, age - half), age + half, gender, 0.9, expression, 0.9, "exit_09")
    return Person(number, box, estimate if known else None, fresh)


def run(motion: Motion, start_s: float, seconds: float) -> list[Shown]:
    """What is shown of the one person at the screen's rate."""
    return [motion.at(start_s + i * STEP_S)[0] for i in range(round(seconds / STEP_S) + 1)]


@PROPERTY
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.5, 15)), min_size=1, max_size=30), st.floats(0.02, 0.5))
def test_years_converge_and_the_interval_holds_the_age(estimates: list[tuple[float, float]], every_s: float) -> None:
    motion, now = Motion(), 0.0
    for age, half in estimates:
        motion.follow([person(age, half=half)], now)
        for shown in run(motion, now, every_s):
            assert shown.low <= shown.age <= shown.high
        now += every_s
    e = person(*estimates[-1][:1], half=estimates[-1][1]).estimate
    end = run(motion, now, 5.0)[-1]
    for whole, years in ((end.low, e.age_low), (end.age, e.age), (end.high, e.age_high)):
        assert abs(whole - years) <= 0.5 + 1e-6
    assert not motion.moving


@PROPERTY
@given(st.lists(st.floats(20, 60), min_size=2, max_size=40))
def test_a_shown_age_never_leaves_the_estimates_seen_so_far(ages: list[float]) -> None:
    motion = Motion()
    for i, age in enumerate(ages):
        motion.follow([person(age)], i * 0.04)
        seen = ages[: i + 1]
        assert min(seen) - 0.5 <= motion.at(i * 0.04 + 0.02)[0].age <= max(seen) + 0.5


@PROPERTY
@given(
    st.tuples(*[st.floats(-50, 1900)] * 2, *[st.floats(10, 500)] * 2),
    st.tuples(*[st.floats(-50, 1900)] * 2, *[st.floats(10, 500)] * 2),
)
def test_a_box_glides_without_passing_its_goal(start: tuple[float, ...], goal: tuple[float, ...]) -> None:
    motion = Motion()
    motion.follow([person(box=Box(*start))], 0.0)
    motion.follow([person(box=Box(*goal))], 0.001)
    boxes = [shown.box for shown in run(motion, 0.001, 0.4)]
    assert boxes[-1] == Box(*goal)
    for a, b, i in ((a, b, i) for a, b in itertools.pairwise(boxes) for i in range(4)):
        assert abs(b[i] - goal[i]) <= abs(a[i] - goal[i]) + 1e-9
    passed = run(motion, 0.5, 0.1)
    assert all(shown.box == Box(*goal) for shown in passed)


def test_within_two_frames_a_box_has_come_most_of_its_way() -> None:
    motion = Motion()
    motion.follow([person(box=Box(0, 0, 100, 100))], 0.0)
    motion.follow([person(box=Box(100, 0, 100, 100))], 0.04)
    assert motion.at(0.12)[0].box.x > 89


def test_the_first_estimate_is_shown_as_it_is() -> None:
    motion = Motion()
    motion.follow([person(known=False)], 0.0)
    assert not motion.at(0.0)[0].known
    motion.follow([person(71.2, gender="male", expression="sad")], 0.04)
    shown = motion.at(0.04)[0]
    assert (shown.age, shown.low, shown.high, shown.gender, shown.expression) == (71, 66, 76, "male", "sad")


def test_noise_does_not_make_a_number_flicker() -> None:
    motion, ages = Motion(), set()
    for i in range(200):
        motion.follow([person(33.5 + (0.2 if i % 2 else -0.2))], i * 0.04)
        ages.add(motion.at(i * 0.04 + 0.02)[0].age)
    assert len(ages) == 1


def test_a_number_that_is_not_the_nearest_gives_way_in_time() -> None:
    motion = Motion()
    motion.follow([person(33.4)], 0.0)
    motion.follow([person(33.6)], 0.01)
    shown = run(motion, 0.01, PATIENCE_S + 1.5)
    assert shown[0].age == 33 and shown[-1].age == 34


def test_a_great_change_is_shown_at_once() -> None:
    motion = Motion()
    motion.follow([person(20.0)], 0.0)
    motion.follow([person(20.0 + JUMP_YEARS + 10)], 0.04)
    assert motion.at(0.04)[0].age == 42


def test_a_word_must_last_to_be_shown() -> None:
    motion = Motion()
    motion.follow([person()], 0.0)
    motion.follow([person(expression="sad")], 0.04)
    motion.follow([person()], 0.08)
    assert {shown.expression for shown in run(motion, 0.08, 1.0)} == {"happy"}
    motion.follow([person(expression="sad")], 2.0)
    assert motion.at(2.0 + WORD_S - 0.05)[0].expression == "happy"
    assert motion.at(2.0 + WORD_S + 0.05)[0].expression == "sad"


def test_whoever_leaves_is_gone_at_once_and_comes_back_new() -> None:
    motion = Motion()
    motion.follow([person(), person(number=2)], 0.0)
    motion.follow([person(number=2)], 0.04)
    assert [shown.id for shown in motion.at(0.04)] == [2]
    motion.follow([person(70.0, Box(500, 0, 80, 80)), person(number=2)], 0.08)
    assert motion.at(0.08)[0].box.x == 500 and motion.at(0.08)[0].age == 70


def test_staleness_counts_from_the_last_reading() -> None:
    motion = Motion()
    motion.follow([person()], 1.0)
    motion.follow([person(fresh=False)], 1.5)
    assert motion.at(2.25)[0].stale_s == 1.25


def test_nothing_moves_when_all_has_settled() -> None:
    motion = Motion()
    motion.follow([person()], 0.0)
    motion.at(0.05)
    assert motion.moving
    motion.at(1.0)
    assert not motion.moving
    motion.forget()
    assert motion.at(1.1) == []


def test_as_it_is() -> None:
    shown = as_it_is(person(34.4, fresh=False))
    assert (shown.age, shown.low, shown.high, shown.box) == (34, 29, 39, Box(100, 100, 80, 80))
    assert shown.stale_s > 1e9 and shown.opacity == 1
    assert not as_it_is(person(known=False)).known
