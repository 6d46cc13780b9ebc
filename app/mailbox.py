"""The only container that crosses threads: bounded, counts what it drops, and can be closed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class WhenFull(Enum):
    WAIT = "wait"  # files: nothing may be lost
    DROP_OLDEST = "drop oldest"  # live sources: only the newest matters


class Closed(Exception):
    """The mailbox is closed and, for a reader, empty."""


class Mailbox(Generic[T]):
    """First in, first out, between one writer and one reader."""

    def __init__(
        self,
        capacity: int,
        when_full: WhenFull,
        weigh: Callable[[T], float] = lambda item: 0.0,
        changed: threading.Condition | None = None,
    ) -> None:
        """It is also full when its items' weights add up to 1, as shares of a memory limit. One item always goes in.
        `changed` is shared with the other mailboxes of one reader (`take_of_each`)."""
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least one item, got capacity {capacity}")
        self._items: deque[T] = deque()
        self._capacity, self._when_full, self._weigh = capacity, when_full, weigh
        self._changed = changed or threading.Condition()
        self._closed = False

    def put(self, item: T) -> T | None:
        """Adds an item. Returns the one that it pushed out, if any. Raises Closed."""
        with self._changed:
            while self._when_full is WhenFull.WAIT and self._is_full() and not self._closed:
                self._changed.wait()
            if self._closed:
                raise Closed
            dropped = self._items.popleft() if self._is_full() else None
            self._items.append(item)
            self._changed.notify_all()
            return dropped

    def get(self, timeout_s: float | None = None) -> T:
        """The oldest item, waiting for one. Raises Closed when there will be none, TimeoutError when none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError
            if not self._items:
                raise Closed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more items: writers get Closed at once, the reader after the last item. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Throws away what is waiting; used to end at once."""
        with self._changed:
            self._items.clear()
            self._changed.notify_all()

    def _is_full(self) -> bool:
        return len(self._items) >= self._capacity or sum(map(self._weigh, self._items)) >= 1

    def __len__(self) -> int:
        return len(self._items)


def take_of_each(boxes: Sequence[Mailbox[T]], changed: threading.Condition) -> list[tuple[int, T]]:
    """Waits until one of them has an item, then takes the oldest of each that has: (number of the box, item).

    All were made with `changed`. Raises Closed when none will have any.
    """
    with changed:
        changed.wait_for(lambda: any(box._items for box in boxes) or all(box._closed for box in boxes))
        taken = [(i, box._items.popleft()) for i, box in enumerate(boxes) if box._items]
        if not taken:
            raise Closed
        changed.notify_all()
        return taken
