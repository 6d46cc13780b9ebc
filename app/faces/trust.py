"""Who counts as a face: what detectors and follower said of everybody, weighed.

The follower's presence alone does not tell a face from a pattern that looks like one: of 14 things that Viola-Jones took for
faces on the clips at hand, 11 had a presence above 0.9 for as long as they were followed. The second look found none of them,
and every real face in all but a few of its looks. So with a second look it confirms whom the search finds; without one it
takes longer and a higher presence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

# Score of the second look from which one is enough; with a lower one it takes several, and a presence that a hand hardly has.
SURE, SEVERAL, SURE_PRESENCE = 0.5, 3, 0.97
CLEAR = 0.9  # presence from which the follower is sure of somebody
# Somebody in whom the follower sees no face, as in a profile, must be found this often.
PROFILE_LOOKS = 2
# This many fine looks in a row that do not find somebody: who was held back is dropped; and somebody confirmed, where the
# follower is not clear about them either.
HELD_BACK_LOOKS, CONFIRMED_LOOKS = 2, 3
# Where the follower is clear, it takes CLEAR_LOOKS, and more than TIMES_FOUND times as many as ever found them: who was
# found once, by mistake, goes; whoever was found for long may hide from the second look for long, as a tilted head does.
CLEAR_LOOKS, TIMES_FOUND = 10, 2
# Somebody whom a fine look does not find is dropped where their box has become narrower than this share of what was
# found: the follower has slid off the face. Nobody walks away so fast between two looks.
SHRUNK = 0.7
# And without a look: a box narrower than this share of what was found last holds no face of theirs.
FAR_SHRUNK = 0.5
# Without a second look: frames in a row in which the follower must be clear.
CLEAR_FRAMES = 5
_OVER = 0.25  # share of the newest frame in the averaged presence


@dataclass
class _Record:
    presence: float = 0.0  # averaged over some frames
    clear: int = 0  # frames in a row
    followed: int = 0  # frames with landmarks
    best: float = 0.0  # score of the second look
    looks: int = 0  # that found them
    missed: int = 0  # fine looks in a row that did not
    width: float = 0.0  # of the box, pixels
    width_found: float = 0.0  # the same when the second look found them last


class Trust:
    """Keeps a record of everybody."""

    def __init__(self, second_look: bool) -> None:
        self._second_look = second_look
        self._records: dict[int, _Record] = {}

    def followed(self, person: int, presence: float, width: float = 0.0) -> None:
        """Notes a frame in which they were followed with this presence (0: seen by a detector only), and the box's width."""
        record = self._of(person)
        record.width = width
        record.presence += (_OVER if record.followed else 1.0) * (presence - record.presence)
        record.clear = record.clear + 1 if presence >= CLEAR else 0
        record.followed += presence > 0

    def found(self, person: int, score: float, width: float = 0.0) -> None:
        """Notes that a second look found them, in a box of that width."""
        record = self._of(person)
        record.width_found = width
        record.best, record.looks, record.missed = max(record.best, score), record.looks + 1, 0

    def not_found(self, person: int) -> None:
        """Notes that a fine second look missed them, although they should have been in its picture."""
        self._of(person).missed += 1

    def as_wide(self, person: int, width: float) -> bool:
        """Whether a followed box of that width can still be on the face that was found."""
        record = self._records.get(person)
        return record is None or width >= FAR_SHRUNK * record.width_found

    def is_face(self, person: int) -> bool:
        """Whether somebody held back may be shown."""
        record = self._of(person)
        if not self._second_look:
            return record.clear >= CLEAR_FRAMES
        if not record.followed:
            return record.best >= SURE and record.looks >= PROFILE_LOOKS
        return record.best >= SURE or (record.looks >= SEVERAL and record.presence >= SURE_PRESENCE)

    def is_none(self, person: int, confirmed: bool) -> bool:
        """Whether somebody is to be dropped: it was no face, or is none any more."""
        record = self._of(person)
        if not confirmed:
            return record.missed >= HELD_BACK_LOOKS
        if record.missed and record.width < SHRUNK * record.width_found:
            return True
        clear = record.presence >= CLEAR
        return record.missed >= (max(CLEAR_LOOKS, TIMES_FOUND * record.looks) if clear else CONFIRMED_LOOKS)

    def keep(self, people: Collection[int]) -> None:
        """Forgets everybody else."""
        self._records = {person: record for person, record in self._records.items() if person in people}

    def _of(self, person: int) -> _Record:
        return self._records.setdefault(person, _Record())
