"""From a picture to faces ready for the network: follow everybody known, find newcomers, name them, fit the template.

Everybody known is followed in every frame by one batch of a small network (follower.py), so no detector is needed for them.
Newcomers are found by a cheap detector in the frame's path (search.py) and by a better one now and then beside it
(second_look.py). What the latter finds is of an older picture; the follower carries it to the present one.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from align.fitness import TURNED_AWAY, unfit
from align.landmarks import BOX_SIDE
from align.steady import Steady
from app.domain import Box, DropCause, Face, Frame
from app.faces.calm import Pace
from app.faces.detector import distinct, same_place
from app.faces.follower import Place
from app.faces.tracker import distances
from app.faces.trust import SURE, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from align.geometry import Points, Template
    from app.faces.detector import Sighting
    from app.faces.follower import Followed, Follower
    from app.faces.search import Search
    from app.faces.second_look import Look, SecondLook
    from app.faces.tracker import Tracker

    Gray = cv2.typing.MatLike

# The follower's presence from which somebody known is held, and from which a newcomer is a face.
HOLD, NEW = 0.5, 0.7
# Between two frames nobody moves by more widths or changes in size by a larger factor: beyond that the follower holds
# something else.
FARTHEST, GROWTH = 0.7, 1.5
# A face that a detector finds this near somebody known is theirs (tracker.distance).
KNOWN = 0.6
# When the follower has slid off a face, to a chin or a hand, its box is still this near to the face, in widths of the face.
SLID_BY = 0.3
# Pictures kept for carrying, and how many of them are used on the way.
PAST, STEPS = 16, 4


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """A frame with its faces ready for the network."""

    frame: Frame
    faces: tuple[Face, ...]
    unread: tuple[tuple[int, Box], ...]  # people in view whose face is not to be read in this frame
    alive: set[int]  # people who may come back
    stages_ms: Mapping[str, float]
    unserved: Mapping[DropCause, int] = field(default_factory=dict)
    places: tuple[Box, ...] = ()  # wherever a face is or may be, those held back, lost and suspected too
    unfit: Mapping[int, str] = field(default_factory=dict)  # people whose crop is not fit to be read, and why
    still: bool = False  # nothing moves but people who are known


class _Seen(NamedTuple):
    """A face in this frame, whoever it belongs to."""

    box: Box
    roll: float
    landmarks: Points | None  # None: the follower cannot make them out
    presence: float = 0.0
    score: float = 0.0  # of the second look, where it has found them
    who: int = 0  # the person who was followed here; 0 for a newcomer


class _Moment(NamedTuple):
    """A picture of the recent past, and where everybody was in it."""

    time_s: float
    gray: Gray
    boxes: dict[int, Box]
    seen: frozenset[int]  # the people who were really there, not only expected


class FrontEnd:
    """Prepares frames one after another; keeps everybody's state."""

    def __init__(
        self,
        follower: Follower,
        search: Search | None,
        second_look: SecondLook | None,
        template: Template,
        tracker: Tracker,
        max_faces: int = 32,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        """`pace` is the one that search and second look go by; whoever runs the front end may set it."""
        self.pace = pace or Pace()
        self._follow, self._search, self._second_look = follower, search, second_look
        self._template, self._tracker, self._max_faces, self._clock = template, tracker, max_faces, clock
        self._steady, self._shape = Steady(), (0, 0)
        self._rolls: dict[int, float] = {}  # person to their head's turn when it was last known, radians
        self._past: deque[_Moment] = deque(maxlen=PAST)
        self._trust = Trust(second_look is not None)

    def __call__(self, frame: Frame) -> FrameFaces:
        started = self._clock()
        gray = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        if gray.shape != self._shape:  # another camera, for all we know
            self._shape = gray.shape
            self._past.clear()
            self._tracker.forget_all()
        seen = self._followed(gray, frame.time_s)
        followed = self._clock()
        suspects = self._find(frame, gray, seen)
        found = self._clock()
        size = (gray.shape[1], gray.shape[0])
        people = self._tracker.update([one.box for one in seen], frame.time_s, size)
        named = [(person, shown, one) for (person, shown), one in zip(people, seen, strict=True)]
        known = self._note(frame.time_s, gray, named)
        faces, unread, unserved, reasons = self._sort(size, named, frame.time_s)
        unread += self._tracker.coasting(frame.time_s)
        stages = {"follow": followed - started, "find": found - followed, "align": self._clock() - found}
        return FrameFaces(
            frame,
            tuple(faces),
            tuple(unread),
            self._tracker.alive(),
            {stage: 1e3 * taken for stage, taken in stages.items()},
            unserved,
            (*(one.box for one in seen), *suspects, *known.values()),
            reasons,
            self.pace.now < 1,
        )

    def begin(self, frame: Frame) -> None:
        """Announces a frame that comes later: other threads do what does not depend on the frames before it."""
        if self._second_look:
            self._second_look.begin(frame.image, frame.time_s)

    def close(self) -> None:
        if self._second_look:
            self._second_look.close()

    def _followed(self, gray: Gray, time_s: float) -> list[_Seen]:
        """Everybody known who is still there, each face once."""
        expected = self._tracker.expected(time_s)
        places = [Place(box, self._rolls.get(person, 0.0)) for person, box in expected.items()]
        held = [
            (math.dist(Box(*place.box).centre, one.box.centre) / one.box.width, one._replace(who=person))
            for person, place, one in zip(expected, places, map(_seen, self._follow(gray, places)), strict=True)
            if one.presence >= HOLD
            and _plausible(Box(*place.box), one.box)
            and self._trust.as_wide(person, one.box.width)
        ]
        # Two who look at one face: it is whose face was expected there.
        held.sort(key=lambda h: h[0])
        return [held[i][1] for i in distinct([one.box for _, one in held])]

    def _find(self, frame: Frame, gray: Gray, seen: list[_Seen]) -> list[Box]:
        """Adds newcomers to `seen`; returns every place that any detector took for a face."""
        suspects: list[Box] = []
        if self._second_look and (look := self._second_look(frame.image, frame.time_s)):
            suspects += [s.box for s in look.found]
            new = self._carried(look, frame.time_s, gray, seen)
            again = {one.who for one in new if one.who}
            seen[:] = [one for one in seen if one.who not in again]
            _add(seen, new)
        if self._search:
            known = [one.box for one in seen]
            sightings = self._search(frame.image, gray, frame.time_s, known)
            suspects += [s.box for s in sightings]
            fresh = [s for s in sightings if not any(same_place(s.box, box) for box in known)]
            found = self._follow(gray, [Place(s.box, s.roll) for s in fresh])
            _add(seen, [_seen(one) for one in found if one.presence >= NEW])
        return suspects

    def _carried(self, look: Look, now_s: float, gray: Gray, seen: Sequence[_Seen]) -> list[_Seen]:
        """Where what a look found in an older picture is now, without those who are followed well."""
        since = [m for m in self._past if look.time_s <= m.time_s < now_s]
        if since and since[0].time_s != look.time_s:
            since = []  # so old that it is forgotten
        now = self._tracker.expected(now_s)
        there = frozenset(one.who for one in seen)
        then = since[0] if since else _Moment(now_s, gray, now, there)
        known = _who([s.box for s in look.found], then.boxes)
        slid = _who_slid(look.found, {p: box for p, box in then.boxes.items() if p not in known.values()}, known)
        for i, person in (known | slid).items():
            self._trust.found(person, look.found[i].score, look.found[i].box.width)
        if look.fine:
            for person in then.seen - set(known.values()) - set(slid.values()):
                self._trust.not_found(person)
        lost = [(look.found[i], then.boxes[p], now[p]) for i, p in known.items() if p in now and p not in there]
        fresh = [s for i, s in enumerate(look.found) if i not in known and i not in slid]
        steps = [m.gray for m in since[1:]]
        pictures = [then.gray, *steps[:: max(1, len(steps) // STEPS)], *([gray] if since else [])]
        back = self._brought([look.found[i] for i in slid], pictures)
        return (
            [self._moved(*one) for one in lost]
            + self._put_back(back, [*slid.values()])
            + self._brought(fresh, pictures)
        )

    def _put_back(self, back: Sequence[_Seen], people: Sequence[int]) -> list[_Seen]:
        """Puts people whom the follower had slid off back on their face."""
        for person, one in zip(people, back, strict=True):
            self._tracker.put(person, one.box)
        return [one._replace(who=person) for person, one in zip(people, back, strict=True)]

    def _brought(self, fresh: Sequence[Sighting], pictures: Sequence[Gray]) -> list[_Seen]:
        """Newcomers, followed from the first of the pictures to the last."""
        places = [Place(s.box, s.roll) for s in fresh]
        followed: list[Followed] = []
        for picture in pictures:
            followed = self._follow(picture, places)
            places = [one.place if one.presence >= HOLD else place for one, place in zip(followed, places, strict=True)]
        out = []
        for sighting, one, place in zip(fresh, followed, places, strict=True):
            if one.presence >= NEW and _plausible(sighting.box, _seen(one).box, math.inf):
                out.append(_seen(one)._replace(score=sighting.score))
            elif sighting.score >= SURE:
                out.append(_Seen(Box(*place.box), place.roll, None, score=sighting.score))
        return out

    def _moved(self, sighting: Sighting, then: Box, now: Box) -> _Seen:
        """Somebody lost whom a detector found in an older picture, moved by as much as they were expected to move since."""
        x, y = (b - a for a, b in zip(then.centre, now.centre, strict=True))
        box = sighting.box._replace(x=sighting.box.x + x, y=sighting.box.y + y)
        return _Seen(box, sighting.roll, None)

    def _note(self, time_s: float, gray: Gray, named: Sequence[tuple[int, Box, _Seen]]) -> dict[int, Box]:
        """Confirms and drops people, and keeps what the next frames need. Returns where everybody is."""
        unconfirmed = self._tracker.unconfirmed()
        for person, _, one in named:
            self._rolls[person] = one.roll
            self._trust.followed(person, one.presence, one.box.width)
            if one.score:
                self._trust.found(person, one.score, one.box.width)
            if person in unconfirmed and self._trust.is_face(person):
                self._tracker.confirm(person)
        for person in self._tracker.expected(time_s):
            if self._trust.is_none(person, person not in unconfirmed):
                self._tracker.drop(person)
        known = self._tracker.expected(time_s)
        self._rolls = {person: roll for person, roll in self._rolls.items() if person in known}
        self._steady.keep(known.keys())
        self._trust.keep(known.keys())
        if self._second_look:
            self._past.append(_Moment(time_s, gray, known, frozenset(person for person, _, _ in named)))
        return known

    def _sort(
        self, size: tuple[int, int], named: Sequence[tuple[int, Box, _Seen]], time_s: float
    ) -> tuple[list[Face], list[tuple[int, Box]], dict[DropCause, int], dict[int, str]]:
        """(ready faces, largest first; people without one; how many for each cause; the cause by person)."""
        faces, unread, unserved, reasons = list[Face](), list[tuple[int, Box]](), Counter[DropCause](), dict[int, str]()
        alive = self._tracker.alive()
        there = sorted((n for n in named if n[0] in alive), key=lambda n: -n[1].width)
        if len(there) < len(named):
            unserved[DropCause.UNCONFIRMED] = len(named) - len(there)
        aligned = self._align(size, there, time_s)
        for person, shown, _ in there:
            face = aligned.get(person, TURNED_AWAY)
            if isinstance(face, Face) and len(faces) < self._max_faces:
                faces.append(face)
                continue
            unread.append((person, shown))
            unserved[DropCause.MAX_FACES if isinstance(face, Face) else DropCause.UNALIGNED] += 1
            if isinstance(face, str):
                reasons[person] = face
        return faces, unread, unserved, reasons

    def _align(
        self, size: tuple[int, int], there: Sequence[tuple[int, Box, _Seen]], time_s: float
    ) -> dict[int, Face | str]:
        """For everybody with landmarks: the face ready for the network, or why its crop is not fit to be read."""
        clear = [(person, shown, one) for person, shown, one in there if one.landmarks is not None]
        if not clear:
            return {}
        people = [person for person, _, _ in clear]
        landmarks = np.stack([one.landmarks for _, _, one in clear])
        eyes = np.array([one.box.width / BOX_SIDE for _, _, one in clear])
        matrices, misfits = self._template.fit_all(self._steady(people, landmarks, eyes, time_s))
        return {
            person: (TURNED_AWAY if math.isinf(misfit) else unfit(matrix, misfit, *size))
            or Face(person, shown, matrix, misfit)
            for (person, shown, _), matrix, misfit in zip(clear, matrices, misfits.tolist(), strict=True)
        }


def _seen(one: Followed) -> _Seen:
    box, roll = one.place
    return _Seen(Box(*box), roll, one.landmarks, one.presence)


def _add(seen: list[_Seen], new: Sequence[_Seen]) -> None:
    """Adds those that are not there yet."""
    for one in new:
        if not any(same_place(one.box, other.box) for other in seen):
            seen.append(one)


def _who(boxes: Sequence[Box], people: Mapping[int, Box]) -> dict[int, int]:
    """Which box is which person's: {number of the box: person}."""
    apart = distances(boxes, [*people.values()])
    if not apart.size:
        return {}
    ids = [*people]
    return {i: ids[k] for i, k in enumerate(apart.argmin(axis=1).tolist()) if apart[i, k] <= KNOWN}


def _who_slid(found: Sequence[Sighting], people: Mapping[int, Box], taken: Collection[int]) -> dict[int, int]:
    """{number of a sure find: person whose box lies on that face but is too small}: the follower has slid off them."""
    out: dict[int, int] = {}
    for i, one in enumerate(found):
        if i in taken or one.score < SURE:
            continue
        reach = (0.5 + SLID_BY) * one.box.width
        for person, box in people.items():
            x, y = (abs(a - b) for a, b in zip(box.centre, one.box.centre, strict=True))
            if max(x, y) < reach and box.width < one.box.width and person not in out.values():
                out[i] = person
                break
    return out


def _plausible(before: Box, after: Box, farthest: float = FARTHEST) -> bool:
    """Whether one face can have been at `before` and now be at `after`: near enough, and of about the same size."""
    near = math.dist(before.centre, after.centre) < farthest * before.width
    return near and 1 / GROWTH < after.width / before.width < GROWTH
