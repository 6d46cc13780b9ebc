from __future__ import annotations

import signal
import threading

import pytest

from app.console.ending import GRACE_S, SIGNALS, ends_on_signals
from tests.support.fakes import FakeClock

WAIT_S = 20.0


@pytest.mark.parametrize("number", SIGNALS)
def test_what_comes_soon_after_the_first_is_the_same_wish(number):
    """`timeout` sends one to its child and one to the group, a closing terminal sends SIGHUP twice."""
    stopped, clock, before = threading.Event(), FakeClock(), signal.getsignal(number)
    with ends_on_signals(stopped.set, clock):
        signal.raise_signal(number)
        assert stopped.wait(WAIT_S)
        for again in (number, *SIGNALS):
            clock.pass_ms(100)
            signal.raise_signal(again)
    assert signal.getsignal(number) is before


def test_much_later_a_signal_ends_it_at_once():
    clock = FakeClock()
    with pytest.raises(KeyboardInterrupt), ends_on_signals(lambda: None, clock):
        signal.raise_signal(signal.SIGINT)
        clock.pass_ms(1000 * GRACE_S + 1)
        signal.raise_signal(signal.SIGINT)


def test_what_the_parent_ignores_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_on_signals(lambda: pytest.fail("SIGHUP was to be ignored")):
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
