"""Makes pictures ready for the screen on a thread of its own: mirroring and scaling take longer than all painting.

To 1920x1080 they take 7 to 10 ms, during which the window would answer nobody; to draw the picture that is ready takes one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from app.overlay.image_canvas import fitted
from app.overlay.view import View

if TYPE_CHECKING:
    from app.domain import Box, Image, Result


CLOSE_S = 5.0  # a picture takes 10 ms


class Want(NamedTuple):
    """A result, and the canvas that its picture is for, in device pixels."""

    result: Result
    width: int
    height: int
    mirrored: bool
    fill: bool
    focus: Box | None = None  # of the frame: what `fill` keeps in view


@dataclass(frozen=True, slots=True)
class Ready:
    want: Want
    view: View  # of the whole picture on the canvas
    picture: Image  # (area height, area width, 4) BGRA


class Presenter:
    """Works on the newest wish only; nobody waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._want: Want | None = None
        self._ready: Ready | None = None
        self._busy = self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="presenter", daemon=True)
        self._thread.start()

    def ask(self, want: Want) -> None:
        with self._changed:
            self._want = want
            self._changed.notify_all()

    def ready(self) -> Ready | None:
        """The newest picture that is ready. What making it raised is raised here."""
        if self._failure:
            raise self._failure
        return self._ready

    def wait(self, timeout_s: float) -> bool:
        """Until everything that was asked for is ready, or failed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._want is None and not self._busy, timeout_s)

    def close(self) -> None:
        """Waits for the thread: one that is at work when Python ends takes the process down with it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._want is not None or self._closed)
                if self._closed:
                    return
                want, self._want, self._busy = self._want, None, True
            try:
                self._ready = present(want)
            except BaseException as error:
                self._failure = error


def present(want: Want) -> Ready:
    image = want.result.frame.image
    rows, columns = image.shape[:2]
    view = View.of((columns, rows), (want.width, want.height), mirrored=want.mirrored, fill=want.fill, focus=want.focus)
    area, whole = view.area, view.picture
    left, top = round((area.x - whole.x) / view.across), round((area.y - whole.y) / view.down)
    width, height = max(1, round(area.width / view.across)), max(1, round(area.height / view.down))
    if want.mirrored:
        left = columns - left - width
    left, top = max(0, min(left, columns - width)), max(0, min(top, rows - height))
    seen = image[top : top + height, left : left + width]
    return Ready(want, view, fitted(seen, int(area.width), int(area.height), mirrored=want.mirrored))
