"""Videos read by PyAV: every picture with its own time, damage skipped and counted."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import IO, Protocol

import av
from av.video.stream import VideoStream

from app.errors import SourceError
from app.sources.decoding import (
    MOST_FAILED_READS,
    READ_FAULTS,
    Damage,
    Decoder,
    Picture,
    rate_of,
    time_of,
    video_track,
    with_tears,
)
from app.sources.streams import open_address

FALLBACK_FPS = 25.0


class Footage(Protocol):
    """A file that is open. It is read once."""

    fps: float | None
    frame_count: int | None  # as promised; an estimate where the file does not count
    damage: Damage
    problem: str  # for people: why not one picture came; "" where that is not known

    def pictures(self) -> Generator[Picture, None, None]: ...

    def close(self) -> None: ...


@dataclass
class _Extent:
    """How far a file was read, to know one that was cut off."""

    packets: int = 0
    lost: int = 0  # of an AVI, by its index
    first_s: float = math.nan
    end_s: float = math.nan


class Video:
    """A video file, or one behind http. Opening reads its head only."""

    def __init__(self, target: str | IO[bytes], name: str, problem: str) -> None:
        """Raises SourceError with the reason, or with `problem` where FFmpeg has none."""
        self.problem = ""
        is_address = isinstance(target, str) and "://" in target
        self._container = open_address(target, problem, {}) if is_address else _opened(target, problem)
        try:
            self._stream = video_track(self._container, name)
        except SourceError:
            self._container.close()
            raise
        self._decode = Decoder(self._stream, name)
        self.damage = self._decode.damage
        self.fps = rate_of(self._stream)
        self._duration_s = _duration_s(self._container, self._stream)
        estimate = round(self._duration_s * self.fps) if self._duration_s and self.fps else None
        self.frame_count = self._stream.frames or estimate or None
        self._extent = _Extent()
        self._index = _index(self._stream) if self._container.format.name == "avi" else {}

    def pictures(self) -> Generator[Picture, None, None]:
        """The pictures in the order in which they are shown; what is damaged is left out and counted."""
        for packet, is_torn in with_tears(self._packets(), self._stream.codec_context.name):
            yield from self._decode(packet, is_torn)
            if self._decode.problem:
                self.problem = self._decode.problem
                break
        yield from self._decode.end()
        self._judge_the_end()

    def close(self) -> None:
        self._container.close()

    def _packets(self) -> Iterator[av.Packet]:
        """All of them, beyond places that cannot be read, and at last an empty one that brings out what waits inside."""
        failed = 0
        while failed < MOST_FAILED_READS:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size == 0:
                        if packet.dts is None and packet.pts is None:
                            yield packet
                            return
                        continue  # a place holder: the last picture stays
                    failed = 0
                    self._set_right(packet)
                    self._reach(packet)
                    yield packet
                return
            except READ_FAULTS:
                self._decode.damaged(self._extent.end_s)
                failed += 1

    def _set_right(self, packet: av.Packet) -> None:
        """An AVI has no times: they are counted, and what is lost is not counted. Its index knows better."""
        ticks = self._index.get(packet.pos, packet.dts)
        if packet.dts is None or ticks is None or ticks <= packet.dts:
            return
        lost = ticks - packet.dts
        if lost > self._extent.lost:
            self._decode.damaged(self._extent.end_s, lost - self._extent.lost)
            self._extent.lost = lost
        packet.pts, packet.dts = None if packet.pts is None else packet.pts + lost, ticks

    def _reach(self, packet: av.Packet) -> None:
        extent, time_s = self._extent, time_of(packet)
        extent.packets += 1
        if not math.isnan(time_s):
            extent.first_s = min(time_s, extent.first_s) if extent.packets > 1 else time_s
            end_s = time_s + float((packet.duration or 0) * packet.time_base)
            extent.end_s = end_s if math.isnan(extent.end_s) else max(extent.end_s, end_s)

    def _judge_the_end(self) -> None:
        extent, promised = self._extent, self.frame_count
        end_s = extent.end_s if extent.packets else 0.0
        if broke_off(extent.packets, promised, end_s, self._duration_s):
            self.damage.cut_off = f"broke off at frame {extent.packets} of {promised}; it is cut off or damaged"


def _opened(target: str | IO[bytes], problem: str) -> av.container.InputContainer:
    # pattern_type: "%02d" in a picture's name is not a series. No protocol but file: a playlist must not call others.
    options = {"pattern_type": "none", "protocol_whitelist": "file,pipe"}
    try:
        return av.open(target, options=options, metadata_errors="replace")
    except READ_FAULTS as error:
        raise SourceError(problem) from error


def broke_off(frames: int, promised: int | None, end_s: float, duration_s: float | None) -> bool:
    """Whether a file ended well before its container said, in frames and in time.

    Both, because a count is often duration times an estimated rate, and because a GIF's rate is an estimate itself.
    """
    if promised is None or promised - frames <= max(1, 0.03 * promised):
        return False
    return duration_s is None or not end_s >= 0.97 * duration_s


def _index(stream: VideoStream) -> dict[int, int]:
    """Where a packet's data begins, behind eight bytes of name and length, to its time in ticks."""
    entries = stream.index_entries
    return {entries[i].pos + 8: entries[i].timestamp for i in range(len(entries))}


def _duration_s(container: av.container.InputContainer, stream: VideoStream) -> float | None:
    """The video track's duration; None where only that of the whole file is known."""
    rate = rate_of(stream)
    if container.format.name == "avi" and stream.frames and rate:  # without its index FFmpeg goes by what is left
        return stream.frames / rate
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\s*", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, match.groups())
        return 3600 * hours + 60 * minutes + seconds
    if len(container.streams) == 1 and container.duration and container.duration > 0:
        return container.duration / av.time_base
    return None
