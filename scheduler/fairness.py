"""How long somebody in view may have to wait for their turn: a bound, and what it was.

Turns: never read before everyone else, then who waited longest. Whoever is in view at a frame has at most everybody else in
view before them, and those who come in meanwhile; so after as many frames as it takes to serve all of those they were read.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def longest_wait(in_view: int, served: int, arrivals: int = 0) -> int:
    """Frames after which everybody in view has been read again: those before in the queue and `arrivals` who come in
    meanwhile, at least `served` a frame. The bound of the turn-taking of all policies here."""
    return -(-(in_view + arrivals) // served)


def wait_bound_ms(turns: Sequence[tuple[float, int, int]], arrivals: Sequence[int]) -> float:
    """What no wait of a run exceeds, from counts alone. `turns`: born (ms), faces in view and faces served, for every frame,
    dropped ones too. Counted from each frame until as many were served as were in view then and have come since."""
    bound = 0.0
    for start, (born, before, _) in enumerate(turns):
        end = start
        for end in range(start + 1, len(turns)):
            _, faces, served = turns[end]
            before += arrivals[end] - served
            if before <= 0 or served >= faces:
                break
        if turns[start][1]:
            bound = max(bound, turns[end][0] - born)
    return bound


def longest_wait_ms(turns: Sequence[tuple[float, int, int]], arrivals: Sequence[int]) -> float:
    """The longest wait of anybody in view between two readings, or until the first, where those who came first leave first."""
    queue, guests = deque[list[float]](), deque[list[float]]()  # since when each waits; whose turn is next comes first
    new, longest = 0, 0.0
    for (born, faces, served), came in zip(turns, arrivals, strict=True):
        for _ in range(len(guests) + came - faces):
            gone = guests.popleft()
            place = next(i for i, person in enumerate(queue) if person is gone)
            del queue[place]
            new -= place < new
            longest = max(longest, born - gone[0])
        fresh = [[born] for _ in range(came)]
        guests.extend(fresh)
        for person in reversed(fresh):
            queue.insert(new, person)
        new += came
        for _ in range(min(served, len(queue))):
            person = queue.popleft()
            longest = max(longest, born - person[0])
            person[0] = born
            queue.append(person)
        new = max(new - served, 0)
    last = turns[-1][0] if turns else 0.0
    return max([longest, *(last - person[0] for person in queue)])
