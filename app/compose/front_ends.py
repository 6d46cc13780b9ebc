"""From settings to what finds, follows and aligns the faces of a run."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from align.geometry import Template
from app.faces.calm import Pace
from app.faces.detectors import open_detectors
from app.faces.follower import Follower
from app.faces.front_end import FrontEnd
from app.faces.search import ALONE_SHARE, BESIDE_SHARE, Search
from app.faces.second_look import FILE_EVERY_S, LookBeside, SecondLook, TimedLook
from app.faces.tracker import Tracker
from app.network.cores import available_cores
from app.settings import MOST_JOBS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.faces.detector import Detector
    from app.settings import Settings

MOST_LOOKS = 4  # at a file's pictures, beside each other


def make_front_end(
    settings: Settings,
    template: Sequence[tuple[float, float]],
    live: bool,
    tracker: Tracker | None = None,
) -> FrontEnd:
    """What finds, follows and aligns the faces of a run. Also called in a process of its own, so its arguments are picklable.
    Raises ModelError and UsageError."""
    follower, first, second = (_finders if live else _shared_finders)(settings.detector)
    if second and not live and not settings.every_frame and settings.privacy == "none":
        # A file can wait for its looks, and they find all that a search in the path finds (`bench recall`). With
        # --privacy both search: whatever looks like a face to either is covered.
        first = None
    share = BESIDE_SHARE if second else ALONE_SHARE
    pace = Pace()
    search = Search(first, settings.min_face, share, every_frame=settings.every_frame, pace=pace) if first else None
    look: SecondLook | None = None
    if second and live and not settings.every_frame:
        look = LookBeside(second, settings.min_face, settings.look_share, pace=pace)
    elif second:
        every_s, threads = 0.0 if settings.every_frame else FILE_EVERY_S, min(available_cores(), MOST_LOOKS)
        look = TimedLook(second, settings.min_face, every_s, threads)
    shape = Template(tuple(template))
    return FrontEnd(follower, search, look, shape, tracker or Tracker(), settings.max_faces, pace=pace)


def _finders(detector: str) -> tuple[Follower, Detector | None, Detector | None]:
    return (Follower(), *open_detectors(detector))


def _shared_finders(detector: str) -> tuple[Follower, Detector | None, Detector | None]:
    """They keep nothing of a picture, so that many files one after the other need only one of each. OpenCV's cascade is not to
    be used by two threads at once, so each thread that opens files has its own."""
    return _finders_of(detector, threading.get_ident())


@lru_cache(maxsize=MOST_JOBS)
def _finders_of(detector: str, thread: int) -> tuple[Follower, Detector | None, Detector | None]:
    return _finders(detector)
