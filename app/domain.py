"""The nouns that the rooms exchange. Frozen; NumPy only.

Images are (height, width, 3) uint8 BGR, OpenCV's order, and nobody writes into one that is part of a Frame. Boxes are
(x, y, width, height) in pixels of the frame. Times called `_s` come from the monotonic clock unless they say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

#: Seconds after which somebody who was not seen has left. Their id is not given again.
FORGET_S = 1.5


class Box(NamedTuple):
    """Pixels of the frame; may reach over its border."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2


class DropCause(StrEnum):
    """Why a frame was not shown, or a face not read, in time."""

    GRAB_FULL = "newer frame came before this one was taken up"
    FRONT_END_FULL = "newer frame was prepared before this one reached the network"
    SETTLED = "known well enough: another reading is not worth its time yet"
    NO_BUDGET = "no time was left for them"
    MAX_FACES = "more faces in view than --max-faces"
    UNCONFIRMED = "not yet certain to be a face"
    UNALIGNED = "face turned away, at the edge of the frame or too small"
    VIDEO_FULL = "the video encoder is behind"
    FAILED = "the front end or the network failed on it"
    BROKEN = "the source sent a picture that is empty, damaged or of a wrong kind"
    STREAM_LATE = "newer picture of the stream came before this one was decoded"

    @property
    def of_faces(self) -> bool:
        """Whether faces were not read for it, rather than frames not shown or written."""
        return self in (self.SETTLED, self.NO_BUDGET, self.MAX_FACES, self.UNCONFIRMED, self.UNALIGNED)


class SourceState(StrEnum):
    OK = "ok"
    LOST = "lost"  # no picture comes; it is being looked for again


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source does at this moment, for whoever shows it."""

    state: SourceState = SourceState.OK
    since_s: float = 0.0  # seconds that this state has lasted
    retry_in_s: float | None = None  # seconds until the next try; None: trying now, or there is nothing to try
    text: str = ""  # the cause, for people: "camera 0 was unplugged"
    absent: bool = False  # the device itself is not there any more


class SourceEventKind(StrEnum):
    LOST = "lost"
    BACK = "back"
    BROKEN = "broken"  # not a picture: empty, of a wrong kind, or damaged
    SKIPPED = "skipped"  # a picture of a stream that was old before it could be decoded


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """A change of a live source, told once."""

    kind: SourceEventKind
    frame_id: int = 0  # of the first frame after it was lost, or of the one that is broken or skipped
    text: str = ""  # for people: why it was lost, or which source is back
    after_s: float = 0.0  # how long it was lost
    tries: int = 0  # how often it was opened until it came back


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a source."""

    id: int  # from 0, in the source's order; dropped frames have theirs too
    image: Image
    time_s: float  # position in the source: seconds since its first frame
    born_s: float  # monotonic clock when the picture came into being for us; the deadline counts from here
    budget_ms: float = math.inf  # from birth to result; the pipeline sets it
    camera: str = ""  # which of several


@dataclass(frozen=True, slots=True)
class Face:
    """One face found in one frame and ready for the network."""

    person: int  # stable over frames
    box: Box
    matrix: NDArray[np.float64]  # 2x3, frame pixels to the template's unit square
    misfit: float  # what the fit leaves: root mean square distance of the landmarks, share of the crop's side


class Reading(NamedTuple):
    """What one exit said about one face: years, half of the interval that holds about 68 %, and class probabilities, none of
    what the network does not tell."""

    age: float
    half: float
    gender: NDArray[np.float32]
    expression: NDArray[np.float32]
    exit: str
    size: int  # of the input


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one exit said about one face. Probabilities are of the named class."""

    age: float  # years
    age_low: float
    age_high: float  # the interval holds the true age in about 68 of 100 faces
    gender: str  # "" where the network tells none
    gender_p: float
    expression: str  # "" where none is probable enough to be shown, or the network tells none
    expression_p: float
    exit: str


@dataclass(frozen=True, slots=True)
class Person:
    """A face in view with what is known of it; `estimate` is None until it was first read."""

    id: int
    box: Box
    estimate: Estimate | None
    fresh: bool  # read in this frame, not carried over
    unfit: str | None = None  # why this frame's crop was not fit to be read: "turned away", "at the edge", "too small"


@dataclass(frozen=True, slots=True)
class Stats:
    """What the corner panel shows, as of one frame. Times in milliseconds."""

    fps: float
    faces: int
    served: int
    exit: str  # "" where nothing was run
    input_size: int
    budget_ms: float  # the whole budget of a frame
    left_ms: float  # what was left of it when the scheduler decided
    predicted_ms: float
    measured_ms: float  # the network, this frame
    frame_age_ms: float  # from birth to result
    misses: int  # frames whose result came after their deadline, so far
    frames: int  # results so far
    dropped: int  # frames dropped so far, all causes
    provider: str
    why: str  # the scheduler's reason, for people
    server: bool | None = None  # whether the server of --server answers; None: there is none
    still: bool = False  # nothing moves, for some seconds now, but people who are known


@dataclass(frozen=True, slots=True)
class Crowd:
    """Everybody over a window of time, taken together; times are the source's. Distributions are None over too few."""

    from_s: float
    to_s: float
    present: int  # people in view now
    people: int  # who were in view at some time
    most: int  # at once
    left: int
    dwell_s: float | None  # median of those who left
    ages: Mapping[str, int] | None  # people by decade, "30-39"
    genders: Mapping[str, int] | None
    expressions: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class Result:
    """One frame with everybody in it."""

    frame: Frame
    people: tuple[Person, ...]
    stats: Stats
    crowd: Crowd | None = None  # instead of people, where single ones are not to be told
