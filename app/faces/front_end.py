"""The front end of a frame: detect, name, find landmarks, fit the template."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2

from align.fitness import TURNED_AWAY, roll, unfit, unsteadiness
from align.geometry import AlignmentError, Template, residual
from app.domain import Box, DropCause, Face, Frame
from app.faces.tilt import TILTED, landmarks_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from align.geometry import Points
    from align.landmarks import LandmarkPredictor
    from app.faces.scan import Scanner
    from app.faces.tracker import Tracker

# A new face counts as one at once where its landmarks are this steady, else when it was found in this many frames; of 51
# false faces none was so steady, and 85 % of UTKFace's. Looking costs three landmark predictions: with `align_share` no look
# but the first is begun once half of it is spent. After the first frame so many faces are looked at in one; the others wait
# for the next one, or until they were found often enough.
STEADY, CONFIRM_HITS, LOOKS = 0.012, 3, 6
# However large the budget, no face is begun that would be done later than so much of the time between frames, or the capture
# side could not keep up with the source. Where it does not all the same, frames are dropped, and the time between grows.
INTERVAL_SHARE = 0.4


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


class FrontEnd:
    """Prepares frames one after another; keeps the tracker's state.

    Landmarks take more time than the network: with `align_share` no face is begun that would be done when more than that
    share of the budget is over, nor later than INTERVAL_SHARE of the time between frames, and those aligned longest ago come
    first, so that a crowd takes turns.
    """

    def __init__(
        self,
        scanner: Scanner,
        predictor: LandmarkPredictor,
        template: Template,
        tracker: Tracker,
        max_faces: int,
        align_share: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scanner, self._predict, self._template, self._tracker = scanner, predictor, template, tracker
        self._max_faces, self._align_share, self._clock = max_faces, align_share, clock
        self._last_s = math.nan  # the source's time of the last frame
        self._interval_ms = math.inf  # between frames of late
        self._face_ms = 0.0  # what aligning a face took of late
        self._aligned: dict[int, int] = {}  # person to the frame in which they were aligned last
        self._rolls: dict[int, float] = {}  # person to their head's tilt when it was last known, degrees
        self._looks = math.inf  # how many new faces may be looked at in a frame
        self._at_hand: dict[tuple[float, ...], Points] = {}  # this frame's landmarks at boxes

    def __call__(self, frame: Frame) -> FrameFaces:
        started = self._clock()
        self._note_interval(frame.time_s)
        gray = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        scan = self._scanner(
            frame.image, gray, frame.time_s, self._tracker.expected(frame.time_s), self._rolls, frame.budget_ms
        )
        detected = self._clock()
        size = (gray.shape[1], gray.shape[0])
        people = self._tracker.update(scan.faces, frame.time_s, scan.looked_for, size)
        tracked = list(zip(people, scan.faces, strict=True))
        self._confirm(frame, gray, tracked)
        alive = self._tracker.alive()
        self._aligned = {person: i for person, i in self._aligned.items() if person in alive}
        self._rolls = {person: degrees for person, degrees in self._rolls.items() if person in alive}
        faces, unread, unserved = list[Face](), list[tuple[int, Box]](), Counter[DropCause]()
        reasons = dict[int, str]()
        sure = [t for t in tracked if t[0][0] in alive]
        if len(sure) < len(tracked):
            unserved[DropCause.UNCONFIRMED] = len(tracked) - len(sure)
        # Who was not looked for in this frame is taken to be where expected.
        coasting = self._tracker.coasting(frame.time_s)
        sure += [((person, box), box) for person, box in coasting if person not in scan.looked_for]
        for rank, ((person, shown), box) in enumerate(self._in_turn(sure)):
            if rank >= self._max_faces:
                cause = DropCause.MAX_FACES
            elif rank and self._late(frame, ahead_ms=self._face_ms):
                cause = DropCause.NO_TIME
            else:
                self._aligned[person] = frame.id
                began = self._clock()
                face = self._align(gray, person, shown, box)
                took_ms = (self._clock() - began) * 1e3
                self._face_ms += (0.2 if self._face_ms else 1.0) * (took_ms - self._face_ms)
                if isinstance(face, Face):
                    faces.append(face)
                    continue
                cause, reasons[person] = DropCause.UNALIGNED, face
            unread.append((person, shown))
            unserved[cause] += 1
        unread += [(person, box) for person, box in coasting if person in scan.looked_for]
        stages = {"detect": (detected - started) * 1e3, "align": (self._clock() - detected) * 1e3}
        places = (*scan.faces, *scan.suspects, *self._tracker.expected(frame.time_s).values())
        return FrameFaces(frame, tuple(faces), tuple(unread), alive, stages, unserved, places, reasons)

    def give_back(self, faces: Iterable[Face]) -> None:
        """A prepared frame never reached the network: its faces are due again, before all others."""
        for face in faces:
            self._aligned[face.person] = -1

    def close(self) -> None:
        """There is nothing to end; see FrontEndProcess."""

    def _note_interval(self, time_s: float) -> None:
        passed_ms, self._last_s = (time_s - self._last_s) * 1e3, time_s
        if passed_ms > 0:  # not in the first frame, nor where a file begins again
            known = math.isfinite(self._interval_ms)
            self._interval_ms = self._interval_ms + 0.2 * (passed_ms - self._interval_ms) if known else passed_ms

    def _late(self, frame: Frame, share: float = 1.0, ahead_ms: float = 0.0) -> bool:
        """Whether that share of the limit is over, or will be in `ahead_ms`."""
        if self._align_share is None:
            return False
        limit_ms = min(self._align_share * frame.budget_ms, INTERVAL_SHARE * self._interval_ms)
        return (self._clock() - frame.born_s) * 1e3 + ahead_ms > share * limit_ms

    def _confirm(self, frame: Frame, gray: cv2.typing.MatLike, tracked: list[tuple[tuple[int, Box], Box]]) -> None:
        """Holds back what may be no face: a pattern rarely looks like one for long, and no landmarks hold to it."""
        self._at_hand = {}
        looked, held_back = 0, self._tracker.unconfirmed()
        waiting = [(held_back[person], person, box) for (person, _), box in tracked if person in held_back]
        # Who was not steady before is unlikely to be now: new ones first.
        for hits, person, box in sorted(waiting, key=lambda w: w[0]):
            sure = hits >= CONFIRM_HITS
            if not sure and looked < self._looks and not (looked and self._late(frame, 0.5)):
                looked += 1
                sure = unsteadiness(lambda near: self._landmarks(gray, near), box, STEADY) <= STEADY
            if sure:
                self._tracker.confirm(person)
        self._looks = LOOKS

    def _landmarks(self, gray: cv2.typing.MatLike, box: Sequence[float]) -> Points:
        """The predictor's, found once for a box of this frame."""
        place = tuple(box)
        if place not in self._at_hand:
            self._at_hand[place] = self._predict(gray, box)
        return self._at_hand[place]

    def _in_turn(self, tracked: list[tuple[tuple[int, Box], Box]]) -> list[tuple[tuple[int, Box], Box]]:
        """The first faces, as many as may be read, in the order in which they are due; then the others."""
        chosen, others = tracked[: self._max_faces], tracked[self._max_faces :]
        return sorted(chosen, key=lambda t: self._aligned.get(t[0][0], -1)) + others

    def _align(self, gray: cv2.typing.MatLike, person: int, shown: Box, box: Box) -> Face | str:
        """The face ready for the network, or why its crop is not fit to be read."""
        tilt = self._rolls.pop(person, 0.0)
        tilted = abs(tilt) >= TILTED
        landmarks = landmarks_at(self._predict, gray, box, tilt) if tilted else self._landmarks(gray, box)
        try:
            matrix = self._template.fit(landmarks)
        except AlignmentError:
            return TURNED_AWAY
        misfit = residual(matrix, landmarks, self._template.array)
        reason = unfit(matrix, misfit, gray.shape[1], gray.shape[0])
        if reason != TURNED_AWAY:
            self._rolls[person] = roll(matrix)
        return reason or Face(person, shown, matrix, misfit)
