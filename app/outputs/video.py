"""Annotated video, written only where the user asked for it."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING

from app.errors import OutputError
from app.mailbox import Closed, Mailbox, WhenFull
from app.overlay.layout import Labels
from app.overlay.people import paint

if TYPE_CHECKING:
    from pathlib import Path

    from app.domain import Image, Result
    from app.outputs.sound import Sound

VIDEO_SUFFIXES = (".mkv", ".mov", ".mp4", ".webm")
# Milliseconds: fine enough for any camera, and what players expect.
TIME_BASE = Fraction(1, 1000)
# Results that wait for the encoder; at 960x540 each holds 1.5 MB.
VIDEO_QUEUE = 8
# How much of a recording a cut may cost, in microseconds, as fragments (MP4) and milliseconds, as clusters (Matroska).
FRAGMENT = {"movflags": "delay_moov+default_base_moof", "frag_duration": "1000000", "flush_packets": "1"}
CLUSTER = {"cluster_time_limit": "1000", "flush_packets": "1"}
# The colours are said to be those of HD video: players guess otherwise, and guess by the size.
COLOURS = "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv"
X264 = {"preset": "veryfast", "crf": "21", "x264-params": COLOURS}
# Beside a live run. With LIVE_NICENESS, `demo:32` at 33.3 ms on two cores missed 29 % of its deadlines instead of 54 %;
# files are 1.8 times as large.
LIVE_X264 = X264 | {"preset": "superfast", "threads": "1"}
# A live run's recording gets what the run leaves of the processors: it drops a frame rather than a deadline is missed.
LIVE_NICENESS = 10


# Fast enough to keep up; constant quality asks for a rate of 0.
VP9 = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "31", "b": "0"}


class VideoWriter:
    """Annotated video, H.264, on a thread of its own. Frames keep their times, so that a live recording plays at the
    speed of life however unevenly its frames came. With `index_first` browsers play it before they have all of it; without,
    it is written in fragments, and whatever cuts it off leaves a file that plays to a second or two before."""

    def __init__(
        self, path: Path, when_full: WhenFull, *, index_first: bool = True, sound: Sound | None = None
    ) -> None:
        self._path, self._index_first, self._sound = path, index_first, sound
        self._live = when_full is WhenFull.DROP_OLDEST
        self._patience_s = 30.0 if self._live else None  # a file's last frames may take their time
        self._box: Mailbox[Result] = Mailbox(VIDEO_QUEUE, when_full)
        self._failure: OutputError | None = None
        self._thread = threading.Thread(target=self._run, name="video", daemon=True)
        self._thread.start()

    def deliver(self, result: Result) -> Result | None:
        if self._failure:
            raise self._failure
        try:
            return self._box.put(result)
        except Closed:
            return None

    def close(self) -> None:
        """Encodes what waits and completes the file."""
        self._box.close()
        self._thread.join(self._patience_s)
        if self._thread.is_alive():
            raise OutputError(f"{self._path}: the encoder did not finish within 30 s; the file is incomplete")
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            if self._live:
                _yield_to_others()
            self._encode()
        except Exception as error:  # whatever the error, the pipeline must not wait for this thread for ever
            self._failure = OutputError(f"{self._path}: {error}")
        finally:
            self._box.close()
            if self._sound:
                self._sound.close()

    def _encode(self) -> None:
        import av

        try:
            result = self._box.get()
        except Closed:
            return
        height, width = (max(2, n - n % 2) for n in result.frame.image.shape[:2])
        with av.open(str(self._path), "w", options=self._layout()) as container:
            webm = self._path.suffix.lower() == ".webm"
            x264 = LIVE_X264 if self._live else X264
            stream = container.add_stream("libvpx-vp9" if webm else "libx264", rate=30, options=VP9 if webm else x264)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = TIME_BASE
            if self._sound:
                self._sound.attach(container)
            last, labels = -1, Labels()
            while True:
                painted = _fitted(paint(result.frame.image, result, labels), width, height)
                picture = av.VideoFrame.from_ndarray(painted, format="bgr24")
                picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
                picture.time_base, picture.pts = TIME_BASE, max(last + 1, round(result.frame.time_s * 1000))
                last = picture.pts
                container.mux(stream.encode(picture))
                if self._sound:
                    self._sound.until(result.frame.time_s)
                try:
                    result = self._box.get()
                except Closed:
                    container.mux(stream.encode())
                    if self._sound:
                        self._sound.end(result.frame.time_s)
                    return

    def _layout(self) -> dict[str, str]:
        matroska = self._path.suffix.lower() in (".mkv", ".webm")
        if self._index_first:
            return {} if matroska else {"movflags": "faststart"}
        return CLUSTER if matroska else FRAGMENT


def _yield_to_others() -> None:
    """Makes this thread, and those that it starts, run last. Where a system cannot, nothing changes."""
    with suppress(AttributeError, OSError):
        if sys.platform == "linux":  # elsewhere it would be the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LIVE_NICENESS)


def _fitted(image: Image, width: int, height: int) -> Image:
    """The picture at the video's size: even sides, and all as large as the first."""
    import cv2

    if image.shape[:2] == (height, width):
        return image
    if 0 <= image.shape[0] - height <= 1 and 0 <= image.shape[1] - width <= 1:
        return image[:height, :width].copy()
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
