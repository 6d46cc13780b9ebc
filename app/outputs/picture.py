"""An annotated still picture, written only where the user asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import OutputError
from app.overlay.layout import Labels
from app.overlay.people import paint

if TYPE_CHECKING:
    from pathlib import Path

    from app.domain import Result

PICTURE_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")
JPEG_QUALITY = 95


class PictureWriter:
    """The one frame of a still source. A second frame is an OutputError, and then nothing is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._result: Result | None = None

    def deliver(self, result: Result) -> None:
        if self._result:
            self._result = None
            raise OutputError(
                f"{self._path}: a picture holds one frame, and the source has more; name a video, as .mp4"
            )
        self._result = result

    def close(self) -> None:
        if not self._result:
            return
        import cv2

        painted = paint(self._result.frame.image, self._result, Labels())
        self._result = None
        _, encoded = cv2.imencode(self._path.suffix.lower(), painted, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        try:
            self._path.write_bytes(encoded.tobytes())
        except OSError as error:
            raise OutputError(f"{self._path}: {error}") from error
