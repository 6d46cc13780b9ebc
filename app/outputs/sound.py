"""The sound of a file, copied into annotated video as it is, in step with the pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import av

FAULTS = (av.error.FFmpegError, ValueError, OSError)
TAIL_S = 0.2  # after the last picture
# What players take out of such files; FFmpeg would write more. Matroska holds everything.
HELD = {
    ".mp4": {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"},
    ".mov": {"aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"},
    ".webm": {"opus", "vorbis"},
}


class Sound:
    """Packets of the first sound track whose times are counted from the file's first picture."""

    def __init__(self, path: Path, first_s: float, target: Path) -> None:
        """`first_s`: the first picture's time by the file's own clock. `remark` says why a file's sound is left out."""
        self._first_s, self._suffix, self.remark = first_s, target.suffix.lower(), ""
        self._stream: av.AudioStream | None = None
        self._from_s = math.nan
        try:
            self._container = av.open(str(path.absolute()), metadata_errors="replace")
        except FAULTS:  # a picture, say
            return
        tracks = self._container.streams.audio
        if tracks:
            self.remark = self._objection(tracks[0])
            self._stream = None if self.remark else tracks[0]
        self._packets = self._read()
        self._next = None if self._stream is None else next(self._packets, None)

    def _objection(self, track: av.AudioStream) -> str:
        if track.codec_context is None:
            return "the sound is left out: it is coded in a way that is not known here"
        name = track.codec_context.codec.canonical_name
        if name in HELD.get(self._suffix, {name}):
            return ""
        return f"the sound is left out: {self._suffix} cannot hold {name}; .mkv can"

    def attach(self, container: av.container.OutputContainer) -> None:
        """Adds the track to a file that is written."""
        if self._stream is None:
            return
        self._out = container.add_stream_from_template(self._stream)
        self._into = container

    def until(self, time_s: float) -> None:
        """Writes what is heard before that time of the file, from the first call's time on."""
        if self._stream is None:
            return
        if math.isnan(self._from_s):
            self._from_s = time_s
        while self._next is not None:
            packet = self._next
            at_s = float(packet.pts * packet.time_base) - self._first_s
            if at_s > time_s:
                return
            if at_s >= self._from_s - 1e-3:
                ticks = round(self._first_s / packet.time_base)
                packet.pts -= ticks
                packet.dts = packet.pts if packet.dts is None else packet.dts - ticks
                packet.stream = self._out
                self._into.mux(packet)
            self._next = next(self._packets, None)

    def end(self, last_s: float) -> None:
        self.until(last_s + TAIL_S)

    def close(self) -> None:
        if getattr(self, "_packets", None):
            self._packets.close()
            self._container.close()

    def _read(self) -> Iterator[av.Packet]:
        """Packets until the first unreadable one: after a gap the sound would be out of step with the pictures."""
        try:
            for packet in self._container.demux(self._stream):
                if packet.size and packet.pts is not None:
                    yield packet
        except FAULTS:
            return
