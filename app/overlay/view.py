"""Where a picture lies on the canvas that shows it: whole with bars, or filling it."""

from __future__ import annotations

from typing import NamedTuple

from app.domain import Box
from app.overlay.placing import Size


class View(NamedTuple):
    """How a picture lies on a canvas: `picture` is where all of it would be, `area` what is seen of it."""

    picture: Box
    area: Box
    across: float  # canvas pixels per pixel of the frame
    down: float
    mirrored: bool = False

    @classmethod
    def of(
        cls, frame: Size, canvas: Size, *, mirrored: bool = False, fill: bool = False, focus: Box | None = None
    ) -> View:
        """The whole picture in the middle, as large as it goes; `fill`: the whole canvas, the picture's edges cut off, but
        as little as shows all of `focus`, in pixels of the frame."""
        least, most = min(canvas[0] / frame[0], canvas[1] / frame[1]), max(canvas[0] / frame[0], canvas[1] / frame[1])
        scale, (x, y) = most if fill else least, (frame[0] / 2, frame[1] / 2)
        if fill and focus:
            scale = max(least, min(most, canvas[0] / max(focus.width, 1.0), canvas[1] / max(focus.height, 1.0)))
            x, y = focus.centre
            x = frame[0] - x if mirrored else x
        width, height = max(1, round(frame[0] * scale)), max(1, round(frame[1] * scale))
        left, top = _start(x * scale, width, canvas[0]), _start(y * scale, height, canvas[1])
        area = Box(max(0, left), max(0, top), min(width, canvas[0]), min(height, canvas[1]))
        return cls(Box(left, top, width, height), area, width / frame[0], height / frame[1], mirrored)

    def box(self, box: Box) -> Box:
        """From pixels of the frame to pixels of the canvas."""
        width, height = box.width * self.across, box.height * self.down
        x = box.x * self.across
        if self.mirrored:
            x = self.picture.width - x - width
        return Box(self.picture.x + x, self.picture.y + box.y * self.down, width, height)


def _start(middle: float, length: float, room: float) -> int:
    """Where a picture's side begins, so that `middle` of it comes to the middle and no more stays empty than must."""
    if length <= room:
        return int(room - length) // 2
    return round(min(0.0, max(room - length, room / 2 - middle)))
