"""Sending: tried again, bounded, counted, and never in the way of a frame."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from app.outputs.address import Address
from app.outputs.messages import Message
from app.outputs.sender import FIRST_S, LONGEST_S, NotTaken, Refused, Sender

WAIT_S = 20.0


class FakeTransport:
    """Does as `answers` say, one a try, then takes everything; `gate`, when given, is waited for in each try."""

    name, address = "fake", Address("https", "host.example", 443, "secret")

    def __init__(self, answers: list[Exception | None] = (), gate: threading.Semaphore | None = None) -> None:
        self._answers, self._gate = list(answers), gate
        self.taken, self.trying, self.closed = list[int](), threading.Event(), threading.Event()

    def send(self, message: Message) -> None:
        self.trying.set()
        if self._gate:
            assert self._gate.acquire(timeout=WAIT_S)
        answer = self._answers.pop(0) if self._answers else None
        if answer:
            raise answer
        self.taken.append(message.body["number"])

    def close(self) -> None:
        self.closed.set()


def message(number: int) -> Message:
    return Message("summary", {"number": number})


def sent(
    transport: FakeTransport, numbers: range, tell: Callable[[str], None] | None = None
) -> tuple[Sender, list[float], list[str]]:
    waits, told = list[float](), list[str]()
    sender = Sender(transport, tell=tell or told.append, wait=waits.append, chance=lambda: 0.0)
    for i in numbers:
        sender.put(message(i))
    sender.start()
    return sender, waits, told


def test_what_was_not_taken_is_tried_again_later_and_later():
    transport = FakeTransport([NotTaken("no answer")] * 9)
    works, told = threading.Event(), list[str]()

    def tell(text: str) -> None:
        told.append(text)
        if text.startswith("fake works"):
            works.set()

    sender, waits, _ = sent(transport, range(3), tell)
    assert works.wait(WAIT_S)
    sender.close(WAIT_S)
    assert transport.taken == [0, 1, 2] and (sender.sent, sender.dropped, sender.refused) == (3, 0, 0)
    assert waits == [min(LONGEST_S, FIRST_S * 2**i) for i in range(9)]
    assert told == [
        "fake failed: no answer; it is tried again", "fake works again; 0 messages dropped and 0 refused so far"
    ]  # fmt: skip
    assert transport.closed.is_set()


def test_what_is_refused_is_let_go():
    transport = FakeTransport([Refused("404 Not Found"), ValueError("odd")])
    sender, waits, told = sent(transport, range(3))
    sender.close(WAIT_S)
    assert transport.taken == [2] and (sender.sent, sender.refused) == (1, 2) and not waits
    assert told == ["fake failed: 404 Not Found", "fake works again; 0 messages dropped and 2 refused so far"]


def test_the_oldest_makes_room_and_putting_never_waits():
    gate = threading.Semaphore(0)
    transport = FakeTransport(gate=gate)
    sender = Sender(transport, queue=4)
    sender.start()
    sender.put(message(0))
    assert transport.trying.wait(WAIT_S)  # the system hangs, holding the first
    for i in range(1, 11):
        sender.put(message(i))
    assert sender.dropped == 6
    for _ in range(5):
        gate.release()
    sender.close(WAIT_S)
    assert transport.taken == [0, 7, 8, 9, 10] and sender.sent == 5


def test_a_run_that_ends_does_not_wait_for_a_system_that_hangs():
    transport = FakeTransport(gate=threading.Semaphore(0))
    sender, _, _ = sent(transport, range(5))
    assert transport.trying.wait(WAIT_S)
    sender.close(timeout_s=0.01)
    assert (sender.sent, sender.dropped) == (0, 5)
    sender.put(message(9))
    assert sender.dropped == 6


def test_at_the_end_nothing_is_tried_twice():
    transport = FakeTransport([NotTaken("no answer")] * 9)
    sender = Sender(transport)
    for i in range(5):
        sender.put(message(i))
    sender.finish()
    sender.start()
    sender.close(WAIT_S)
    assert (sender.sent, sender.dropped) == (0, 5) and transport.closed.is_set()


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_pauses_differ_by_chance(chance):
    waits = list[float]()
    sender = Sender(FakeTransport([NotTaken("")]), wait=waits.append, chance=lambda: chance)
    sender.put(message(0))
    sender.start()
    while not sender.sent:
        sender._thread.join(0.01)
    sender.close(WAIT_S)
    assert waits == [FIRST_S * (1 - chance / 2)]
