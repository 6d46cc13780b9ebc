"""The path of a file's frames: as the pipeline's, but without a deadline its loops run ahead of each other.

    grab  ->  up to AHEAD frames  ->  front end  ->  up to TOGETHER frames  ->  infer

grab   decodes ahead, and begins the second look at each picture that is due for one, beside everything else
infer  reads the faces of several frames in one batch, then takes the frames one after the other

Nothing depends on which loop is faster: which pictures get a second look, and whose faces share a batch, follows from the file
alone. So the same file gives the same bytes, whatever else the machine does. With a latency log frames are read one by one:
it is to say what each of them took. So they are by a server, which may not answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from align.crop import crop_batch
from app.mailbox import Closed, Mailbox
from app.pipeline import Pipeline
from scheduler.places import SERVER
from scheduler.policy import Fixed

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from app.camera import Camera
    from app.domain import Face, Reading
    from app.faces.front_end import FrameFaces
    from app.mailbox import WhenFull
    from app.served import Seen
    from scheduler.load import Decision, Load
    from scheduler.profile import OperatingPoint

# Frames that wait between two loops, and what their pictures may take. A second look takes as long as a dozen frames and comes
# every few: so many are to be decoded that it can begin in time.
AHEAD, AHEAD_BYTES = 16, 200e6
# A batch has this many faces or more, unless so many frames together have fewer.
FACES, TOGETHER = 16, 8


class _Ready(NamedTuple):
    """A frame's readings by person, and its share of the batch's time."""

    readings: dict[int, Reading]
    ms: float


class FootagePath(Pipeline):
    """For files. Their operating point is fixed: with no deadline there is nothing to choose."""

    def _box(self, when_full: WhenFull, changed: threading.Condition | None = None) -> Mailbox[Any]:
        return Mailbox(AHEAD, when_full, lambda item: getattr(item, "frame", item).image.nbytes / AHEAD_BYTES, changed)

    def _connect(self, camera: Camera) -> None:
        super()._connect(camera)
        camera.show = camera.front_end.begin

    def _infer(self) -> None:
        self._may_infer.wait()
        for group in self._groups():
            self._ready = self._together(group)
            for found in group:
                self._one([(self.cameras[0], found)])

    def _groups(self) -> Iterator[list[FrameFaces]]:
        """Frames in their order, as many together as make a batch."""
        most = TOGETHER if self._point() else 1
        group: list[FrameFaces] = []
        while True:
            try:
                group.append(self.cameras[0].aligned.get())
            except Closed:
                break
            if len(group) >= most or sum(len(found.faces) for found in group) >= FACES:
                yield group
                group = []
        if group and not self._stopping.is_set():
            yield group

    def _together(self, group: Sequence[FrameFaces]) -> dict[int, _Ready]:
        """One batch; by frame."""
        point = self._point()
        if point is None:
            return {}
        started = self._clock()
        crops = [crop_batch(f.frame.image, [face.matrix for face in f.faces], point.size) for f in group if f.faces]
        readings = iter(self._engine.read(point, np.concatenate(crops)) if crops else ())
        each_ms = (self._clock() - started) * 1e3 / max(1, sum(map(len, crops)))
        return {
            found.frame.id: _Ready({face.person: next(readings) for face in found.faces}, each_ms * len(found.faces))
            for found in group
        }

    def _point(self) -> OperatingPoint | None:
        """At which frames are read together."""
        policy = self._policy
        return policy.point if isinstance(policy, Fixed) and policy.point.engine != SERVER and not self._log else None

    def _read(
        self, seen: Sequence[Seen], chosen: Sequence[Face], decision: Decision, load: Load
    ) -> tuple[set[int], float]:
        frame = seen[0].found.frame
        ready = self._ready.get(frame.id)
        if ready is None:
            return super()._read(seen, chosen, decision, load)
        for face in chosen:
            self._people.read(face.person, ready.readings[face.person], frame.id, frame.time_s)
        return {face.person for face in chosen}, ready.ms

    def _born_s(self, camera: Camera, found: FrameFaces) -> float:
        ready = self._ready.get(found.frame.id)
        return super()._born_s(camera, found) - (ready.ms / 1e3 if ready else 0.0)


__all__ = ["FootagePath"]
