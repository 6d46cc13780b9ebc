"""The capture side of a frame: detect, name, find landmarks, fit the template."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2

from align.geometry import AlignmentError, Template, residual
from app.detector import landmark_box
from app.domain import Box, DropCause, Face, Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from align.landmarks import LandmarkPredictor
    from app.detector import Detector
    from app.tracker import Tracker

# Landmarks that stay further than this from the template, as a share of the crop, are of no face or of a lost one: on
# UTKFace one crop in 500 lies above 0.05.
MAX_MISFIT = 0.08


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame with its faces ready for the network."""

    frame: Frame
    faces: tuple[Face, ...]
    unread: tuple[tuple[int, Box], ...]  # people in view whose face is not to be read in this frame
    alive: set[int]  # people who may come back
    stages_ms: Mapping[str, float]
    unserved: Mapping[DropCause, int] = field(default_factory=dict)


class FrontEnd:
    """Prepares frames one after another; keeps the tracker's state."""

    def __init__(
        self,
        detector: Detector,
        predictor: LandmarkPredictor,
        template: Template,
        tracker: Tracker,
        max_faces: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._detect, self._predict, self._template, self._tracker = detector, predictor, template, tracker
        self._max_faces, self._clock = max_faces, clock

    def __call__(self, frame: Frame) -> Prepared:
        started = self._clock()
        gray = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        boxes = self._detect(gray)
        detected = self._clock()
        faces, unread, unserved = [], [], dict[DropCause, int]()
        for (person, shown), box in zip(self._tracker.update(boxes, frame.time_s), boxes, strict=True):
            cause = DropCause.MAX_FACES
            if len(faces) < self._max_faces:  # boxes come largest first
                face = self._align(gray, person, shown, box)
                if face:
                    faces.append(face)
                    continue
                cause = DropCause.UNALIGNED
            unread.append((person, shown))
            unserved[cause] = unserved.get(cause, 0) + 1
        unread += self._tracker.coasting(frame.time_s)
        stages = {"detect": (detected - started) * 1e3, "align": (self._clock() - detected) * 1e3}
        return Prepared(frame, tuple(faces), tuple(unread), self._tracker.alive(), stages, unserved)

    def _align(self, gray: cv2.typing.MatLike, person: int, shown: Box, box: Box) -> Face | None:
        landmarks = self._predict(gray, landmark_box(box))
        try:
            matrix = self._template.fit(landmarks)
        except AlignmentError:
            return None
        misfit = residual(matrix, landmarks, self._template.array)
        return Face(person, shown, matrix, misfit) if misfit <= MAX_MISFIT else None
