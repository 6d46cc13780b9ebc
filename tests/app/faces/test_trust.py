"""What it takes to be shown as a person, and to be no longer."""

from __future__ import annotations

from app.faces.trust import (
    CLEAR_FRAMES,
    CLEAR_LOOKS,
    CONFIRMED_LOOKS,
    HELD_BACK_LOOKS,
    PROFILE_LOOKS,
    SEVERAL,
    TIMES_FOUND,
    Trust,
)


def test_one_sure_look_is_enough_and_several_weak_ones_with_a_clear_presence_are():
    trust = Trust(second_look=True)
    for person, score in ((1, 0.6), (2, 0.4), (3, 0.4)):
        for _ in range(1 if person == 1 else SEVERAL):
            assert not trust.is_face(person)
            trust.found(person, score)
            trust.followed(person, 0.6 if person == 3 else 0.99)
    assert [trust.is_face(p) for p in (1, 2, 3)] == [True, True, False]


def test_presence_alone_is_not_enough_where_there_is_a_second_look():
    with_look, without = Trust(second_look=True), Trust(second_look=False)
    for trust in (with_look, without):
        for _ in range(CLEAR_FRAMES):
            assert not trust.is_face(1)
            trust.followed(1, 0.99)
    assert without.is_face(1) and not with_look.is_face(1)


def test_a_profile_must_be_found_more_than_once():
    trust = Trust(second_look=True)
    for i in range(PROFILE_LOOKS):
        assert not trust.is_face(1), i
        trust.followed(1, 0.0)
        trust.found(1, 0.7)
    assert trust.is_face(1)


def test_whom_looks_do_not_find_goes_unless_the_follower_is_clear():
    trust = Trust(second_look=True)
    for presence, person in ((0.99, 1), (0.6, 2)):
        trust.followed(person, presence)
        for _ in range(CONFIRMED_LOOKS):
            assert not trust.is_none(person, confirmed=True)
            trust.not_found(person)
    assert not trust.is_none(1, confirmed=True) and trust.is_none(2, confirmed=True)
    assert trust.is_none(1, confirmed=False) and HELD_BACK_LOOKS <= CONFIRMED_LOOKS
    trust.found(2, 0.6)
    assert not trust.is_none(2, confirmed=True)


def test_who_was_found_once_by_mistake_goes_although_the_follower_is_clear_and_who_was_found_often_stays():
    trust = Trust(second_look=True)
    often = CLEAR_LOOKS
    for person, looks in ((1, 1), (2, often)):
        trust.followed(person, 0.99)
        for _ in range(looks):
            trust.found(person, 0.6)
        for missed in range(CLEAR_LOOKS):
            assert not trust.is_none(person, confirmed=True), missed
            trust.not_found(person)
    assert trust.is_none(1, confirmed=True) and not trust.is_none(2, confirmed=True)
    for _ in range(TIMES_FOUND * often - CLEAR_LOOKS):
        assert not trust.is_none(2, confirmed=True)
        trust.not_found(2)
    assert trust.is_none(2, confirmed=True)


def test_a_box_that_slides_off_a_face_is_none_when_the_second_look_misses_it():
    trust = Trust(second_look=True)
    trust.found(1, 0.8, width=36.0)
    trust.followed(1, 0.99, width=20.0)
    assert not trust.is_none(1, confirmed=True), "nobody has looked since"
    trust.not_found(1)
    assert trust.is_none(1, confirmed=True)
    trust.followed(1, 0.99, width=30.0)
    assert not trust.is_none(1, confirmed=True), "of about the size that was found: somebody who turns away"


def test_a_box_of_less_than_half_the_width_that_was_found_is_on_no_face():
    trust = Trust(second_look=True)
    assert trust.as_wide(1, 5.0), "never found: nothing to compare with"
    trust.found(1, 0.8, width=36.0)
    assert trust.as_wide(1, 19.0) and not trust.as_wide(1, 17.0)
