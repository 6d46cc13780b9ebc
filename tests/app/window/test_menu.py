"""The operator's menu: opened by a long press in a corner, locked by a PIN, closed when nobody uses it."""

from __future__ import annotations

import itertools

import pytest

from app.window.menu import BACK, ENTER, FORGOTTEN_S, LONG_S, PAD, TRIES, WAIT_S, Choice, Menu, Shows
from tests.support.fakes import FakeClock

SIDES, UNIT = (1280.0, 720.0), 20.0


def make_menu(pin: str | None = None) -> tuple[Menu, FakeClock]:
    clock = FakeClock()
    clock.pass_ms(1000 * FORGOTTEN_S)
    return Menu(pin, clock), clock


def hold(menu: Menu, clock: FakeClock, x: float, y: float, seconds: float = LONG_S) -> None:
    menu.press(x, y, *SIDES)
    clock.pass_ms(1000 * seconds + 1)
    menu.poll(*SIDES)


def touch(menu: Menu, clock: FakeClock, what: Choice | str) -> Choice | None:
    clock.pass_ms(400)
    area = next(b.area for b in menu.buttons(*SIDES, UNIT) if b.what == what)
    menu.press(*area.centre, *SIDES)
    return menu.release(*area.centre, *SIDES, UNIT)


@pytest.mark.parametrize("corner", [(5, 5), (1275, 5), (5, 715), (1275, 715)])
def test_a_long_press_in_any_corner_opens_it_and_its_own_release_chooses_nothing(corner):
    menu, clock = make_menu()
    hold(menu, clock, *corner)
    assert menu.shows is Shows.CHOICES and menu.release(*corner, *SIDES, UNIT) is None
    assert touch(menu, clock, Choice.END) is Choice.END and menu.shows is Shows.NOTHING


def test_short_presses_presses_elsewhere_and_fingers_that_wander_off_open_nothing():
    menu, clock = make_menu()
    hold(menu, clock, 640, 360)
    assert menu.shows is Shows.NOTHING
    hold(menu, clock, 5, 5, LONG_S / 2)
    menu.release(5, 5, *SIDES, UNIT)
    clock.pass_ms(5000)
    assert not menu.poll(*SIDES) and menu.shows is Shows.NOTHING
    menu.press(5, 5, *SIDES)
    menu.move(200, 5, *SIDES)
    clock.pass_ms(5000)
    menu.poll(*SIDES)
    assert menu.shows is Shows.NOTHING


def test_a_pin_is_asked_for_by_touch_and_taken_from_keys():
    menu, clock = make_menu("4711")
    assert not menu.unlocked
    hold(menu, clock, 5, 5)
    assert menu.shows is Shows.PIN
    for key in ("4", "8", BACK, "7", "1", "1"):
        assert touch(menu, clock, key) is None
    assert menu.shows is Shows.CHOICES and menu.unlocked
    other, _ = make_menu("4711")
    other.open()
    assert all(other.type(key) for key in "4711") and other.shows is Shows.CHOICES
    assert not other.type("4"), "no longer meant for it"


def test_after_some_wrong_pins_none_is_taken_for_a_while():
    menu, clock = make_menu("4711")
    menu.open()
    for _ in range(TRIES):
        for key in (*"0000", ENTER)[:4]:
            menu.type(key)
    assert [menu.type(key) for key in "4711"] == [True] * 4 and menu.shows is Shows.PIN, "not even the right one"
    clock.pass_ms(1000 * WAIT_S)
    menu.open()
    for key in "4711":
        menu.type(key)
    assert menu.unlocked


def test_it_closes_and_locks_itself_when_nobody_uses_it():
    menu, clock = make_menu("4711")
    menu.open()
    for key in "4711":
        menu.type(key)
    clock.pass_ms(1000 * FORGOTTEN_S)
    assert menu.poll(*SIDES) and menu.shows is Shows.NOTHING and not menu.unlocked


@pytest.mark.parametrize("sides", [(320.0, 180.0), (1080.0, 1920.0), (3840.0, 2160.0)])
def test_all_buttons_are_on_the_screen_and_apart(sides):
    from app.overlay.style import STANDARD
    from app.window.menu import scale

    menu, _ = make_menu("4711")
    menu.open()
    areas = [b.area for b in menu.buttons(*sides, scale(*sides, STANDARD))]
    assert len(areas) == len(PAD)
    for area in areas:
        assert area.x >= 0 and area.x + area.width <= sides[0] and area.y >= 0 and area.y + area.height <= sides[1]
    assert all(a.x + a.width < b.x or a.y + a.height < b.y for a, b in itertools.pairwise(areas))
