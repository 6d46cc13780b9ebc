from __future__ import annotations

import threading

import pytest

from app.mailbox import Closed, Mailbox, WhenFull


def test_dropping_gives_back_the_oldest():
    box: Mailbox[int] = Mailbox(2, WhenFull.DROP_OLDEST)
    assert [box.put(i) for i in range(4)] == [None, None, 0, 1]
    assert [box.get(), box.get()] == [2, 3]


def test_waiting_loses_nothing_and_keeps_order():
    box: Mailbox[int] = Mailbox(1, WhenFull.WAIT)

    def write() -> None:
        for i in range(100):
            assert box.put(i) is None
        box.close()

    writer = threading.Thread(target=write)
    writer.start()
    got = []
    with pytest.raises(Closed):
        while True:
            got.append(box.get(5))
            assert len(box) <= 1
    writer.join(5)
    assert got == list(range(100))


def test_closing_lets_the_reader_empty_it_and_refuses_the_writer():
    box: Mailbox[int] = Mailbox(2, WhenFull.WAIT)
    box.put(1)
    box.close()
    box.close()
    with pytest.raises(Closed):
        box.put(2)
    assert box.get() == 1
    with pytest.raises(Closed):
        box.get()


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_closing_wakes_whoever_waits(side):
    box: Mailbox[int] = Mailbox(1, WhenFull.WAIT)
    if side == "writer":
        box.put(0)
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(Closed):
            box.get() if side == "reader" else box.put(1)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    box.close()
    thread.join(5)
    assert ended.is_set()


def test_nothing_in_time_is_a_timeout():
    with pytest.raises(TimeoutError):
        Mailbox(1, WhenFull.WAIT).get(0.0)


def test_a_mailbox_without_room_cannot_exist():
    with pytest.raises(ValueError, match="at least one"):
        Mailbox(0, WhenFull.WAIT)


def test_heavy_items_fill_it_sooner_and_one_always_goes_in():
    box: Mailbox[float] = Mailbox(9, WhenFull.DROP_OLDEST, lambda weight: weight)
    assert [box.put(w) for w in (0.4, 0.4, 0.4, 5.0)] == [None, None, None, 0.4]
    assert [box.get() for _ in range(3)] == [0.4, 0.4, 5.0]
