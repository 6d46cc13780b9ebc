"""Sends messages to another system, on a thread of its own: nothing that the system does can make a frame wait.

Up to QUEUE messages wait in a mailbox; the oldest makes room for the newest and is counted as dropped. One that was not
taken is tried again, at first soon and then every LONGEST_S; one that was refused for good is counted and let go.
"""

from __future__ import annotations

import random
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Protocol

from app.mailbox import Closed, Mailbox, WhenFull

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.domain import Result
    from app.outputs.address import Address
    from app.outputs.messages import Message, Messages

QUEUE = 256
# The first pause, and the longest: each is twice as long as the one before, less up to half of it by chance, so that forty
# kiosks whose server comes back do not all call in the same second.
FIRST_S, LONGEST_S = 1.0, 60.0
# What is left for messages that wait when a run ends.
CLOSE_S = 1.5
# Of one try.
TIMEOUT_S = 5.0


class NotTaken(Exception):
    """The message may be taken another time: no connection, no answer, too busy."""


class Refused(Exception):
    """The message will never be taken."""


class Transport(Protocol):
    """One way to another system. Called on the sender's thread only."""

    name: str  # "mqtt", for people
    address: Address  # shows itself without what is secret in it

    def send(self, message: Message) -> None:
        """Returns when the message has been taken. Raises NotTaken and Refused, in words for people."""

    def close(self) -> None: ...


class Sender:
    """A transport with its thread and its mailbox."""

    def __init__(
        self,
        transport: Transport,
        queue: int = QUEUE,
        tell: Callable[[str], None] = lambda text: None,
        wait: Callable[[float], object] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`tell` is called once when sending fails, and once when it works again; `wait` pauses between tries, at most until
        `close`."""
        self.name, self.address = transport.name, transport.address
        self._transport, self._chance = transport, chance
        self._box: Mailbox[Message] = Mailbox(queue, WhenFull.DROP_OLDEST)
        self._closing = threading.Event()
        self._wait = wait or self._closing.wait
        self._tell = tell
        self.sent = self.refused = 0
        self._pushed_out = self._given_up = 0  # each written by one thread
        self._troubled = self._holding = (
            False  # holding: a message is out of the mailbox, and neither sent nor given up
        )
        self._thread = threading.Thread(target=self._run, name=transport.name, daemon=True)

    @property
    def dropped(self) -> int:
        return self._pushed_out + self._given_up

    def start(self) -> None:
        self._thread.start()

    def put(self, message: Message) -> None:
        """Adds a message. Never waits."""
        try:
            self._pushed_out += self._box.put(message) is not None
        except Closed:
            self._pushed_out += 1

    def finish(self) -> None:
        """Says that nothing more comes. What waits is sent until a try fails. Returns at once."""
        self._box.close()
        self._closing.set()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Waits at most so long until all is sent; the rest counts as dropped. May be called twice."""
        self.finish()
        if not self._thread.is_alive():
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():  # it hangs in a call; it ends with the program
            self._pushed_out += len(self._box) + self._holding
            self._box.clear()

    def _run(self) -> None:
        try:
            while True:
                message = self._box.get()
                self._holding = True
                self._deliver(message)
                self._holding = False
        except Closed:
            pass
        finally:
            self._transport.close()

    def _deliver(self, message: Message) -> None:
        for tries in count():
            try:
                self._transport.send(message)
            except NotTaken as error:
                if self._closing.is_set():
                    self._given_up += 1 + len(self._box)
                    self._box.clear()
                    return
                self._trouble(f"{error}; it is tried again")
                self._wait(min(LONGEST_S, FIRST_S * 2 ** min(tries, 9)) * (1 - self._chance() / 2))
            except Exception as error:  # Refused, or an unforeseen error: the next message may succeed
                self.refused += 1
                self._trouble(str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}")
                return
            else:
                self.sent += 1
                if self._troubled:
                    self._troubled = False
                    self._tell(
                        f"{self.name} works again; {self.dropped} messages dropped and {self.refused} refused so far"
                    )
                return

    def _trouble(self, text: str) -> None:
        if not self._troubled:
            self._troubled = True
            self._tell(f"{self.name} failed: {text}")


class Announcer:
    """A sink that tells other systems of the run."""

    def __init__(self, messages: Mapping[str, Messages], senders: Sequence[Sender]) -> None:
        """`messages` of each camera, "" where there is one."""
        self._messages, self.senders = messages, tuple(senders)
        for sender in self.senders:
            sender.start()

    def deliver(self, result: Result) -> None:
        self._tell(self._messages[result.frame.camera].of(result))

    def close(self) -> None:
        """May be called twice."""
        for messages in self._messages.values():
            self._tell(messages.end())
        for sender in self.senders:
            sender.finish()
        ends_s = time.monotonic() + CLOSE_S
        for sender in self.senders:
            sender.close(max(0.0, ends_s - time.monotonic()))

    def _tell(self, messages: Sequence[Message]) -> None:
        for message in messages:
            for sender in self.senders:
                sender.put(message)
